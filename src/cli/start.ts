import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseWholeNumber } from "./option-value.ts";
import { answered } from "./result.ts";

/** More is refused by the frontend as well; this bound only catches slips of the keyboard. */
const MAX_SERVERS = 1000;

export const startCommand = command(
  { name: "raftkv start", description: "Start a fresh cluster; stops the one there is and ERASES its data" },
  {
    servers: {
      type: "positional",
      required: true,
      description: "How many servers: 3 survive one failure, 5 two",
    },
    ...clientOptions(20),
  },
  async (args) => {
    const servers = parseWholeNumber("SERVERS", args.servers, 1, MAX_SERVERS);
    served(
      await askFrontEnd(args, (client, timeoutMs) => client.call("StartRaft", { arg: servers }, timeoutMs)),
    );
    return answered(`a cluster of ${servers} ${servers === 1 ? "server" : "servers"} is serving`, {
      ok: true,
      servers,
    });
  },
);
