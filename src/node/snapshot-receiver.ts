/**
 * Collects a leader's snapshot, chunk by chunk, beside everything that goes on:
 *
 *   chunk -> the file that is being received -> whole: made durable, checked and read -> the core's
 *     InstallSnapshot -> if the core installs it, its batch tells the driver to take the state over
 *
 * Nothing of it counts before that, so a crash, a broken transfer or a damaged file leaves this server as it
 * was (S4). Chunks are taken one after the other; one snapshot is received at a time. A later leader's or a
 * newer one takes the place of an older one, and the same one goes on where it ended, whoever sends it (S6).
 */
import { assert } from "../base/assert.ts";
import { describeError, RaftKvError } from "../base/errors.ts";
import type { KvState } from "../kv/kv-state.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { LogIndex, Term } from "../raft/entry.ts";
import type { InstallSnapshot, InstallSnapshotReply } from "../raft/message.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { SnapshotContent, SnapshotInfo, SnapshotReceipt, Store } from "../storage/store.ts";
import type { Clock } from "./clock.ts";
import type { NodeEvent } from "./node-event.ts";
import type { SnapshotChunk, SnapshotChunkReply } from "./peer-message.ts";
import { Waits } from "./waits.ts";

export interface SnapshotReceiverParts {
  readonly clock: Clock;
  readonly store: Store;
  readonly core: {
    readonly currentTerm: () => Term;
    /** Whether this server needs no snapshot of that position: it is committed here, or in the log. */
    readonly holds: (position: SnapshotPosition) => boolean;
    readonly install: (request: InstallSnapshot) => Promise<InstallSnapshotReply>;
  };
  readonly onEvent: (event: NodeEvent) => void;
  readonly onFailure: (error: unknown) => void;
}

/** Chunks that wait for their turn: each leader has one under way, so more than a few are a mistake. */
const MAX_WAITING_CHUNKS = 8;

/** After one for which there was no room: the log needs what room there is. */
const RETRY_AFTER_MS = 2000;

/** A snapshot that is coming in. */
interface Incoming {
  readonly receipt: SnapshotReceipt;
  /** The latest term in which a leader sent it. */
  term: Term;
}

export class SnapshotReceiver {
  readonly #parts: SnapshotReceiverParts;
  readonly #waits = new Waits();
  /** The end of the row of chunks. */
  #last: Promise<unknown> = Promise.resolve();
  #waitingChunks = 0;
  #incoming: Incoming | null = null;
  /** Read, and offered to the core. */
  #offered: SnapshotContent | null = null;
  /** The index of the last one that the core took. */
  #takenIndex: LogIndex = 0;
  #notBeforeMs = 0;

