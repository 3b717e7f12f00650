import { RaftKvError } from "../base/errors.ts";
import { MAX_MESSAGE_BYTES } from "../rpc/definition.ts";
import { decodeText } from "../rpc/text.ts";
import { command } from "./command.ts";
import { askFrontEnd, clientOptions, served } from "./frontend-client.ts";
import { parseKey } from "./key.ts";
import { answered } from "./result.ts";
import { textBytes } from "./text-argument.ts";

const NEWLINE = 0x0a;

export const putCommand = command(
  { name: "raftkv put", description: "Set a key; done once a majority has it on disk" },
  {
    key: { type: "positional", required: true, description: "Not empty" },
    value: {
      type: "positional",
      required: true,
      description: '"-" reads it from stdin, less one newline at its end',
    },
    ...clientOptions(5),
  },
  async (args, rawArgs) => {
    const key = parseKey(args.key, rawArgs);
    const value = await valueBytes(args.value, rawArgs);
    served(await askFrontEnd(args, (client, timeoutMs) => client.call("Put", { key, value }, timeoutMs)));
    return answered("OK", { ok: true, key: args.key });
  },
);

async function valueBytes(value: string, rawArgs: readonly string[]): Promise<Buffer> {
  const literal = value !== "-" || rawArgs.includes("--");
  return literal ? textBytes("VALUE", value, rawArgs) : withoutNewline(await readStdin());
}

/** The mirror of `get`, which prints the value and one newline: `get a | put b -` copies exactly. */
function withoutNewline(bytes: Buffer): Buffer {
  return bytes.at(-1) === NEWLINE ? bytes.subarray(0, -1) : bytes;
}

/** Bounded, because a pipe may never end. */
async function readStdin(): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let byteLength = 0;
  for await (const chunk of Bun.stdin.stream()) {
    chunks.push(chunk);
    byteLength += chunk.byteLength;
    if (byteLength > MAX_MESSAGE_BYTES) {
      throw new RaftKvError(
        "invalidArgument",
        `the value on stdin is larger than ${MAX_MESSAGE_BYTES} bytes`,
      );
    }
  }
  const bytes = Buffer.concat(chunks);
  if (decodeText(bytes) === null) {
    throw new RaftKvError(
      "invalidArgument",
      "the value on stdin is not UTF-8 text: encode it, for example with base64",
    );
  }
  return bytes;
}
