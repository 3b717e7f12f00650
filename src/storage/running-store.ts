import { assert, unreachable } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { Command } from "../kv/command.ts";
import type { LogWrite, Persist } from "../raft/batch.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { LogIndex } from "../raft/entry.ts";
import type { HardState } from "../raft/hard-state.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import { replaceFile } from "./atomic-file.ts";
import { giveUp, untilRoom, type WhenFull } from "./until-room.ts";
import type { FileSystem, Lock } from "./file-system.ts";
import { Fuse } from "./fuse.ts";
import { unusable } from "./refusal.ts";
import type { SegmentedLog } from "./segmented-log.ts";
import type { ServerFiles } from "./server-files.ts";
import { electionEntries, type Reserve } from "./reserve.ts";
import { ServerSnapshots } from "./server-snapshots.ts";
import { encodeStateFile, type ServerState } from "./state-file.ts";
import type {
  Compaction,
  Later,
  SnapshotInfo,
  SnapshotReceipt,
  SnapshotSource,
  SnapshotWriter,
  Store,
} from "./store.ts";

const NOTHING_LATER: Later = { takeCompaction: () => null, electionWaits: () => false };

/** What a store is made of, once everything was read and mended. */
export interface StoreParts {
  readonly fs: FileSystem;
  readonly files: ServerFiles;
  readonly state: ServerState;
  readonly log: SegmentedLog;
  readonly snapshot: SnapshotInfo | null;
  readonly reserve: Reserve;
  readonly lock: Lock;
  readonly whenFull: WhenFull | undefined;
}

/** The Store of a server that runs; server-store.ts says in which order it writes. */
export class RunningStore implements Store {
  readonly #fs: FileSystem;
  readonly #files: ServerFiles;
  readonly #log: SegmentedLog;
  readonly #snapshots: ServerSnapshots;
  readonly #reserve: Reserve;
  readonly #lock: Lock;
  readonly #whenFull: WhenFull;
  readonly #fuse: Fuse;
  /** As the state file has it. */
  #state: ServerState;
  #busy = false;
  /** Up to which entry the log is durable, and has been since before the current `persist`. */
  #durableIndex: LogIndex;
  /** Behind the current `persist`. */
  #later = NOTHING_LATER;
  /** Of the current `persist`, all writes that are left are appends: a later compaction may go first. */
  #onlyAppends = false;
  /** Of the current `persist`, an election needs the current write or one that is left. */
  #servesElection = false;

  constructor({ fs, files, state, log, snapshot, reserve, lock, whenFull = giveUp }: StoreParts) {
    this.#fs = fs;
    this.#files = files;
    this.#state = state;
    this.#log = log;
    this.#reserve = reserve;
    this.#lock = lock;
    this.#whenFull = whenFull;
    log.whenFull = (error) => this.#makeRoom(error);
    this.#durableIndex = log.lastIndex;
    this.#fuse = new Fuse(files.directory);
    this.#snapshots = new ServerSnapshots(fs, files.directory, state.identity, snapshot, this.#fuse);
  }

  get logBytes(): number {
    return this.#log.bytes;
  }

  get snapshotInfo(): SnapshotInfo | null {
    return this.#snapshots.current;
  }

  async persist({ hardState, writes: all }: Persist<Command>, later = NOTHING_LATER): Promise<void> {
    assert(!this.#busy, "one call at a time");
    this.#busy = true;
    this.#later = later;
    try {
      await this.#fuse.run(async () => {
        const { currentTerm } = hardState ?? this.#state.hardState;
        const writes = all.flatMap((write) => parted(write, electionEntries(write, currentTerm)));
        const lastOther = writes.findLastIndex(({ kind }) => kind !== "append");
        const lastOfElection = writes.findLastIndex((write) => electionEntries(write, currentTerm) > 0);
        this.#onlyAppends = lastOther === -1;
        if (hardState !== null) await this.#saveHardState(hardState);
        for (const [at, write] of writes.entries()) {
          this.#onlyAppends = at > lastOther;
          this.#servesElection = at <= lastOfElection;
          await this.#write(write);
        }
        await this.#log.sync();
      });
      this.#durableIndex = this.#log.lastIndex;
      await this.#reserve.fill();
    } finally {
      [this.#later, this.#onlyAppends, this.#servesElection] = [NOTHING_LATER, false, false];
      this.#busy = false;
    }
  }

  prepareSnapshot(position: SnapshotPosition, configuration: Configuration): Promise<SnapshotWriter> {
    return this.#snapshots.prepare(position, configuration);
  }

  receiveSnapshot(info: SnapshotInfo): Promise<SnapshotReceipt> {
    return this.#snapshots.receive(info);
  }

  openSnapshot(): Promise<SnapshotSource | null> {
    return this.#snapshots.open();
  }

