import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What a server is started with; see `raftkv --mode server --help`. */
export interface ServerArguments {
  readonly id: number;
  /** Absolute. */
  readonly stateDirectory: string;
  /** Creates its files first; null: they are there. */
  readonly bootstrap: { readonly servers: number; readonly clusterId: string } | null;
}

/** How a process ended. */
export interface ServerEnd {
  /** null: a signal ended it. */
  readonly code: number | null;
  /** All that this process wrote to stderr. */
  readonly stderr: string;
}

/** One server's process, started straight from the executable, without a frontend. */
export class ServerProcess {
  readonly id: number;
  readonly pid: number;
  readonly ended: Promise<ServerEnd>;

  /** `directory` becomes its working directory, with config.ini; its stderr is kept there. */
  constructor(executable: string, directory: string, { id, stateDirectory, bootstrap }: ServerArguments) {
    const stderrPath = join(directory, `server_${id}.stderr`);
    const creation =
      bootstrap === null
        ? []
        : ["--bootstrap", String(bootstrap.servers), "--cluster-id", bootstrap.clusterId];
    const role = ["--mode", "server", "--id", String(id), "--state-dir", stateDirectory];
    const log = openSync(stderrPath, "w");
    const child = Bun.spawn([executable, ...role, ...creation], {
      argv0: `raftserver${id + 1}`,
      cwd: directory,
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    closeSync(log);
    this.id = id;
    this.pid = child.pid;
    this.ended = child.exited.then(() => ({
      code: child.signalCode === null ? child.exitCode : null,
      stderr: readFileSync(stderrPath, "utf8"),
    }));
  }
}
