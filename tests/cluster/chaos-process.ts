import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { waitFor } from "./waiting.ts";

/** A process of the cluster under test, which is not expected to end by itself. */
export class ChaosProcess {
  readonly name: string;
  readonly pid: number;
  readonly #child: Bun.Subprocess;
  readonly #logPath: string;
  readonly #logStart: number;
  #state: "running" | "stopped" | "ended" = "running";
  #endIsExpected = false;

  /**
   * `name` is what `ps` shows; what the process writes is added to the file at `logPath`. `died` is told of an end
   * that nobody asked for.
   */
  constructor(
    name: string,
    command: readonly string[],
    directory: string,
    logPath: string,
    died: (process: ChaosProcess) => void,
  ) {
    const log = openSync(logPath, "a");
    this.name = name;
    this.#logPath = logPath;
    this.#logStart = statSync(logPath).size;
    this.#child = Bun.spawn([...command], {
      argv0: name,
      cwd: directory,
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    closeSync(log);
    this.pid = this.#child.pid;
    void this.#watch(died);
  }

  async #watch(died: (process: ChaosProcess) => void): Promise<void> {
    await this.#child.exited;
    this.#state = "ended";
    if (!this.#endIsExpected) died(this);
  }

  /** "stopped": it gets no time, and keeps its connections. */
  get state(): "running" | "stopped" | "ended" {
    return this.#state;
  }

  stop(): void {
    if (this.#state !== "running") return;
    this.#child.kill("SIGSTOP");
    this.#state = "stopped";
  }

  resume(): void {
    if (this.#state !== "stopped") return;
    this.#child.kill("SIGCONT");
    this.#state = "running";
  }

  /** Resolves when it is gone; rejects when it does not go. */
  async end(signal: "SIGKILL" | "SIGTERM", deadlineMs: number): Promise<void> {
    this.#endIsExpected = true;
    if (this.#state === "ended") return;
    this.#child.kill(signal);
    this.resume(); // What is stopped does not hear SIGTERM.
    await waitFor(`${this.name} ends after ${signal}`, () => this.#state === "ended", deadlineMs);
  }

  /** How it ended and the last it wrote, in one line. */
  lastWords(): string {
    const { exitCode, signalCode } = this.#child;
    const said = readFileSync(this.#logPath).subarray(this.#logStart).toString().trim().split("\n");
    return `${this.name} ended by itself (${signalCode ?? `exit ${exitCode}`}): ${said.slice(-3).join(" | ")}`;
  }
}
