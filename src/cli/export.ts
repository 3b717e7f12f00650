/** `raftkv export FILE`: every key with its value, as of one moment, a line of JSON each. */
import { RaftKvError } from "../base/errors.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { fileTarget, stdoutTarget, type ExportTarget } from "./bulk/export-target.ts";
import { BulkProgress, counted } from "./bulk/progress.ts";
import { SnapshotPairs } from "./bulk/snapshot-pairs.ts";
import { command } from "./command.ts";
import { failureOf } from "./failure.ts";
import { clientOptions } from "./frontend-client.ts";
import { Interruption } from "./interruption.ts";
import { withLeaderSnapshot } from "./leader-snapshot.ts";
import { parseAddress, parseTimeoutMs } from "./option-value.ts";
import type { Answer } from "./result.ts";
import type { SnapshotSource } from "./snapshot-source.ts";
import { UsageError } from "./usage-error.ts";

export interface ExportOptions {
  /** "-": stdout. */
  readonly file: string;
  readonly force: boolean;
  /** The frontend's "host:port". */
  readonly address: string;
  /** In seconds, for each answer. */
  readonly timeout: string;
}

export const exportCommand = command(
  {
    name: "raftkv export",
    description: "Write every key and value of the running cluster, as of one moment, a JSON object a line",
  },
  {
    file: {
      type: "positional",
      required: true,
      description: 'Where to; it is there only when it is whole. "-" writes to stdout',
    },
    force: { type: "boolean", description: "Replace a file that is there" },
    ...clientOptions(30),
  },
  async ({ file, force = false, json = false, address, timeout }) => {
    parseAddress("--address", address);
    parseTimeoutMs("--timeout", timeout);
    if (file === "-" && json) throw new UsageError("--json and the keys would share stdout: name a file");
    if (file === "-" && force) throw new UsageError("--force is for a file, and - is stdout");
    const options = { file, force, address, timeout };
    return { kind: "job", run: (signal) => exportTo(new OsFileSystem(), options, signal) };
  },
);

/**
 * Exports it. Aborted, it ends soon and leaves no file. Rejects with RaftKvError, and then a file is as it was: as
 * fileTarget, "io" and "diskFull" of our own disk; as withLeaderSnapshot.
 */
export async function exportTo(fs: FileSystem, options: ExportOptions, signal: AbortSignal): Promise<Answer> {
  const { file, force, address, timeout } = options;
  const target = file === "-" ? stdoutTarget() : await fileTarget(fs, file, force);
  const interruption = new Interruption(signal, `interrupted: ${named(file)} is not complete`);
  const progress = new BulkProgress();
  try {
    const exported = await withLeaderSnapshot(
      { address, timeout, interruption },
      async (leader, source) => {
        const keys = await copy(source, target, progress, interruption);
        return { keys, leaderId: leader.id, index: source.info.position.index };
      },
      async (why) => {
        await target.restart(why);
        progress.say(`${why}; beginning anew`);
      },
    );
    await target.commit();
    return exportedAnswer(file, exported);
  } catch (error) {
    await target.abandon();
    if (signal.aborted) return failureOf(error);
    throw error instanceof RaftKvError && error.code === "diskFull"
      ? new RaftKvError("diskFull", `no room for ${file}: nothing was exported (${error.message})`)
      : error;
  } finally {
    interruption.end();
    progress.end();
  }
}

/** Holds a piece of the snapshot at a time. Returns how many keys there were. */
async function copy(
  source: SnapshotSource,
  target: ExportTarget,
  progress: BulkProgress,
  interruption: Interruption,
): Promise<number> {
  const { totalBytes } = source.info;
  const pairs = new SnapshotPairs(source.info);
  for (let bytes = 0; bytes < totalBytes;) {
    const piece = await interruption.or(source.read(bytes));
    bytes += piece.length;
    await target.append(pairs.push(piece));
    progress.note({ entries: pairs.keys, bytes, totalBytes });
  }
  pairs.finish();
  return pairs.keys;
}

interface Exported {
  readonly keys: number;
  readonly leaderId: number;
  readonly index: number;
}

/** Where the lines are on stdout, what there is to say is for people alone. */
function exportedAnswer(file: string, { keys, leaderId, index }: Exported): Answer {
  const text = `exported ${counted(keys)} to ${named(file)}: state up to entry ${index}, from server ${leaderId}`;
  const json = { ok: true, file, entries: keys, index, leaderId };
  const output = file === "-" ? { stdout: null, stderr: text, json } : { stdout: text, stderr: null, json };
  return { kind: "answer", exitCode: 0, output };
}

function named(file: string): string {
  return file === "-" ? "stdout" : file;
}
