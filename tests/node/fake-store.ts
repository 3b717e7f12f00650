import { assert, defined } from "../../src/base/assert.ts";
import { RaftKvError } from "../../src/base/errors.ts";
import type { Command } from "../../src/kv/command.ts";
import { KvStateLoader } from "../../src/kv/kv-state-loader.ts";
import type { DiskRoom } from "../../src/node/disk-room.ts";
import type { Persist } from "../../src/raft/batch.ts";
import type { Configuration } from "../../src/raft/configuration.ts";
import type { Entry, ServerId } from "../../src/raft/entry.ts";
import { INITIAL_HARD_STATE, type HardState } from "../../src/raft/hard-state.ts";
import { ORIGIN, type SnapshotPosition } from "../../src/raft/snapshot-position.ts";
import { servesElection } from "../../src/storage/reserve.ts";
import type {
  Later,
  Recovered,
  SnapshotContent,
  SnapshotInfo,
  SnapshotReceipt,
  SnapshotSource,
  SnapshotWriter,
  Store,
} from "../../src/storage/store.ts";
import type { VirtualClock } from "./virtual-clock.ts";

/** A line with the configuration, and a line a section. */
interface SnapshotFile {
  readonly info: SnapshotInfo;
  readonly bytes: Uint8Array;
}

/** A disk in memory whose every call takes as long as the test says. */
export class FakeStore implements Store {
  readonly logBytes = 0;
  readonly persists: Persist<Command>[] = [];
  hardState: HardState = INITIAL_HARD_STATE;
  base: SnapshotPosition = ORIGIN;
  entries: Entry<Command>[] = [];
  snapshot: SnapshotFile | null = null;
  /** Not yet counting; gone after a restart. */
  prepared: SnapshotFile | "unfinished" | null = null;
  received: SnapshotFile | "unfinished" | null = null;
  /** How many were begun. */
  prepareCount = 0;
  receiveCount = 0;
  openSources = 0;
  /** null: the disk hangs. */
  delayMs: number | null = 1;
  /** Of every step of a snapshot. */
  snapshotDelayMs = 1;
  fails = false;
  full = false;
  /** Full, it has room for what an election waits for. */
  hasReserve = false;
  /** The disk has no room for snapshots, but for the log. */
  fullForSnapshots = false;
  /** The room of the process that runs on it. */
  diskRoom: DiskRoom | null = null;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  get snapshotInfo(): SnapshotInfo | null {
    return this.snapshot?.info ?? null;
  }

