import { RaftKvError } from "../base/errors.ts";
import { decodeText } from "../rpc/text.ts";
import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseWholeNumber } from "./option-value.ts";
import { answered } from "./result.ts";

/** A server's port is base_port + id. */
const MAX_ID = 65_534;

/** It asks for no confirmation: it does nothing to a server that runs, and what it takes away is kept. */
export const replaceCommand = command(
  {
    name: "raftkv replace",
    description:
      "Start a server anew that lost its disk or refuses what is on it; its old files are set aside",
    details:
      "It must be stopped, and all other servers must run and have caught up. They give it the data back, and it votes again once it has them. " +
      "Its old files are moved to server_<id>.replaced-<time> in the state directory, and nothing ever removes them there.",
  },
  {
    id: { type: "positional", required: true, description: "The server's id: 0, 1, 2, …" },
    ...clientOptions(30),
  },
  async (args) => {
    const id = parseWholeNumber("ID", args.id, 0, MAX_ID);
    const { value } = served(
      await askFrontEnd(args, (client, timeoutMs) => client.call("ReplaceServer", { arg: id }, timeoutMs)),
    );
    const oldFiles = decodeText(value);
    if (oldFiles === null)
      throw new RaftKvError("internal", "the frontend sent a path that is not UTF-8 text");
    const kept = oldFiles === "" ? "it had left no files" : `its old files are in ${oldFiles}`;
    return answered(`server ${id} has been replaced and catches up; ${kept}`, {
      ok: true,
      id,
      oldFiles: oldFiles === "" ? null : oldFiles,
    });
  },
);
