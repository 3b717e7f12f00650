/** `raftkv snapshot save FILE`: a consistent copy of a running cluster's whole state. */
import { describeError, RaftKvError, type ErrorCode } from "../base/errors.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { inspectSnapshot, type SnapshotInspection } from "../storage/snapshot-inspection.ts";
import { command } from "./command.ts";
import { failureOf } from "./failure.ts";
import { clientOptions } from "./frontend-client.ts";
import { parseAddress, parseTimeoutMs } from "./option-value.ts";
import { answered, type Answer } from "./result.ts";
import { SnapshotProgress } from "./snapshot-progress.ts";
import { findLeader, SnapshotSource, type Leader } from "./snapshot-source.ts";
import { requireSavePath, SnapshotTarget } from "./snapshot-target.ts";

/** How often a save begins anew when its leader steps down or dies in the middle. */
const MAX_ATTEMPTS = 5;
const RETRY_PAUSE_MS = 200;

/** What may be over when another leader, or the same one, is asked anew. None of them comes from our own disk. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "notLeader",
  "unavailable",
  "unknownOutcome",
  "overloaded",
  "failedPrecondition",
  "corruption",
]);

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
  const interruption = Promise.withResolvers<never>();
  interruption.promise.catch(() => {});
  const interrupt = (): void =>
    interruption.reject(new RaftKvError("unavailable", `interrupted: ${options.file} was not saved`));
  if (signal.aborted) interrupt();
  signal.addEventListener("abort", interrupt);
  const progress = new SnapshotProgress();
  const target = await SnapshotTarget.create(fs, options.file);
  try {
    return await saveTo(target, {
      fs,
      options,
      timeoutMs: parseTimeoutMs("--timeout", options.timeout),
      progress,
      signal,
      orInterrupted: (promise) => Promise.race([promise, interruption.promise]),
    });
  } catch (error) {
    await target.abandon();
    if (signal.aborted) return failureOf(error);
    throw error instanceof RaftKvError && error.code === "diskFull"
      ? new RaftKvError("diskFull", `no room for ${options.file}: nothing was saved (${error.message})`)
      : error;
  } finally {
    signal.removeEventListener("abort", interrupt);
    progress.end();
  }
}

interface Save {
  readonly fs: FileSystem;
  readonly options: SaveOptions;
  readonly timeoutMs: number;
  readonly progress: SnapshotProgress;
  readonly signal: AbortSignal;
  /** What was asked of the cluster cannot be called back, but it need not be waited for. */
  readonly orInterrupted: <T>(promise: Promise<T>) => Promise<T>;
}

async function saveTo(target: SnapshotTarget, save: Save): Promise<Answer> {
  const { file, force } = save.options;
  const { leader, snapshot } = await download(target, save);
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

interface Downloaded {
  readonly leader: Leader;
  readonly snapshot: SnapshotInspection;
}

/** Fills the target from whoever leads, and begins anew when that fails for a reason that may pass. */
async function download(target: SnapshotTarget, save: Save): Promise<Downloaded> {
  const { options, timeoutMs, progress, signal, orInterrupted } = save;
  for (let attempt = 1; ; attempt++) {
    const leader = await orInterrupted(findLeader(options, timeoutMs, signal));
    try {
      return { leader, snapshot: await downloadFrom(leader, target, save) };
    } catch (error) {
      const mayPass = error instanceof RaftKvError && PASSING.has(error.code) && !signal.aborted;
      if (!mayPass || attempt === MAX_ATTEMPTS) throw error;
      progress.say(`${describeError(error)}; beginning anew`);
      await target.restart();
      await orInterrupted(Bun.sleep(RETRY_PAUSE_MS));
    }
  }
}

/** Rejects with "corruption" when what came is not the snapshot that the leader announced. */
async function downloadFrom(
  leader: Leader,
  target: SnapshotTarget,
  { fs, timeoutMs, progress, orInterrupted }: Save,
): Promise<SnapshotInspection> {
  const source = await orInterrupted(SnapshotSource.open(leader, timeoutMs));
  try {
    const { position, totalBytes, checksum } = source.info;
    while (target.size < totalBytes) {
      await target.append(await orInterrupted(source.read(target.size)));
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
  } finally {
    source.close();
  }
}
