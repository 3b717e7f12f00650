/** `raftkv snapshot restore FILE`: a new cluster with the data of a saved one. */
import { RaftKvError } from "../base/errors.ts";
import { MAX_MEMBERS } from "../raft/configuration.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { inspectSnapshotFile } from "../storage/snapshot-reader.ts";
import type { SnapshotContent } from "../storage/store.ts";
import { command, JSON_OPTION } from "./command.ts";
import { failureOf } from "./failure.ts";
import { parseWholeNumber } from "./option-value.ts";
import { pathKind } from "./path-kind.ts";
import { requireVacant, restoreCluster } from "./restoration.ts";
import { answered, type Answer } from "./result.ts";
import { UsageError } from "./usage-error.ts";

export interface RestoreOptions {
  readonly file: string;
  readonly stateDir: string;
  readonly servers: number;
}

export const snapshotRestoreCommand = command(
  {
    name: "raftkv snapshot restore",
    description: 'Make a new cluster with the data of a snapshot file; then start it: "raftkv --start 3"',
  },
  {
    file: { type: "positional", required: true, description: 'What "raftkv snapshot save" has written' },
    dir: {
      type: "string",
      valueHint: "directory",
      description: "The new cluster's state directory, without another cluster in it",
    },
    servers: { type: "string", default: "3", valueHint: "count", description: "How many servers it gets" },
    ...JSON_OPTION,
  },
  async ({ file, dir, servers }) => {
    if (dir === undefined)
      throw new UsageError("--dir is missing: --dir DIRECTORY, for the new cluster's files");
    const options = {
      file,
      stateDir: dir.replace(/(?<=.)\/+$/, ""),
      servers: parseWholeNumber("--servers", servers, 1, MAX_MEMBERS),
    };
    return { kind: "job", run: (signal) => restoreSnapshot(new OsFileSystem(), options, signal) };
  },
);

/**
 * Verifies the file, then restores it. Aborted, it undoes what it has done. Rejects with RaftKvError
 * "corruption" or "failedPrecondition" when it is no whole snapshot, and as restoreCluster; then no cluster has
 * come into being.
 */
export async function restoreSnapshot(
  fs: FileSystem,
  { file, stateDir, servers }: RestoreOptions,
  signal: AbortSignal,
): Promise<Answer> {
  await requireVacant(fs, stateDir);
  try {
    const content = await orInterrupted(readWhole(fs, file), signal);
    const clusterId = await restoreCluster(fs, content, stateDir, servers, signal);
    const { index, term } = content.info.position;
    const keys = content.state.data.size;
    const size = servers === 1 ? "1 server" : `${servers} servers`;
    const text = `restored to ${stateDir}: a new cluster of ${size}, state up to entry ${index} of term ${term}, ${keys} ${keys === 1 ? "key" : "keys"}`;
    const hint = `start it where config.ini says persistent_state_path = ${stateDir}: raftkv --start ${servers}`;
    return answered(`${text}\n${hint}`, { ok: true, file, stateDir, clusterId, servers, index, term, keys });
  } catch (error) {
    if (signal.aborted) return failureOf(error);
    throw error;
  }
}

/** Reading changes nothing: when it is interrupted nobody waits for its end. */
async function orInterrupted<T>(reading: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const interrupt = (): void => reject(new RaftKvError("unavailable", "interrupted: nothing was restored"));
  if (signal.aborted) interrupt();
  signal.addEventListener("abort", interrupt);
  try {
    return await Promise.race([reading, promise]);
  } finally {
    signal.removeEventListener("abort", interrupt);
  }
}

async function readWhole(fs: FileSystem, file: string): Promise<SnapshotContent> {
  const found = await pathKind(file);
  if (found === "directory" || found === "other") {
    const what = found === "directory" ? "is a directory" : "is no regular file";
    throw new RaftKvError("failedPrecondition", `${file} ${what}: name a snapshot file`);
  }
  const finding = await inspectSnapshotFile(fs, file);
  if (finding === null) throw new RaftKvError("failedPrecondition", `${file}: there is no such file`);
  if (finding.kind === "whole") return finding.content;
  const { kind, offset, what } = finding.damage;
  if (kind === "unusable") throw new RaftKvError("failedPrecondition", `${file}: ${what}`);
  throw new RaftKvError(
    "corruption",
    `${file}: byte ${offset}: ${what}. Nothing was restored; use another copy.`,
  );
}
