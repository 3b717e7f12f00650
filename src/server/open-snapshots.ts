import { RaftKvError } from "../base/errors.ts";
import type { Clock, Timer } from "../node/clock.ts";
import type { SnapshotInfo, SnapshotSource } from "../storage/store.ts";

/** A client that saves a snapshot reads it piece by piece, without pauses as long as this. */
const IDLE_MS = 30_000;

/** Each keeps a file on disk that nobody else needs any more. */
const MAX_OPEN = 4;

interface OpenSnapshot {
  readonly source: SnapshotSource;
  idle: Timer;
  /** Reads under way; the file is closed after the last of them. */
  reads: number;
  dropped: boolean;
}

/** Snapshots that are kept open for clients to read, the one used last at the end. */
export class OpenSnapshots {
  readonly #clock: Clock;
  readonly #byName = new Map<string, OpenSnapshot>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes `source` over. It stays readable until it was left alone for a while, or others push it out. */
  add(source: SnapshotSource): void {
    const name = nameOf(source.info);
    const before = this.#byName.get(name);
    const open = before ?? { source, idle: this.#startIdling(name), reads: 0, dropped: false };
    if (before !== undefined) void source.close();
    this.#used(name, open);
    const oldest = this.#byName.keys().next().value;
    if (this.#byName.size > MAX_OPEN && oldest !== undefined) this.#drop(oldest);
  }

  /** Rejects with RaftKvError "failedPrecondition" when the snapshot is not open any more. */
  async read(info: SnapshotInfo, offset: number, maxBytes: number): Promise<Uint8Array> {
    const name = nameOf(info);
    const open = this.#byName.get(name);
    if (open === undefined) {
      const what = `the snapshot at entry ${info.position.index} is not open here; start again with TakeSnapshot`;
      throw new RaftKvError("failedPrecondition", what);
    }
    this.#used(name, open);
    open.reads += 1;
    try {
      return await open.source.read(offset, maxBytes);
    } finally {
      open.reads -= 1;
      if (open.dropped && open.reads === 0) void open.source.close();
    }
  }

  /** Nothing is readable any more. */
  close(): void {
    for (const name of this.#byName.keys()) this.#drop(name);
  }

  #used(name: string, open: OpenSnapshot): void {
    open.idle.cancel();
    open.idle = this.#startIdling(name);
    this.#byName.delete(name);
    this.#byName.set(name, open);
  }

  #startIdling(name: string): Timer {
    return this.#clock.setTimer(IDLE_MS, () => this.#drop(name));
  }

  #drop(name: string): void {
    const open = this.#byName.get(name);
    if (open === undefined) return;
    this.#byName.delete(name);
    open.idle.cancel();
    open.dropped = true;
    if (open.reads === 0) void open.source.close();
  }
}

function nameOf({ position, totalBytes, checksum }: SnapshotInfo): string {
  return [position.index, position.term, totalBytes, checksum].join("/");
}
