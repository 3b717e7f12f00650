import { MAX_SERVER_ID } from "../config/value-reader.ts";
import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseWholeNumber } from "./option-value.ts";
import { answered } from "./result.ts";

export const memberPromoteCommand = command(
  {
    name: "raftkv member promote",
    description: "Let a server vote that belongs to the cluster and has its data",
  },
  {
    id: { type: "positional", required: true, description: "The server's id: 0, 1, 2, …" },
    ...clientOptions(10),
  },
  async (args) => {
    const id = parseWholeNumber("ID", args.id, 0, MAX_SERVER_ID);
    served(
      await askFrontEnd(args, (client, timeoutMs) => client.call("PromoteMember", { arg: id }, timeoutMs)),
    );
    return answered(`server ${id} is a voter now`, { ok: true, id });
  },
);
