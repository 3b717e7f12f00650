/** `raftkv snapshot save FILE`: a consistent copy of a running cluster's whole state. */
import { RaftKvError } from "../base/errors.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { inspectSnapshot, type SnapshotInspection } from "../storage/snapshot-inspection.ts";
import { command } from "./command.ts";
import { failureOf } from "./failure.ts";
import { clientOptions } from "./frontend-client.ts";
import { parseAddress, parseTimeoutMs } from "./option-value.ts";
import { answered, type Answer } from "./result.ts";
import { SnapshotProgress } from "./snapshot-progress.ts";
import { withLeaderSnapshot } from "./leader-snapshot.ts";
import { Interruption } from "./interruption.ts";
import type { Leader, SnapshotSource } from "./snapshot-source.ts";
import { requireSavePath, WholeFile } from "./whole-file.ts";

export interface SaveOptions {
  readonly file: string;
  readonly force: boolean;
  /** The frontend's "host:port". */
  readonly address: string;
  /** In seconds, for each answer. */
  readonly timeout: string;
}

export const snapshotSaveCommand = command(
  {
    name: "raftkv snapshot save",
    description: "Save all data of the running cluster to a file, as of one moment; it goes on serving",
  },
  {
    file: { type: "positional", required: true, description: "Where to; it is there only when it is whole" },
    force: { type: "boolean", description: "Replace a file that is there" },
    ...clientOptions(30),
  },
  async ({ file, force = false, address, timeout }) => {
    parseAddress("--address", address);
    parseTimeoutMs("--timeout", timeout);
    const options = { file, force, address, timeout };
    return { kind: "job", run: (signal) => saveSnapshot(new OsFileSystem(), options, signal) };
  },
);

/**
 * Saves it. Aborted, it ends soon and leaves no file. Rejects with RaftKvError, and then the file is as it was:
 * as requireSavePath, findLeader; "io" and "diskFull" of our own disk; as the cluster says, after some attempts.
 */
export async function saveSnapshot(
  fs: FileSystem,
  options: SaveOptions,
  signal: AbortSignal,
): Promise<Answer> {
  await requireSavePath(options.file, options.force);
  const interruption = new Interruption(signal, `interrupted: ${options.file} was not saved`);
  const progress = new SnapshotProgress();
  const target = await WholeFile.create(fs, options.file);
  try {
    return await saveTo(target, {
      fs,
      options,
      progress,
      interruption,
    });
  } catch (error) {
    await target.abandon();
    if (signal.aborted) return failureOf(error);
    throw error instanceof RaftKvError && error.code === "diskFull"
      ? new RaftKvError("diskFull", `no room for ${options.file}: nothing was saved (${error.message})`)
      : error;
  } finally {
    interruption.end();
    progress.end();
  }
}

interface Save {
  readonly fs: FileSystem;
  readonly options: SaveOptions;
  readonly progress: SnapshotProgress;
  readonly interruption: Interruption;
}

async function saveTo(target: WholeFile, save: Save): Promise<Answer> {
  const { options, progress, interruption } = save;
  const { file, force } = options;
  const { leader, snapshot } = await withLeaderSnapshot(
    { ...options, interruption },
    async (leader, source) => ({ leader, snapshot: await download(leader, source, target, save) }),
    async (why) => {
      progress.say(`${why}; beginning anew`);
      await target.restart();
    },
  );
  await requireSavePath(file, force);
  await target.commit();
  const { position, keys, bytes, checksum, clusterId } = snapshot;
  const size = `${keys} ${keys === 1 ? "key" : "keys"}, ${bytes} bytes`;
  const text = `saved to ${file}: state up to entry ${position?.index} of term ${position?.term}, ${size}, from server ${leader.id}`;
  return answered(text, {
    ok: true,
    file,
    clusterId,
    ...position,
    keys,
    bytes,
    checksum,
    leaderId: leader.id,
  });
}

/** Fills the target. Rejects with "corruption" when what came is not the snapshot that the leader announced. */
async function download(
  leader: Leader,
  source: SnapshotSource,
  target: WholeFile,
  { fs, progress, interruption }: Save,
): Promise<SnapshotInspection> {
  const { position, totalBytes, checksum } = source.info;
  while (target.size < totalBytes) {
    await target.append(await interruption.or(source.read(target.size)));
    progress.show(target.size, totalBytes);
  }
  // Read back from the file: what is verified is what is kept.
  const snapshot = await inspectSnapshot(fs, target.temporaryPath, {
    clusterId: null,
    index: position.index,
  });
  const [damage] = snapshot?.damage ?? [];
  if (snapshot === null || damage !== undefined || snapshot.checksum !== checksum) {
    const what =
      damage === undefined ? "the checksum does not match" : `byte ${damage.offset}: ${damage.what}`;
    throw new RaftKvError("corruption", `server ${leader.id} sent a damaged snapshot: ${what}`);
  }
  return snapshot;
}