  async close(): Promise<void> {
    assert(!this.#busy, "one call at a time");
    try {
      await this.#snapshots.close();
      if (!this.#fuse.isBlown) await this.#recordReach();
    } finally {
      this.#fuse.blow(unusable(this.#files.directory, "the store is closed"));
      const closed = this.#log.close().finally(() => this.#reserve.close());
      await closed.finally(() => this.#lock.release());
    }
  }

  async #saveHardState(next: HardState): Promise<void> {
    const { currentTerm, votedFor, abstainsThrough, abstainsTo } = this.#state.hardState;
    assert(next.currentTerm >= currentTerm, "currentTerm never falls");
    const keepsVote = next.currentTerm > currentTerm || votedFor === null || next.votedFor === votedFor;
    assert(keepsVote, "a vote stands for its whole term");
    const votesAgain = next.abstainsThrough === 0 && next.abstainsTo === undefined;
    const abstains = next.abstainsThrough === abstainsThrough && next.abstainsTo === abstainsTo;
    assert(abstains || votesAgain, "a server abstains as long as was said when it was made");
    await this.#saveState({ ...this.#state, hardState: next, installing: null });
  }

  async #saveState(next: ServerState): Promise<void> {
    const content = encodeStateFile(next);
    const whenFull: WhenFull = async (error) => {
      if (!(await this.#reserve.giveUp())) await this.#makeRoom(error);
    };
    await untilRoom(whenFull, () => replaceFile(this.#fs, this.#files.stateFile, content));
    this.#state = next;
  }

  async #write(write: LogWrite<Command>): Promise<void> {
    switch (write.kind) {
      case "append": {
        await this.#log.append(write.entries);
        const { currentTerm } = this.#state.hardState;
        assert(this.#log.lastTerm <= currentTerm, "no entry is of a later term than currentTerm");
        return;
      }
      case "truncate":
        await this.#forgetReach(write.from);
        this.#durableIndex = Math.min(this.#durableIndex, write.from - 1);
        return this.#log.truncate(write.from);
      case "compact":
        return this.#compact(write);
      case "install":
        return this.#install(write.snapshot);
      default:
        unreachable(write);
    }
  }

  async #compact(write: Compaction): Promise<void> {
    const { index } = write.snapshot;
    assert(index <= this.#log.lastIndex, "a snapshot stands for entries that are here");
    // A log that does not reach the snapshot of its own entries has lost its end, and would be refused.
    await this.#log.sync();
    await this.#compactDurable(write);
  }

  /** The same when the entries are durable; also while the log waits for room. */
  async #compactDurable({ snapshot, through }: Compaction): Promise<void> {
    assert(through <= snapshot.index, "a snapshot stands for the entries that go");
    await this.#snapshots.publish("prepared", snapshot, (error) => this.#waitForRoom(error));
    await this.#snapshots.removeOutdated();
    await this.#log.compact(through);
  }

  /** Does at once what would make room later; if there is nothing of the kind, waits. */
  async #makeRoom(error: RaftKvError): Promise<void> {
    const compaction = this.#onlyAppends ? this.#later.takeCompaction(this.#durableIndex) : null;
    await (compaction === null ? this.#waitForRoom(error) : this.#compactDurable(compaction));
  }

  /** Not while an election waits for it, as long as there is something in reserve. */
  async #waitForRoom(error: RaftKvError): Promise<void> {
    const electionWaits =
      this.#servesElection || this.#later.electionWaits(this.#state.hardState.currentTerm);
    if (!electionWaits || !(await this.#reserve.giveUp())) await this.#whenFull(error);
  }

  async #install(snapshot: SnapshotPosition): Promise<void> {
    await this.#log.sync();
    // Should the snapshot get lost before the log begins after it, what is left of the log must not pass for whole.
    const logReaches = this.#log.lastUpTo(snapshot.index);
    await this.#saveState({ ...this.#state, logReaches, installing: snapshot });
    await this.#snapshots.publish("received", snapshot, (error) => this.#waitForRoom(error));
    // The older one would make what the install leaves of the log look whole, should the newer one get lost.
    await this.#snapshots.removeOutdated();
    await this.#log.install(snapshot);
    this.#durableIndex = snapshot.index;
  }

  /** Says where the log ends, so that a start notices when that end is lost. On a full disk it is not said. */
  async #recordReach(): Promise<void> {
    const { firstIndex, lastIndex: index, lastTerm: term } = this.#log;
    if (index < firstIndex || this.#state.logReaches?.index === index) return;
    await this.#log.sync();
    const content = encodeStateFile({ ...this.#state, logReaches: { index, term }, installing: null });
    await replaceFile(this.#fs, this.#files.stateFile, content).catch((error: unknown) => {
      if (!(error instanceof RaftKvError) || error.code !== "diskFull") throw error;
    });
  }

  /** Before entries from `from` on are removed, what the state file says of them must not be there any more. */
  async #forgetReach(from: LogIndex): Promise<void> {
    const { logReaches } = this.#state;
    if (logReaches === null || logReaches.index < from) return;
    await this.#saveState({ ...this.#state, logReaches: null, installing: null });
  }
}

/** The same in two appends, the first with so many entries; in one where that is all or none of them. */
function parted(write: LogWrite<Command>, entries: number): readonly LogWrite<Command>[] {
  if (write.kind !== "append" || entries === 0 || entries === write.entries.length) return [write];
  return [
    { kind: "append", entries: write.entries.slice(0, entries) },
    { kind: "append", entries: write.entries.slice(entries) },
  ];
}
