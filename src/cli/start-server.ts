import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseWholeNumber } from "./option-value.ts";
import { answered } from "./result.ts";

/** A server's port is base_port + id. */
const MAX_ID = 65_534;

export const startServerCommand = command(
  {
    name: "raftkv start-server",
    description: "Start one server of the cluster with the state that it left on disk",
  },
  {
    id: { type: "positional", required: true, description: "The server's id: 0, 1, 2, …" },
    ...clientOptions(20),
  },
  async (args) => {
    const id = parseWholeNumber("ID", args.id, 0, MAX_ID);
    served(
      await askFrontEnd(args, (client, timeoutMs) => client.call("StartServer", { arg: id }, timeoutMs)),
    );
    return answered(`server ${id} is running`, { ok: true, id });
  },
);
