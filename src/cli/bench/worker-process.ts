import { describeError, RaftKvError } from "../../base/errors.ts";
import { selfCommand } from "../../frontend/launcher.ts";
import { linesOf } from "../line-stream.ts";
import {
  BENCH_WORKER_COMMAND,
  readReport,
  writeLine,
  type WorkerLoad,
  type WorkerOrder,
  type WorkerProgress,
  type WorkerResult,
} from "./protocol.ts";

/** A process of this same program that makes load, seen from the one that started it. */
export class WorkerProcess {
  readonly #process: ReturnType<typeof spawnWorker>;
  readonly #ready = Promise.withResolvers<void>();
  readonly #result = Promise.withResolvers<WorkerResult>();

  /** It prepares at once. Throws RaftKvError "io" when there is no process. */
  constructor(load: WorkerLoad, onProgress: (progress: WorkerProgress) => void) {
    this.#process = spawnWorker();
    // Whoever is not waiting for them just now hears of a failure from the other workers, or does not care.
    this.#ready.promise.catch(() => {});
    this.#result.promise.catch(() => {});
    void this.#listen(onProgress);
    void this.#tell({ kind: "prepare", load });
  }

  /** Resolves when the load can begin. Rejects with RaftKvError when it cannot; so does `result`. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get result(): Promise<WorkerResult> {
    return this.#result.promise;
  }

  /** The load begins at that time of the wall clock. */
  go(atWallMs: number): void {
    void this.#tell({ kind: "go", atWallMs });
  }

  /** Whatever it does ends soon, and what it has measured comes. */
  stop(): void {
    void this.#tell({ kind: "stop" });
  }

  /** Resolves when the process is gone; it ends at once. */
  async end(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  async #listen(onProgress: (progress: WorkerProgress) => void): Promise<void> {
    try {
      for await (const line of linesOf(this.#process.stdout)) {
        const report = readReport(line);
        if (report.kind === "progress") onProgress(report);
        else if (report.kind === "ready") this.#ready.resolve();
        else if (report.kind === "result") this.#result.resolve(report);
        else this.#fail(new RaftKvError("unavailable", report.message));
      }
    } catch (error) {
      this.#fail(error);
    }
    await this.#process.exited;
    const { exitCode, signalCode } = this.#process;
    const how = signalCode === null ? `ended with code ${exitCode}` : `was ended by ${signalCode}`;
    this.#fail(new RaftKvError("internal", `a process that makes the load ${how}`));
  }

  /** Whatever was waited for does not come. */
  #fail(error: unknown): void {
    this.#ready.reject(error);
    this.#result.reject(error);
  }

  async #tell(order: WorkerOrder): Promise<void> {
    const { stdin } = this.#process;
    try {
      stdin.write(writeLine(order));
      await stdin.flush();
    } catch {
      // A worker that is gone is noticed where its reports end.
    }
  }
}

function spawnWorker() {
  const { BUN_BE_BUN: _, ...env } = process.env;
  // A session of its own: a terminal's Ctrl-C is for the benchmark, which then tells its workers.
  const options = { stdin: "pipe", stdout: "pipe", stderr: "inherit", detached: true } as const;
  try {
    return Bun.spawn([...selfCommand(), BENCH_WORKER_COMMAND], { ...options, env });
  } catch (error) {
    const why = describeError(error);
    throw new RaftKvError("io", `a process that makes the load cannot be started: ${why}`, { cause: error });
  }
}
