import { simulate } from "../sim/simulation.ts";
import { seedReport } from "../sim/tally.ts";
import { command } from "./command.ts";
import { linesOf } from "./line-stream.ts";
import { parseWholeNumber } from "./option-value.ts";
import type { Answer } from "./result.ts";
import { WORKER_COMMAND, writeReport } from "./simulation/protocol.ts";

/** Runs the seeds that a campaign asks for, until it asks no more. See simulation/protocol.ts. */
export const simulateWorkerCommand = command(
  { name: `raftkv ${WORKER_COMMAND}`, description: "Run seeds for raftkv simulate", hidden: true },
  { replay: { type: "boolean", description: "Run every seed twice" } },
  async (args): Promise<Answer> => {
    for await (const line of linesOf(Bun.stdin.stream())) {
      const seed = parseWholeNumber("a seed", line, 0, Number.MAX_SAFE_INTEGER);
      const result = simulate({ seed });
      const replay = args.replay === true ? simulate({ seed }) : null;
      if (!(await tell(writeReport(seedReport(result, replay))))) break;
    }
    return { kind: "answer", exitCode: 0, output: { stdout: null, stderr: null, json: {} } };
  },
);

/** Whether anybody listens: a campaign that was killed does not. */
async function tell(report: string): Promise<boolean> {
  try {
    await Bun.write(Bun.stdout, report);
    return true;
  } catch {
    return false;
  }
}