  /** Another disk with what is durable on this one. */
  copy(): FakeStore {
    const { hardState, base, entries, snapshot } = this;
    return Object.assign(new FakeStore(this.#clock), { hardState, base, snapshot, entries: [...entries] });
  }

  /** What a process that starts now finds. */
  recovered(serverId: ServerId, members: Configuration): Recovered {
    [this.prepared, this.received, this.openSources] = [null, null, 0];
    const { hardState, snapshot, base, entries } = this;
    return {
      identity: { clusterId: "test", serverId, members },
      hardState,
      snapshot: snapshot === null ? null : load(snapshot),
      log: { base, entries: [...entries] },
      repairs: [],
    };
  }

  async persist(persist: Persist<Command>, later?: Later): Promise<void> {
    this.persists.push(persist);
    const { currentTerm } = persist.hardState ?? this.hardState;
    for (;;) {
      await this.#pass(this.delayMs);
      if (this.fails) throw new RaftKvError("io", "fsync failed");
      const electionWaits = servesElection(persist, currentTerm) || later?.electionWaits(currentTerm);
      if (!this.full || (this.hasReserve && electionWaits)) break;
      await defined(this.diskRoom, "a process runs").whenFull(noRoom());
    }
    this.hardState = persist.hardState ?? this.hardState;
    for (const write of persist.writes) this.#write(write);
  }

  async prepareSnapshot(position: SnapshotPosition, configuration: Configuration): Promise<SnapshotWriter> {
    assert(this.prepared === null, "one at a time");
    assert(configuration.length > 0, "a snapshot names its cluster");
    this.prepareCount += 1;
    this.prepared = "unfinished";
    const sections = [JSON.stringify(configuration)];
    return {
      append: async (section) => {
        await this.#snapshotStep();
        sections.push(section);
      },
      finish: async () => {
        await this.#snapshotStep();
        const bytes = new TextEncoder().encode(sections.join("\n"));
        this.prepared = { info: infoOf(position, bytes), bytes };
      },
      abandon: async () => {
        this.prepared = null;
      },
    };
  }

  async receiveSnapshot(info: SnapshotInfo): Promise<SnapshotReceipt> {
    assert(this.received === null, "one at a time");
    this.receiveCount += 1;
    this.received = "unfinished";
    let bytes = new Uint8Array(0);
    return {
      info,
      get size() {
        return bytes.length;
      },
      append: async (data) => {
        await this.#snapshotStep();
        bytes = Uint8Array.from([...bytes, ...data]);
      },
      finish: async () => {
        await this.#snapshotStep();
        const file = { info: infoOf(info.position, bytes), bytes };
        if (file.info.checksum !== info.checksum) throw new RaftKvError("corruption", "wrong checksum");
        const content = load(file);
        this.received = file;
        return content;
      },
      abandon: async () => {
        this.received = null;
      },
    };
  }

  async openSnapshot(): Promise<SnapshotSource | null> {
    if (this.snapshot === null) return null;
    const { info, bytes } = this.snapshot;
    this.openSources += 1;
    return {
      info,
      read: async (offset, maxBytes) => bytes.slice(offset, offset + maxBytes),
      close: async () => {
        this.openSources -= 1;
      },
    };
  }

  async close(): Promise<void> {}

  /** The entry at `index`, whose term the log knows. */
  #positionAt(index: number): SnapshotPosition {
    if (index <= this.base.index) return this.base;
    const { term } = defined(this.entries[index - this.base.index - 1], `no entry ${index}`);
    return { index, term };
  }

  #write(write: Persist<Command>["writes"][number]): void {
    switch (write.kind) {
      case "append":
        this.entries.push(...write.entries);
        return;
      case "truncate":
        this.entries.length = write.from - 1 - this.base.index;
        return;
      case "compact": {
        const base = this.#positionAt(write.through);
        this.entries.splice(0, base.index - this.base.index);
        this.snapshot = published(this.prepared, write.snapshot);
        [this.base, this.prepared] = [base, null];
        return;
      }
      case "install":
        this.snapshot = published(this.received, write.snapshot);
        [this.base, this.entries, this.received] = [write.snapshot, [], null];
    }
  }

  async #snapshotStep(): Promise<void> {
    await this.#pass(this.snapshotDelayMs);
    if (this.full || this.fullForSnapshots) throw noRoom();
  }

  #pass(delayMs: number | null): Promise<void> {
    return new Promise((resolve) => {
      if (delayMs !== null) this.#clock.setTimer(delayMs, resolve);
    });
  }
}

function noRoom(): RaftKvError {
  return new RaftKvError("diskFull", "no space left on device");
}

function infoOf(position: SnapshotPosition, bytes: Uint8Array): SnapshotInfo {
  const checksum = Bun.hash.crc32(bytes).toString(16).padStart(8, "0");
  return { position, totalBytes: bytes.length, checksum };
}

function published(file: SnapshotFile | "unfinished" | null, { index }: SnapshotPosition): SnapshotFile {
  assert(file !== null && file !== "unfinished" && file.info.position.index === index, "it is finished");
  return file;
}

function load({ info, bytes }: SnapshotFile): SnapshotContent {
  const [configuration = "", ...sections] = new TextDecoder().decode(bytes).split("\n");
  const loader = new KvStateLoader(info.position.index);
  for (const section of sections) {
    const wrong = loader.add(section);
    if (wrong !== null) throw new RaftKvError("corruption", wrong);
  }
  return { info, configuration: JSON.parse(configuration), state: defined(loader.finish(), "a whole state") };
}
