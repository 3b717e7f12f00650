import { ADDRESS_EXPECTED, parseAddress } from "../config/peers.ts";
import { MAX_SERVER_ID } from "../config/value-reader.ts";
import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseWholeNumber } from "./option-value.ts";
import { answered } from "./result.ts";
import { UsageError } from "./usage-error.ts";

export const memberAddCommand = command(
  {
    name: "raftkv member add",
    description: "Add a server that runs and waits for it; it votes once it has the data",
    details:
      "Start the server first, where it is to run: raftkv --mode server --id ID --join ADDRESS. " +
      "On a machine where a frontend starts the servers, raftkv start-server ID does both.",
  },
  {
    id: { type: "positional", required: true, description: "The server's id: 0, 1, 2, …" },
    at: {
      type: "string",
      valueHint: "host:port",
      description: "Where the others reach it (Default: as config.ini says)",
    },
    "non-voter": { type: "boolean", description: "It only gets the data, until it is promoted" },
    ...clientOptions(60),
  },
  async (args) => {
    const id = parseWholeNumber("ID", args.id, 0, MAX_SERVER_ID);
    const address = args.at === undefined ? "" : parseAddress(args.at);
    if (address === null) {
      throw new UsageError(`--at must be ${ADDRESS_EXPECTED}, not ${JSON.stringify(args.at)}`);
    }
    const nonVoter = args["non-voter"] === true;
    const request = { id, address, nonVoter };
    served(await askFrontEnd(args, (client, timeoutMs) => client.call("AddMember", request, timeoutMs)));
    const how = nonVoter ? `a non-voter: "raftkv member promote ${id}" gives it a vote` : "a voter";
    return answered(`server ${id} belongs to the cluster now, as ${how}`, { ok: true, id, voter: !nonVoter });
  },
);
