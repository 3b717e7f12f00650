/**
 * Takes snapshots of this server's own state, while it goes on (Raft §7):
 *
 *   freeze the state machine -> write it, a section a turn of the event loop -> make it durable
 *     -> the core compacts its log -> its write "compact" makes the snapshot the one that counts
 *
 * A crash at any point before the last leaves the older snapshot and the whole log (S1, S2). A snapshot that
 * a leader's installed in the meantime overtakes is given up (S4), and so is one that finds no room.
 */
import { describeError, RaftKvError } from "../base/errors.ts";
import type { FrozenState, KvStateMachine } from "../kv/state-machine.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { LogIndex } from "../raft/entry.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { SnapshotInfo, SnapshotWriter, Store } from "../storage/store.ts";
import type { Clock } from "./clock.ts";
import type { DiskRoom } from "./disk-room.ts";
import type { NodeEvent } from "./node-event.ts";
import { Waits } from "./waits.ts";

/** When a snapshot is due: the log has grown by either since the last one. */
export interface SnapshotThresholds {
  /** Or half the number of keys, if that is more. */
  readonly entries: number;
  /** Or half the size of the last snapshot, if that is more: writing snapshots then costs no more than twice the log. */
  readonly bytes: number;
}

export interface SnapshotterParts {
  readonly thresholds: SnapshotThresholds;
  readonly clock: Clock;
  readonly store: Store;
  readonly diskRoom: DiskRoom;
  readonly machine: KvStateMachine;
  readonly core: {
    /** What the state machine holds now. */
    readonly appliedPosition: () => SnapshotPosition;
    /** Of that moment; empty: this server does not know its cluster yet, and takes no snapshot. */
    readonly appliedConfiguration: () => Configuration;
    readonly snapshotIndex: () => LogIndex;
    /** A finished snapshot; false: it is not needed. */
    readonly compact: (snapshot: SnapshotPosition) => boolean;
    /** Brings the next turn, and so `consider`. */
    readonly wake: () => void;
  };
  readonly onEvent: (event: NodeEvent) => void;
  readonly onFailure: (error: unknown) => void;
}

/** After one that failed, as for want of room. */
const RETRY_AFTER_MS = 5000;

/** What an entry takes in the log beside its command, in bytes, roughly. */
const ENTRY_OVERHEAD_BYTES = 64;

/** Who asks for a snapshot waits for one at a time to be written, so they could pile up. */
const MAX_CALLERS = 64;

/** Somebody who wants a snapshot that holds everything up to `index`. */
interface Caller {
  readonly index: LogIndex;
  readonly resolve: (info: SnapshotInfo) => void;
  readonly reject: (error: RaftKvError) => void;
}

export class Snapshotter {
  readonly #parts: SnapshotterParts;
  readonly #waits = new Waits();
  #running: Promise<void> | null = null;
  /** Being written down; null also when what was frozen is of no use any more. */
  #frozen: FrozenState | null = null;
  /** Resolves when the snapshot counts whose "compact" is on its way. */
  #published: { readonly index: LogIndex; readonly done: (info: SnapshotInfo) => void } | null = null;
  #callers: Caller[] = [];
  #notBeforeMs = 0;
  /** Of the entries applied since the start. */
  #appliedBytes = 0;
  /** Of those, how many the last snapshot stands for. */
  #coveredBytes = 0;

  constructor(parts: SnapshotterParts) {
    this.#parts = parts;
  }

  /** An entry was applied; `byteLength` is that of its command. */
  applied(byteLength: number): void {
    this.#appliedBytes += byteLength + ENTRY_OVERHEAD_BYTES;
  }

