/** Starts server processes, and tells how they ended. */
import { closeSync, fstatSync, openSync } from "node:fs";
import { describeError, RaftKvError } from "../base/errors.ts";
import type { Logger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import { formatPeers } from "../config/peers.ts";
import { isNumbered, type AddressOf, type Cluster } from "./cluster.ts";
import { lastWords } from "./last-words.ts";
import { processName } from "./process-table.ts";
import { SERVER_ENVIRONMENT } from "./server-environment.ts";

export interface LauncherOptions {
  /** What runs this program: see selfCommand. */
  readonly command: readonly string[];
  /** Absolute. */
  readonly stateDirectory: string;
  readonly addressOf: AddressOf;
  readonly logger: Logger;
}

/** How a server comes into being that has no state, and in which cluster. */
export interface Creation {
  /**
   * "bootstrap": with its cluster, which is as new as the server. "rejoin": in place of a member that lost its
   * state, in a cluster that goes on. "join": to be added to the cluster.
   */
  readonly kind: "bootstrap" | "rejoin" | "join";
  readonly cluster: Cluster;
}

/** A process that we started. */
export interface LaunchedServer {
  readonly id: ServerId;
  readonly pid: number;
  /** How it ended, as in "ended with code 1"; null while it runs. It is reaped by then (F3). */
  readonly ending: () => string | null;
  /** What it last complained of in its log, or where its log is. */
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
   * Starts server `id`, which is not ready yet when this returns. `creation` null: it goes on with the
   * state it has; else it has none. The state directory must exist.
   * Throws RaftKvError "io" when there is no process.
   */
  launch(id: ServerId, creation: Creation | null): LaunchedServer {
    const { command, stateDirectory, addressOf, logger } = this.#options;
    const role = ["--mode", "server", "--id", String(id), "--state-dir", stateDirectory];
    const words = [...command, ...role, ...creationArguments(id, creation, addressOf)];
    const logPath = serverLogPath(stateDirectory, id);
    const { child, logStart } = this.#spawn(words, processName(id), logPath);
    logger.info("server started", { id, pid: child.pid, creation: creation?.kind ?? null });
    void this.#tellEnd(id, child);
    return {
      id,
      pid: child.pid,
      ending: () => {
        if (child.signalCode !== null) return `was ended by ${child.signalCode}`;
        return child.exitCode === null ? null : `ended with code ${child.exitCode}`;
      },
      lastWords: () => lastWords(logPath, logStart),
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
        env: { ...SERVER_ENVIRONMENT, ...env },
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

function creationArguments(id: ServerId, creation: Creation | null, addressOf: AddressOf): readonly string[] {
  if (creation === null) return [];
  const { kind, cluster } = creation;
  if (kind === "join") return ["--join", cluster.members.map(({ address }) => address).join(",")];
  const name = ["--cluster-id", cluster.clusterId];
  if (isNumbered(cluster.members, addressOf)) return [`--${kind}`, String(cluster.members.length), ...name];
  // Who has no vote is no witness of what was voted.
  const peers = cluster.members.filter((member) => member.voter || member.id === id);
  return [`--${kind}`, String(peers.length), ...name, "--peers", formatPeers(peers)];
}
