/**
 * Gathers writes into batches and has several of them under way.
 *
 * Of two writes to one key the one that was added later must win. Two batches that are under way at the same time may
 * take effect in either order, so no key may be in both: each key has its lane, which its checksum chooses, and each
 * lane has one batch under way and one that fills up meanwhile. Within a batch the order is that of the writes.
 *
 * Memory is bounded by that: whoever adds to a lane whose batch is full waits for the one under way.
 */
import { crc32 } from "node:zlib";
import type { Write } from "../../kv/command.ts";
import { encodeWrite } from "../../rpc/write-codec.ts";

/** Writes that travel together. */
export interface Batch {
  /** As in PutManyArgs. */
  readonly writes: Buffer[];
  /** Parallel to them: what line of the file each of them is. */
  readonly lineNumbers: number[];
  /** Of `writes`. */
  bytes: number;
  /** That the lines have in the file. */
  fileBytes: number;
}

/** Batches under way at the same time. */
const LANES = 8;
/** A batch is full with so many writes, or bytes; a larger write is a batch by itself. */
const MAX_BATCH_WRITES = 1024;
const MAX_BATCH_BYTES = 256 * 1024;

interface Lane {
  filling: Batch;
  /** Never rejects. */
  underWay: Promise<void> | null;
}

export class Lanes {
  readonly #send: (batch: Batch) => Promise<void>;
  readonly #lanes: readonly Lane[] = Array.from({ length: LANES }, () => ({
    filling: emptyBatch(),
    underWay: null,
  }));
  #failure: { readonly error: unknown } | null = null;

  /** `send` resolves when the batch has taken effect. After its first rejection no other batch is sent. */
  constructor(send: (batch: Batch) => Promise<void>) {
    this.#send = send;
  }

  /**
   * Takes a write. null: it has its place. Otherwise nothing may be added before the promise resolves; it rejects with
   * what a batch failed with.
   */
  add(write: Write, lineNumber: number, fileBytes: number): Promise<void> | null {
    const lane = this.#lanes[crc32(write.key) % LANES];
    if (lane === undefined) throw new RangeError("a lane for every key");
    const bytes = encodeWrite(write);
    if (hasRoomFor(lane.filling, bytes)) {
      push(lane.filling, bytes, lineNumber, fileBytes);
      return null;
    }
    return this.#dispatch(lane).then(() => push(lane.filling, bytes, lineNumber, fileBytes));
  }

  /** Sends what is left. Resolves when everything has taken effect; rejects, once nothing is under way, as `add`. */
  async finish(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => this.#dispatch(lane).catch(() => {})));
    await this.idle();
    this.#check();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#lanes.map(({ underWay }) => underWay));
  }

  /** Sends the lane's batch as soon as the one before it has ended. */
  async #dispatch(lane: Lane): Promise<void> {
    if (lane.underWay !== null) await lane.underWay;
    this.#check();
    const batch = lane.filling;
    if (batch.writes.length === 0) return;
    lane.filling = emptyBatch();
    lane.underWay = this.#carry(lane, batch);
  }

  async #carry(lane: Lane, batch: Batch): Promise<void> {
    try {
      await this.#send(batch);
    } catch (error) {
      this.#failure ??= { error };
    }
    lane.underWay = null;
  }

  #check(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }
}

function emptyBatch(): Batch {
  return { writes: [], lineNumbers: [], bytes: 0, fileBytes: 0 };
}

function hasRoomFor({ writes, bytes }: Batch, write: Buffer): boolean {
  if (writes.length === 0) return true;
  return writes.length < MAX_BATCH_WRITES && bytes + write.length <= MAX_BATCH_BYTES;
}

function push(batch: Batch, write: Buffer, lineNumber: number, fileBytes: number): void {
  batch.writes.push(write);
  batch.lineNumbers.push(lineNumber);
  batch.bytes += write.length;
  batch.fileBytes += fileBytes;
}