  /** Takes a snapshot if one is due or wanted. To be called once a turn, after the turn's entries are applied. */
  consider(): void {
    const { clock, diskRoom, core } = this.#parts;
    if (this.#waits.ended || this.#running !== null || diskRoom.full) return;
    if (clock.nowMs() < this.#notBeforeMs) return;
    if (this.#callers.length === 0 && !this.#isDue()) return;
    if (core.appliedConfiguration().length === 0) {
      this.#dismissCallers(
        new RaftKvError("unavailable", "this server has not caught up with a cluster yet; retry later"),
      );
      return;
    }
    this.#running = this.#take().finally(() => (this.#running = null));
  }

  /** The store has persisted something, perhaps the snapshot that is waited for. */
  persisted(): void {
    const info = this.#parts.store.snapshotInfo;
    if (info === null) return;
    const { index } = info.position;
    if (this.#published !== null && this.#published.index <= index) this.#published.done(info);
    if (this.#callers.length === 0) return;
    for (const caller of this.#callers) if (caller.index <= index) caller.resolve(info);
    this.#callers = this.#callers.filter((caller) => caller.index > index);
  }

  /**
   * A snapshot that counts and holds everything applied before the call. Rejects with RaftKvError
   * "unavailable" when the server stops, has applied nothing yet or is in no cluster, "diskFull" when there is
   * no room, also for the log, and "overloaded" when too many wait already.
   */
  async takeNow(): Promise<SnapshotInfo> {
    const { core, store, diskRoom, machine } = this.#parts;
    const index = machine.appliedIndex;
    if (this.#waits.ended) throw stopping();
    if (index === 0) throw new RaftKvError("unavailable", "nothing has been written here yet; retry later");
    const latest = store.snapshotInfo;
    if (latest !== null && latest.position.index >= index) return latest;
    if (diskRoom.full) throw noRoom();
    if (this.#callers.length >= MAX_CALLERS) {
      throw new RaftKvError("overloaded", "too many others wait for a snapshot; retry later");
    }
    this.#notBeforeMs = 0;
    return new Promise((resolve, reject) => {
      this.#callers.push({ index, resolve, reject });
      core.wake();
    });
  }

  /** The log has no room on the disk: a snapshot would count only when it has, which may be never. */
  diskFull(): void {
    this.#dismissCallers(noRoom());
  }

  /** The state machine is about to be replaced by a leader's snapshot. */
  interrupt(): void {
    this.#release();
    this.#coveredBytes = this.#appliedBytes;
  }

  /** Resolves when nothing of it touches the store any more. */
  async stop(): Promise<void> {
    this.#release();
    this.#waits.end();
    this.#dismissCallers(stopping());
    while (this.#running !== null) await this.#running;
  }

  #isDue(): boolean {
    const { thresholds, machine, core, store } = this.#parts;
    const grownEntries = machine.appliedIndex - core.snapshotIndex();
    const grownBytes = this.#appliedBytes - this.#coveredBytes;
    const lastBytes = store.snapshotInfo?.totalBytes ?? 0;
    return (
      grownEntries > 0 &&
      (grownEntries >= Math.max(thresholds.entries, machine.size / 2) ||
        grownBytes >= Math.max(thresholds.bytes, lastBytes / 2))
    );
  }

  async #take(): Promise<void> {
    const { core, clock, machine, onEvent, onFailure } = this.#parts;
    const position = core.appliedPosition();
    const configuration = core.appliedConfiguration();
    const appliedBytes = this.#appliedBytes;
    const frozen = machine.freeze();
    this.#frozen = frozen;
    try {
      const info = await this.#write(position, configuration, frozen);
      if (info === null) return;
      this.#coveredBytes = Math.max(this.#coveredBytes, appliedBytes);
      onEvent({ kind: "snapshotTaken", ...info.position, bytes: info.totalBytes });
    } catch (error) {
      if (!(error instanceof RaftKvError) || error.code !== "diskFull") {
        onFailure(error);
        return;
      }
      this.#notBeforeMs = clock.nowMs() + RETRY_AFTER_MS;
      this.#dismissCallers(error);
      onEvent({ kind: "snapshotFailed", why: describeError(error) });
    } finally {
      if (this.#frozen === frozen) this.#release();
    }
  }

  /**
   * Resolves when the snapshot counts. To null when it was given up, and nothing of it is left; or when the
   * server stops with its "compact" on the way to the store: then the file stays, for that write needs it.
   */
  async #write(
    position: SnapshotPosition,
    configuration: Configuration,
    frozen: FrozenState,
  ): Promise<SnapshotInfo | null> {
    const { store, core } = this.#parts;
    const writer = await store.prepareSnapshot(position, configuration);
    try {
      if ((await this.#writeSections(frozen, writer)) && core.compact(position)) {
        return await this.#waits.until((done) => (this.#published = { index: position.index, done }));
      }
    } catch (error) {
      await writer.abandon();
      throw error;
    } finally {
      this.#published = null;
    }
    await writer.abandon();
    return null;
  }

  /** False when it was interrupted. */
  async #writeSections(frozen: FrozenState, writer: SnapshotWriter): Promise<boolean> {
    if (this.#frozen !== frozen) return false;
    for (const section of frozen.sections()) {
      await writer.append(section);
      await this.#nextTurn();
      if (this.#frozen !== frozen) return false;
    }
    this.#release();
    await writer.finish();
    return !this.#waits.ended;
  }

  /** Lets everything that is ready come first. */
  #nextTurn(): Promise<unknown> {
    return this.#waits.until<void>((done) => this.#parts.clock.defer(() => done()));
  }

  #release(): void {
    this.#frozen?.release();
    this.#frozen = null;
  }

  #dismissCallers(error: RaftKvError): void {
    const callers = this.#callers;
    this.#callers = [];
    for (const { reject } of callers) reject(error);
  }
}

function noRoom(): RaftKvError {
  return new RaftKvError("diskFull", "the disk is full; no snapshot was taken");
}

function stopping(): RaftKvError {
  return new RaftKvError("unavailable", "the server is stopping");
}
