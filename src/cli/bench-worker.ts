import { RaftKvError } from "../base/errors.ts";
import {
  BENCH_WORKER_COMMAND,
  readOrder,
  writeLine,
  type WorkerOrder,
  type WorkerReport,
} from "./bench/protocol.ts";
import { WorkerRun } from "./bench/worker-run.ts";
import { command } from "./command.ts";
import { linesOf } from "./line-stream.ts";
import type { Answer } from "./result.ts";

const PROGRESS_EVERY_MS = 250;

/** Makes the load that a benchmark asks for, until it is not needed any more. See bench/protocol.ts. */
export const benchWorkerCommand = command(
  { name: `raftkv ${BENCH_WORKER_COMMAND}`, description: "Make load for raftkv bench", hidden: true },
  {},
  async (): Promise<Answer> => {
    const worker = new Worker();
    for await (const line of linesOf(Bun.stdin.stream())) worker.obey(readOrder(line));
    return { kind: "answer", exitCode: 0, output: { stdout: null, stderr: null, json: {} } };
  },
);

class Worker {
  #run: WorkerRun | null = null;
  #told: Promise<unknown> = Promise.resolve();

  obey(order: WorkerOrder): void {
    switch (order.kind) {
      case "prepare":
        this.#run = new WorkerRun(order.load);
        void this.#prepare(this.#run);
        break;
      case "go":
        if (this.#run !== null) void this.#measure(this.#run, order.atWallMs);
        break;
      case "stop":
        this.#run?.stop();
        break;
    }
  }

  async #prepare(run: WorkerRun): Promise<void> {
    setInterval(() => this.#tell({ kind: "progress", ...run.progress }), PROGRESS_EVERY_MS);
    try {
      await run.prepare();
      this.#tell({ kind: "ready" });
    } catch (error) {
      if (!(error instanceof RaftKvError)) throw error;
      this.#tell({ kind: "failed", message: error.message });
    }
  }

  async #measure(run: WorkerRun, atWallMs: number): Promise<void> {
    const result = await run.measure(performance.now() + atWallMs - Date.now());
    this.#tell({ kind: "result", ...result });
  }

  /** One report after the other. Who does not listen any more has closed our stdin too, which ends us. */
  #tell(report: WorkerReport): void {
    this.#told = this.#told.then(() => Bun.write(Bun.stdout, writeLine(report))).catch(() => {});
  }
}
