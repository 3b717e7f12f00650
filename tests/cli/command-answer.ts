import { runCommandLine } from "../../src/cli/command-line.ts";
import { failureOf } from "../../src/cli/failure.ts";
import type { Answer } from "../../src/cli/result.ts";

/** What a command line that ends by itself comes to, run in this process. */
export async function answerOf(
  args: readonly string[],
  signal: AbortSignal = new AbortController().signal,
): Promise<Answer> {
  const result = await runCommandLine(args);
  if (result.kind === "answer") return result;
  if (result.kind === "service") throw new Error("a service does not end by itself");
  return result.run(signal).catch(failureOf);
}

/** The one line that it fails with; anything else fails the test. */
export async function failureLine(args: readonly string[], signal?: AbortSignal): Promise<string> {
  const { exitCode, output } = await answerOf(args, signal);
  const line = output.stderr ?? "";
  if (exitCode === 0 || output.stdout !== null || !line.startsWith("raftkv: ") || line.includes("\n")) {
    throw new Error(`not one clear line: exit code ${exitCode}, ${JSON.stringify(output)}`);
  }
  return line.slice("raftkv: ".length);
}
