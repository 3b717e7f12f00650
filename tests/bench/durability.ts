/**
 * Asserts that a cluster syncs before it acknowledges: its servers are traced by strace, and each of some hundred
 * puts must have been durable on a majority when it was answered; see sync-trace.ts for what that means.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { closeSync, fdatasyncSync, openSync, statfsSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "../cluster/waiting.ts";
import { Link } from "./link.ts";
import { percentile } from "./load.ts";
import { judgeSyncs, markOf, parseTraceLine, type SyncVerdict, type TracedPut } from "./sync-trace.ts";
import type { Target } from "./target.ts";

const CLIENTS = 8;
const PUTS = 400;
const VALUE_BYTES = 256;
/** Servers that are traced are slow. */
const TIMEOUT_MS = 20_000;
/** From <linux/magic.h>: a file system in memory, which syncs nothing. */
const TMPFS_MAGIC = 0x01021994;

/** What one cluster shows of itself. */
export interface SyncedCluster {
  readonly pids: readonly number[];
  /** The servers' own, one each, without links in the path. */
  readonly directories: readonly string[];
}

/** Throws when the directories are not on one file system, or it is none that outlives the power. */
export function checkSameDisk(directories: readonly string[]): void {
  const devices = new Set(directories.map((directory) => statSync(directory).dev));
  if (devices.size !== 1) throw new Error(`not on one file system: ${directories.join(", ")}`);
  const inMemory = directories.find((directory) => statfsSync(directory).type === TMPFS_MAGIC);
  if (inMemory !== undefined) {
    throw new Error(
      `${inMemory} is in memory, where a sync costs nothing: set TMPDIR to a directory on a disk`,
    );
  }
}

/** Throws when strace is not there, or cannot trace them. */
export async function observeSyncs(
  { pids, directories }: SyncedCluster,
  puts: Target,
): Promise<SyncVerdict & { readonly puts: number }> {
  const directory = await mkdtemp(join(tmpdir(), "raftkv-trace-"));
  try {
    const prefix = join(directory, "trace");
    const tracer = await Tracer.attach(pids, prefix, join(directory, "strace.log"));
    const acknowledged = await markedPuts(puts).finally(() => tracer.detach());
    const names = (await readdir(directory)).filter((name) => name.startsWith("trace."));
    const texts = await Promise.all(names.map((name) => readFile(join(directory, name), "utf8")));
    const calls = texts.flatMap((text) => text.split("\n").flatMap((line) => parseTraceLine(line) ?? []));
    return { ...judgeSyncs(calls, acknowledged, directories), puts: acknowledged.length };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** One strace on all threads of some processes. */
class Tracer {
  readonly #process: Bun.Subprocess;

  private constructor(process: Bun.Subprocess) {
    this.#process = process;
  }

  /** Resolves when all of them are traced. */
  static async attach(pids: readonly number[], prefix: string, logPath: string): Promise<Tracer> {
    const log = openSync(logPath, "a");
    const what = ["-e", "trace=write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync", "-s", "1000000"];
    const words = [
      ...what,
      "-ff",
      "-ttt",
      "-T",
      "-y",
      "-o",
      prefix,
      ...pids.flatMap((pid) => ["-p", String(pid)]),
    ];
    const child = Bun.spawn(["strace", ...words], { stdin: "ignore", stdout: "ignore", stderr: log });
    closeSync(log);
    const tracer = new Tracer(child);
    try {
      await waitFor("strace traces the servers", async () => {
        if (child.exitCode !== null) return true;
        const text = await readFile(logPath, "utf8");
        return pids.every((pid) => new RegExp(`Process ${pid} attached`).test(text));
      });
      if (child.exitCode !== null) throw new Error(`strace: ${(await readFile(logPath, "utf8")).trim()}`);
      return tracer;
    } catch (error) {
      await tracer.detach();
      throw error;
    }
  }

  /** What it traced goes on. */
  async detach(): Promise<void> {
    this.#process.kill("SIGINT");
    await this.#process.exited;
  }
}

/** Several clients, so that some share a sync. Throws when a put fails. */
async function markedPuts(target: Target): Promise<readonly TracedPut[]> {
  const link = new Link(target);
  await link.connect(TIMEOUT_MS);
  const wallSeconds = wallClock();
  const puts: TracedPut[] = [];
  let started = 0;
  const run = async (client: number): Promise<void> => {
    while (started < PUTS) {
      const mark = markOf(started);
      started += 1;
      const [key, value] = [Buffer.from(`key-${client}`), Buffer.from(mark.padEnd(VALUE_BYTES, "x"))];
      const refusal = await link.call({ key, value, clientId: 0, requestId: 0 }, TIMEOUT_MS);
      if (refusal !== null) throw new Error(`a put failed while its servers were traced: ${refusal}`);
      puts.push({ mark, answeredSeconds: wallSeconds() });
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, client) => run(client))).finally(() => link.close());
  return puts;
}

/**
 * The wall clock, finer than milliseconds: how far it is from the monotonic one is seen when it moves on by one.
 * Being late there makes this clock slow, never fast: answers then seem too early, and no proof too easy.
 */
function wallClock(): () => number {
  const offsetsMs = Array.from({ length: 20 }, () => {
    const before = Date.now();
    let now = before;
    while (now === before) now = Date.now();
    return now - performance.now();
  });
  const offsetMs = Math.max(...offsetsMs);
  return () => (performance.now() + offsetMs) / 1000;
}

/** The median time of a sync of one small write to a file there, over what it holds already, in milliseconds. */
export async function syncTimeMs(directory: string): Promise<number> {
  const scratch = await mkdtemp(join(directory, "sync-"));
  const file = openSync(join(scratch, "file"), "w");
  try {
    writeSync(file, Buffer.alloc(PUTS * 512));
    fdatasyncSync(file);
    const timesMs = Array.from({ length: PUTS }, (_, at) => {
      writeSync(file, Buffer.alloc(VALUE_BYTES, 1), 0, VALUE_BYTES, at * 512);
      const fromMs = performance.now();
      fdatasyncSync(file);
      return performance.now() - fromMs;
    });
    return percentile(timesMs, 0.5);
  } finally {
    closeSync(file);
    await rm(scratch, { recursive: true, force: true });
  }
}
