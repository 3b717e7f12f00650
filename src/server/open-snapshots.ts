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
  /** Those under way; the file is closed after the last of them. */
  readonly reads: Set<Promise<Uint8Array>>;
}

/** Snapshots that are kept open for clients to read, the one used last at the end. */
export class OpenSnapshots {
  readonly #clock: Clock;
  readonly #byName = new Map<string, OpenSnapshot>();
  /** Those that are being closed. None rejects. */
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Takes `source` over. It stays readable until it was left alone for a while, or others push it out; not at
   * all after `close`.
   */
  add(source: SnapshotSource): void {
    const name = nameOf(source.info);
    const before = this.#byName.get(name);
    if (this.#closed || before !== undefined) this.#close(source, []);
    if (this.#closed) return;
    this.#used(name, before ?? { source, idle: this.#startIdling(name), reads: new Set() });
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
    const reading = open.source.read(offset, maxBytes);
    open.reads.add(reading);
    try {
      return await reading;
    } finally {
      open.reads.delete(reading);
    }
  }

  /** Nothing is readable any more. Resolves when the reads under way have ended and every file is closed. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const name of this.#byName.keys()) this.#drop(name);
    await Promise.all(this.#closing);
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
    this.#close(open.source, [...open.reads]);
  }

  #close(source: SnapshotSource, reads: readonly Promise<Uint8Array>[]): void {
    const closing = closeAfter(source, reads).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}

/** Never rejects: a file that was only read, and whose end is refused, has lost nothing. */
async function closeAfter(source: SnapshotSource, reads: readonly Promise<Uint8Array>[]): Promise<void> {
  if (reads.length > 0) await Promise.allSettled(reads);
  await source.close().catch(() => {});
}

function nameOf({ position, totalBytes, checksum }: SnapshotInfo): string {
  return [position.index, position.term, totalBytes, checksum].join("/");
}
