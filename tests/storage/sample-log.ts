/** Small logs and identities for the storage tests. */
import { RaftKvError } from "../../src/base/errors.ts";
import { commandByteLength, type Command } from "../../src/kv/command.ts";
import { initialConfiguration, type Configuration } from "../../src/raft/configuration.ts";
import type { LogWrite, Persist } from "../../src/raft/batch.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { HardState } from "../../src/raft/hard-state.ts";
import type { FileSystem } from "../../src/storage/file-system.ts";
import { MemoryDisk, type MemoryFileSystem } from "../../src/storage/memory-file-system.ts";
import type { LogOptions } from "../../src/storage/segmented-log.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import type { Identity, SnapshotInfo } from "../../src/storage/store.ts";

/** The cluster of most tests. */
export const MEMBERS = initialConfiguration([0, 1, 2]);

export const IDENTITY: Identity = { clusterId: "cluster-a", serverId: 1, members: MEMBERS };

/** A cluster whose servers are not all where config.ini says, and do not all vote. */
export const SPREAD: Configuration = [
  { id: 0, address: "10.0.0.1:9001", voter: true },
  { id: 1, address: "", voter: true },
  { id: 7, address: "[2001:db8::7]:9008", voter: false },
];

/** An entry that sets `key` to `value`, named by a client or a frontend or not. */
export function put(index: number, term: number, key: string, value: string, names: Partial<Names> = {}) {
  const command: Command = { kind: "put", key, value, request: null, routed: null, ...names };
  const payload = { kind: "command", command, byteLength: commandByteLength(command) } as const;
  return { index, term, payload } satisfies Entry<Command>;
}

/** An entry that sets many keys. */
export function putMany(
  index: number,
  term: number,
  writes: readonly (readonly [key: string, value: string])[],
  names: Partial<Names> = {},
): Entry<Command> {
  const pairs = writes.map(([key, value]) => ({ key, value }));
  const command: Command = { kind: "putMany", writes: pairs, request: null, routed: null, ...names };
  return { index, term, payload: { kind: "command", command, byteLength: commandByteLength(command) } };
}

type Names = Pick<Command, "request" | "routed">;

export function configuration(index: number, term: number, members: Configuration): Entry<Command> {
  return { index, term, payload: { kind: "configuration", configuration: members } };
}

export function noop(index: number, term: number): Entry<Command> {
  return { index, term, payload: { kind: "noop" } };
}

/** `count` puts from `first` on, in one term. */
export function puts(first: number, count: number, term: number, valueLength = 8): Entry<Command>[] {
  return Array.from({ length: count }, (_, at) => {
    const index = first + at;
    const request = index % 2 === 0 ? { clientId: 7, requestId: index } : null;
    return put(index, term, `k${index}`, `${term}`.padEnd(valueLength, "v"), { request });
  });
}

export function append(...entries: readonly Entry<Command>[]): LogWrite<Command> {
  return { kind: "append", entries };
}

export function truncate(from: number): LogWrite<Command> {
  return { kind: "truncate", from };
}

export function group(
  hardState: HardState | null,
  ...writes: readonly LogWrite<Command>[]
): Persist<Command> {
  return { hardState, writes };
}

export function term(currentTerm: number, votedFor: number | null = null): HardState {
  return { currentTerm, votedFor, abstainsThrough: 0 };
}

export function compact(index: number, term: number, through = index): LogWrite<Command> {
  return { kind: "compact", snapshot: { index, term }, through };
}

export function install({ position }: SnapshotInfo): LogWrite<Command> {
  return { kind: "install", snapshot: position };
}

/** A created server that has persisted the groups, one after the other, and stopped. */
export async function writeServer(
  fs: FileSystem,
  stateDir: string,
  groups: readonly Persist<Command>[],
  options: LogOptions = {},
): Promise<void> {
  await createServerStore(fs, stateDir, IDENTITY);
  const { store } = await openServerStore(fs, stateDir, IDENTITY.serverId, options);
  for (const persist of groups) await store.persist(persist);
  await store.close();
}

/** The files of a server that has persisted the groups, one after the other, and was killed then. */
export async function killedServer(
  groups: readonly Persist<Command>[],
  options: LogOptions = {},
  disk = new MemoryDisk(),
): Promise<MemoryFileSystem> {
  const mount = disk.mount();
  await createServerStore(mount, "raft_state", IDENTITY);
  const { store } = await openServerStore(mount, "raft_state", IDENTITY.serverId, options);
  for (const persist of groups) await store.persist(persist);
  disk.kill(mount);
  return disk.mount();
}

/** What a server finds when it starts, having stopped again. */
export async function readServer(fs: FileSystem, stateDir: string, options: LogOptions = {}) {
  const { store, recovered } = await openServerStore(fs, stateDir, IDENTITY.serverId, options);
  await store.close();
  return recovered;
}

/** The operating error that it rejects with. Anything else, also success, fails the test. */
export async function refusal(promise: Promise<unknown>): Promise<RaftKvError> {
  const outcome = await promise.then(
    () => "it succeeded",
    (error: unknown) => error,
  );
  if (outcome instanceof RaftKvError) return outcome;
  throw outcome instanceof Error ? outcome : new Error(String(outcome));
}

/** Every file below the directory with its bytes as text, for comparing before and after. */
export async function contents(fs: FileSystem, directory: string): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const name of (await fs.listDirectory(directory)) ?? []) {
    const path = `${directory}/${name}`;
    const isDirectory = /^server_[0-9]+$/.test(name);
    if (isDirectory) Object.assign(all, await contents(fs, path));
    else all[path] = Buffer.from((await fs.readFile(path)) ?? []).toString("latin1");
  }
  return all;
}
