/**
 * Which processes of this machine are servers of ours (F5).
 *
 * The proof is the command line: its first word is `raftserver<id + 1>`, and its arguments say
 * `--mode server --id <id> --state-dir <this state directory, absolute>`. Nothing else is believed: not a
 * pid that we remember, which may be somebody else's by now, and not a port. So servers are found that an
 * earlier frontend left, that are stopped (SIGSTOP), and whose files were deleted under them.
 */
import { readdir, readFile } from "node:fs/promises";
import { describeError, RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import { deadlineIn, waitUntil } from "./waiting.ts";

/** How long a process may take to be gone after SIGKILL. */
const KILL_MS = 3000;

const isLinux = process.platform === "linux";

/** A server process, as it was when the table was read. */
export interface ServerProcess {
  readonly pid: number;
  readonly id: ServerId;
}

/** One line of the system's process table. */
interface CommandLine {
  readonly pid: number;
  /** The words, where the system keeps them apart; else one text in which spaces may mean anything. */
  readonly command: readonly string[] | string;
}

/** The server processes whose state is in one directory. */
export class ProcessTable {
  readonly #stateDirectory: string;

  /** `stateDirectory` is absolute. */
  constructor(stateDirectory: string) {
    this.#stateDirectory = stateDirectory;
  }

  /** Every server of this state directory that runs, ascending by id. A zombie does not run. */
  async find(): Promise<readonly ServerProcess[]> {
    const lines = isLinux ? await readProc() : await readPs(null);
    return lines
      .flatMap((line) => this.#recognise(line) ?? [])
      .toSorted((left, right) => left.id - right.id || left.pid - right.pid);
  }

  /** Whether that process is still there and still what it was. */
  async isRunning({ pid, id }: ServerProcess): Promise<boolean> {
    const line = await readOne(pid);
    return line !== undefined && this.#recognise(line)?.id === id;
  }

  /** Whether nothing is left of the process: its files, locks and ports are free. */
  async isGone({ pid, id }: ServerProcess): Promise<boolean> {
    const line = await readOne(pid);
    // Somebody else's command line: the pid has been given out anew.
    if (line !== undefined) return this.#recognise(line)?.id !== id;
    return !isLinux || (await hasLetGo(pid));
  }

  /**
   * Sends the signal if the process is still ours. False when it is gone.
   * Throws RaftKvError "io" when the system refuses.
   */
  async signal(server: ServerProcess, signal: "SIGTERM" | "SIGKILL"): Promise<boolean> {
    if (!(await this.isRunning(server))) return false;
    try {
      process.kill(server.pid, signal);
      return true;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
      const what = `server ${server.id} (process ${server.pid}) cannot be stopped: ${describeError(error)}`;
      throw new RaftKvError("io", what, { cause: error });
    }
  }

  /**
   * Ends it, and resolves when nothing is left of it: SIGTERM, and SIGKILL after `graceMs`; 0: at once.
   * Throws RaftKvError "io" when it cannot be ended.
   */
  async end(server: ServerProcess, graceMs: number): Promise<void> {
    const isGone = (): Promise<boolean> => this.isGone(server);
    if (graceMs > 0 && (await this.signal(server, "SIGTERM"))) {
      if (await waitUntil(deadlineIn(graceMs), isGone)) return;
    }
    await this.signal(server, "SIGKILL");
    if (await waitUntil(deadlineIn(KILL_MS), isGone)) return;
    throw new RaftKvError("io", `server ${server.id} (process ${server.pid}) does not end on SIGKILL`);
  }

  /** The same for every one that runs. */
  async endAll(graceMs: number): Promise<void> {
    const running = await this.find();
    await Promise.all(running.map((server) => this.end(server, graceMs)));
  }

  #recognise({ pid, command }: CommandLine): ServerProcess | null {
    const id = serverIdOf(typeof command === "string" ? command.split(" ", 1)[0] : command[0]);
    if (id === null) return null;
    const expected = ["--mode", "server", "--id", String(id), "--state-dir", this.#stateDirectory];
    const matches =
      typeof command === "string"
        ? `${command} `.includes(` ${expected.join(" ")} `)
        : flag(command, "--mode") === "server" &&
          flag(command, "--id") === String(id) &&
          flag(command, "--state-dir") === this.#stateDirectory;
    return matches ? { pid, id } : null;
  }
}

/** The name under which `ps` shows a server (contract §3). */
export function processName(id: ServerId): string {
  return `raftserver${id + 1}`;
}

function serverIdOf(name: string | undefined): ServerId | null {
  const digits = /^raftserver([1-9][0-9]{0,8})$/.exec(name ?? "")?.[1];
  return digits === undefined ? null : Number(digits) - 1;
}

/** The word after the flag. */
function flag(words: readonly string[], name: string): string | undefined {
  const at = words.indexOf(name);
  return at === -1 ? undefined : words[at + 1];
}

/** undefined when there is no such process, or only what is left of one. */
async function readOne(pid: number): Promise<CommandLine | undefined> {
  return isLinux ? readProcEntry(pid) : (await readPs(pid))[0];
}

async function readProc(): Promise<readonly CommandLine[]> {
  const pids = (await readdir("/proc")).filter((name) => /^[0-9]+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readProcEntry(Number(pid))));
  return lines.filter((line) => line !== undefined);
}

/** The line of a zombie is empty. */
async function readProcEntry(pid: number): Promise<CommandLine | undefined> {
  try {
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
    return command[0] === "" ? undefined : { pid, command };
  } catch {
    return undefined;
  }
}

/**
 * Whether a process without a command line holds nothing any more. One that is ending loses its memory
 * before its files, and its first thread may be a zombie while others still hold them.
 */
async function hasLetGo(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const state = stat.charAt(stat.lastIndexOf(")") + 2);
    if (state !== "Z" && state !== "X") return false;
    return (await readdir(`/proc/${pid}/task`)).length <= 1;
  } catch {
    return true;
  }
}

/** Of one process, or of all. */
async function readPs(pid: number | null): Promise<readonly CommandLine[]> {
  const selection = pid === null ? ["-axww"] : ["-ww", "-p", String(pid)];
  const ps = Bun.spawn(["ps", ...selection, "-o", "pid=,stat=,command="], { stderr: "ignore" });
  return parsePs(await new Response(ps.stdout).text());
}

/** The output of `ps -o pid=,stat=,command=`, zombies left out. */
export function parsePs(output: string): readonly CommandLine[] {
  return output.split("\n").flatMap((line) => {
    const [, pid, stat, command] = /^\s*([0-9]+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (pid === undefined || stat === undefined || command === undefined || stat.startsWith("Z")) return [];
    return [{ pid: Number(pid), command }];
  });
}
