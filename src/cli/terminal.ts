import { describeError, RaftKvError } from "../base/errors.ts";
import { encodeText } from "../rpc/text.ts";
import type { Output } from "./result.ts";

/**
 * Prints, for people or as JSON. Resolves once everything is written, so that the process may exit.
 * Rejects with RaftKvError "io" when it cannot be written.
 */
export async function print(output: Output, asJson: boolean): Promise<void> {
  if (asJson) {
    await write(Bun.stdout, JSON.stringify(output.json));
    return;
  }
  if (output.stdout !== null) await write(Bun.stdout, withoutColour(output.stdout, process.stdout.isTTY));
  if (output.stderr !== null) await write(Bun.stderr, withoutColour(output.stderr, process.stderr.isTTY));
}

/** Text is coloured when it is made; here it loses the colour where nobody wants it (https://no-color.org). */
function withoutColour(text: string | Uint8Array, isTerminal: boolean): string | Uint8Array {
  const wanted = isTerminal && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb";
  return typeof text !== "string" || wanted ? text : Bun.stripANSI(text);
}

async function write(stream: Bun.BunFile, text: string | Uint8Array): Promise<void> {
  const bytes = typeof text === "string" ? encodeText(text) : text;
  try {
    await Bun.write(stream, Buffer.concat([bytes, Buffer.from("\n")]));
  } catch (error) {
    // Whoever closes the other end of a pipe early has read enough.
    if (error instanceof Error && "code" in error && error.code === "EPIPE") return;
    const name = stream === Bun.stdout ? "stdout" : "stderr";
    throw new RaftKvError("io", `${name} cannot be written: ${describeError(error)}`, { cause: error });
  }
}