  constructor(parts: SnapshotReceiverParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when the chunk is taken, the last one when the snapshot is installed, durably. Rejects with
   * RaftKvError "unavailable" when the server stops, "overloaded" or "diskFull" when it cannot be taken now.
   */
  handle(chunk: SnapshotChunk): Promise<SnapshotChunkReply> {
    if (this.#waitingChunks >= MAX_WAITING_CHUNKS) {
      return Promise.reject(new RaftKvError("overloaded", "too many chunks of snapshots wait"));
    }
    this.#waitingChunks += 1;
    return this.#inTurn(() => this.#take(chunk)).finally(() => (this.#waitingChunks -= 1));
  }

  /** The state of the snapshot that the core installs. */
  takeState(position: SnapshotPosition): KvState {
    const offered = this.#offered;
    assert(
      offered !== null &&
        offered.info.position.index === position.index &&
        offered.info.position.term === position.term,
      `the core installs a snapshot ${position.index} that it was not given`,
    );
    this.#offered = null;
    this.#incoming = null;
    this.#takenIndex = position.index;
    return offered.state;
  }

  /** Drops what is no longer needed, as when the log has come after all. To be called once a turn. */
  consider(): void {
    if (this.#incoming === null || this.#waitingChunks > 0 || !this.#isNeedless(this.#incoming)) return;
    this.#inTurn(async () => {
      if (this.#incoming !== null && this.#isNeedless(this.#incoming)) await this.#abandon();
    }).catch((error: unknown) => this.#parts.onFailure(error));
  }

  /** Resolves when nothing of it touches the store any more. */
  async stop(): Promise<void> {
    this.#waits.end();
    await this.#inTurn(() => this.#abandon());
  }

  /** Runs `step` when those before it are done. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#last.then(step);
    this.#last = result.catch(() => null);
    return result;
  }

  async #take(chunk: SnapshotChunk): Promise<SnapshotChunkReply> {
    const { core, clock } = this.#parts;
    if (this.#waits.ended) throw stopping();
    if (chunk.term < core.currentTerm()) return this.#reply(0);
    // The core has something to say without a byte of it (S3).
    if (core.holds(chunk.info.position)) return this.#offer(chunk, []);
    if (clock.nowMs() < this.#notBeforeMs)
      throw new RaftKvError("diskFull", "no room for a snapshot; retry later");
    try {
      const receipt = await this.#receiptFor(chunk);
      if (receipt === null) return this.#reply(0);
      if (chunk.offset === receipt.size && chunk.data.length > 0) await receipt.append(chunk.data);
      if (receipt.size < receipt.info.totalBytes) return this.#reply(receipt.size);
      return await this.#finish(chunk, receipt);
    } catch (error) {
      return this.#failed(chunk, error);
    }
  }

  /** The one that this chunk belongs to; null when the chunk is late, and belongs to one that another has replaced. */
  async #receiptFor({ info, term, leaderId }: SnapshotChunk): Promise<SnapshotReceipt | null> {
    const { store, onEvent } = this.#parts;
    if ((store.snapshotInfo?.position.index ?? 0) < this.#takenIndex) {
      throw new RaftKvError("overloaded", "another snapshot is being installed; retry later");
    }
    const incoming = this.#incoming;
    if (incoming !== null) {
      if (isSame(incoming.receipt.info, info)) {
        incoming.term = Math.max(incoming.term, term);
        return incoming.receipt;
      }
      const older = info.position.index < incoming.receipt.info.position.index;
      if (term < incoming.term || (term === incoming.term && older)) return null;
      await this.#abandon();
    }
    const receipt = await store.receiveSnapshot(info);
    this.#incoming = { receipt, term };
    onEvent({ kind: "snapshotReceiving", from: leaderId, index: info.position.index });
    return receipt;
  }

  async #finish(chunk: SnapshotChunk, receipt: SnapshotReceipt): Promise<SnapshotChunkReply> {
    const content = await receipt.finish();
    this.#offered = content;
    try {
      return await this.#offer(chunk, content.configuration);
    } finally {
      // Still there: the core had no use for it.
      if (this.#offered !== null) await this.#abandon();
      this.#offered = null;
    }
  }

  /** `configuration` empty: not known, of a snapshot that is not needed. */
  async #offer(
    { term, leaderId, info }: SnapshotChunk,
    configuration: Configuration,
  ): Promise<SnapshotChunkReply> {
    const request = {
      kind: "installSnapshot",
      term,
      leaderId,
      snapshot: info.position,
      configuration,
    } as const;
    const reply = await this.#waits.until<InstallSnapshotReply>((done) => void this.#ask(request, done));
    if (reply === null) throw stopping();
    return {
      kind: "snapshotChunkReply",
      term: reply.term,
      nextOffset: reply.success ? info.totalBytes : 0,
      installed: reply.success,
    };
  }

  async #ask(request: InstallSnapshot, done: (reply: InstallSnapshotReply) => void): Promise<void> {
    done(await this.#parts.core.install(request));
  }

  /** What is damaged is asked for again, from the start; what finds no room, or no end, is dropped. */
  async #failed({ leaderId }: SnapshotChunk, error: unknown): Promise<SnapshotChunkReply> {
    const { clock, onEvent, onFailure } = this.#parts;
    const code = error instanceof RaftKvError ? error.code : null;
    if (code === "overloaded" || code === "unavailable") throw error;
    if (code !== "diskFull" && code !== "corruption" && code !== "failedPrecondition") {
      onFailure(error);
      throw stopping();
    }
    onEvent({ kind: "snapshotRefused", from: leaderId, why: describeError(error) });
    await this.#abandon();
    if (code !== "diskFull") return this.#reply(0);
    this.#notBeforeMs = clock.nowMs() + RETRY_AFTER_MS;
    throw error;
  }

  #reply(nextOffset: number): SnapshotChunkReply {
    return {
      kind: "snapshotChunkReply",
      term: this.#parts.core.currentTerm(),
      nextOffset,
      installed: false,
    };
  }

  async #abandon(): Promise<void> {
    const incoming = this.#incoming;
    this.#incoming = null;
    await incoming?.receipt.abandon();
  }

  #isNeedless({ receipt }: Incoming): boolean {
    return this.#parts.core.holds(receipt.info.position);
  }
}

function isSame(a: SnapshotInfo, b: SnapshotInfo): boolean {
  return (
    a.position.index === b.position.index &&
    a.position.term === b.position.term &&
    a.totalBytes === b.totalBytes &&
    a.checksum === b.checksum
  );
}

function stopping(): RaftKvError {
  return new RaftKvError("unavailable", "the server is stopping");
}
