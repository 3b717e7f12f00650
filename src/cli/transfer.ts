import { RaftKvError } from "../base/errors.ts";
import { MAX_SERVER_ID } from "../config/value-reader.ts";
import { decodeText } from "../rpc/text.ts";
import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseWholeNumber } from "./option-value.ts";
import { answered } from "./result.ts";

export const transferCommand = command(
  {
    name: "raftkv transfer",
    description: "Let another server lead, without an election timeout: before a planned restart",
  },
  {
    to: {
      type: "string",
      valueHint: "id",
      description: "Which one (Default: whoever has most of the log)",
    },
    ...clientOptions(10),
  },
  async (args) => {
    const to = args.to === undefined ? null : parseWholeNumber("--to", args.to, 0, MAX_SERVER_ID);
    const request = to === null ? {} : { to };
    const { value } = served(
      await askFrontEnd(args, (client, timeoutMs) => client.call("TransferLeadership", request, timeoutMs)),
    );
    const named = /^\d{1,5}$/.exec(decodeText(value) ?? "")?.[0];
    const leaderId = named === undefined ? to : Number(named);
    const who = leaderId === null ? "another server" : `server ${leaderId}`;
    if (to !== null && leaderId !== to)
      throw new RaftKvError("failedPrecondition", `${who} leads now, not server ${to}: retry`);
    return answered(`${who} leads now`, { ok: true, leaderId });
  },
);
