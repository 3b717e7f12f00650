/** Starts server processes, and tells how they ended. */
import { closeSync, fstatSync, openSync } from "node:fs";
import { describeError, RaftKvError } from "../base/errors.ts";
import type { Logger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import type { Cluster } from "./cluster.ts";
import { processName } from "./process-table.ts";

export interface LauncherOptions {
  /** What runs this program: see selfCommand. */
  readonly command: readonly string[];
  /** Absolute. */
  readonly stateDirectory: string;
  readonly logger: Logger;
}

/** A process that we started. */
export interface LaunchedServer {
  readonly id: ServerId;
  readonly pid: number;
  /** How it ended, as in "ended with code 1"; null while it runs. It is reaped by then (F3). */
  readonly ending: () => string | null;
  /** The last line that it logged, or where its log is. */
  readonly lastWords: () => Promise<string>;
}

/** The words that start this same program once more. */
export function selfCommand(): readonly string[] {
  return Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, Bun.main];
}

export function serverLogPath(stateDirectory: string, id: ServerId): string {
  return `${stateDirectory}/server_${id}.log`;
}

export class Launcher {
  readonly #options: LauncherOptions;

  constructor(options: LauncherOptions) {
    this.#options = options;
  }

  /**
   * Starts server `id`, which is not ready yet when this returns. `bootstrap` is the cluster in which it
   * is new and has no state; null: it goes on with the state it has. The state directory must exist.
   * Throws RaftKvError "io" when there is no process.
   */
  launch(id: ServerId, bootstrap: Cluster | null): LaunchedServer {
    const { command, stateDirectory, logger } = this.#options;
    const role = ["--mode", "server", "--id", String(id), "--state-dir", stateDirectory];
    const creation =
      bootstrap === null
        ? []
        : ["--bootstrap", String(bootstrap.servers), "--cluster-id", bootstrap.clusterId];
    const logPath = serverLogPath(stateDirectory, id);
    const { child, logStart } = this.#spawn([...command, ...role, ...creation], processName(id), logPath);
    logger.info("server started", { id, pid: child.pid, fresh: bootstrap !== null });
    void this.#tellEnd(id, child);
    return {
      id,
      pid: child.pid,
      ending: () => {
        if (child.signalCode !== null) return `was ended by ${child.signalCode}`;
        return child.exitCode === null ? null : `ended with code ${child.exitCode}`;
      },
      lastWords: async () => (await lastLine(logPath, logStart)) ?? `its log is ${logPath}`,
    };
  }

  async #tellEnd(id: ServerId, child: Bun.Subprocess): Promise<void> {
    await child.exited;
    const { pid, exitCode, signalCode: signal } = child;
    this.#options.logger.info("server ended", { id, pid, exitCode, signal });
  }

  /** `logStart` is how long the log was before, in bytes. */
  #spawn(words: readonly string[], argv0: string, logPath: string) {
    const { BUN_BE_BUN: _, ...env } = process.env;
    let log: number | null = null;
    try {
      log = openSync(logPath, "a");
      const logStart = fstatSync(log).size;
      // A session of its own: a terminal's Ctrl-C is for the frontend, which then stops its servers in order.
      const child = Bun.spawn([...words], {
        argv0,
        env,
        detached: true,
        stdin: "ignore",
        stdout: log,
        stderr: log,
      });
      child.unref();
      return { child, logStart };
    } catch (error) {
      const what = `${argv0} cannot be started, its log being ${logPath}: ${describeError(error)}`;
      throw new RaftKvError("io", what, { cause: error });
    } finally {
      if (log !== null) closeSync(log);
    }
  }
}

/** How much of a log's end is looked at, and how much of a line is quoted. */
const MAX_TAIL_BYTES = 16_384;
const MAX_QUOTE_CHARACTERS = 500;

/** The last line written after `startBytes`: its message when it is structured. null when there is none. */
async function lastLine(path: string, startBytes: number): Promise<string | null> {
  try {
    const file = Bun.file(path);
    const tail = await file.slice(Math.max(startBytes, file.size - MAX_TAIL_BYTES)).text();
    const line = tail.trimEnd().split("\n").at(-1) ?? "";
    return line === "" ? null : messageOf(line).slice(0, MAX_QUOTE_CHARACTERS);
  } catch {
    return null;
  }
}

function messageOf(line: string): string {
  try {
    const parsed: unknown = JSON.parse(line);
    const hasMessage = typeof parsed === "object" && parsed !== null && "message" in parsed;
    return hasMessage && typeof parsed.message === "string" ? parsed.message : line;
  } catch {
    return line;
  }
}
