import { RaftKvError } from "../base/errors.ts";
import { decodeText } from "../rpc/text.ts";
import type { WireReply } from "../rpc/wire.ts";
import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseKey } from "./key.ts";
import type { Answer } from "./result.ts";

export const getCommand = command(
  { name: "raftkv get", description: "Print a key's value; a key that does not exist exits with 1" },
  {
    key: { type: "positional", required: true, description: "Not empty" },
    consistency: {
      type: "enum",
      options: ["linearizable", "local"],
      default: "linearizable",
      description: "local: what any one server has, perhaps out of date, also when no server leads",
    },
    ...clientOptions(5),
  },
  async (args, rawArgs) => {
    const key = parseKey(args.key, rawArgs);
    const consistency = args.consistency === "local" ? "LOCAL" : "LINEARIZABLE";
    const reply = served(
      await askFrontEnd(args, (client, timeoutMs) => client.call("Get", { key, consistency }, timeoutMs)),
    );
    return valueAnswer(args.key, reply);
  },
);

/** Missing is not the empty string (C4): the exit code tells them apart, and so does `found` in JSON. */
function valueAnswer(key: string, reply: WireReply): Answer {
  if (!reply.found) {
    const json = { key, found: false, value: null };
    const output = { stdout: null, stderr: `no such key: ${JSON.stringify(key)}`, json };
    return { kind: "answer", exitCode: 1, output };
  }
  const value = decodeText(reply.value);
  if (value === null) throw new RaftKvError("internal", "the frontend sent a value that is not UTF-8 text");
  const output = { stdout: reply.value, stderr: null, json: { key, found: true, value } };
  return { kind: "answer", exitCode: 0, output };
}
