import { MAX_SERVER_ID } from "../config/value-reader.ts";
import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseWholeNumber } from "./option-value.ts";
import { answered } from "./result.ts";

/** It asks for no confirmation: the server's files stay, and it can be added again. */
export const memberRemoveCommand = command(
  {
    name: "raftkv member remove",
    description: "Remove a server from the cluster, also the leader or one that is gone for good",
    details:
      "A server that the frontend has started is stopped then; any other goes on, and may be stopped. " +
      "Its files stay where they are.",
  },
  {
    id: { type: "positional", required: true, description: "The server's id: 0, 1, 2, …" },
    ...clientOptions(10),
  },
  async (args) => {
    const id = parseWholeNumber("ID", args.id, 0, MAX_SERVER_ID);
    served(
      await askFrontEnd(args, (client, timeoutMs) => client.call("RemoveMember", { arg: id }, timeoutMs)),
    );
    return answered(`server ${id} does not belong to the cluster any more`, { ok: true, id });
  },
);
