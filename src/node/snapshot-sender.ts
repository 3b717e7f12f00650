/**
 * Carries the core's InstallSnapshot to a follower: the newest snapshot file in chunks, one under way at a
 * time, each sent where the follower says that it goes on. So a transfer that broke off resumes, also when
 * the core asks for it anew, as long as the snapshot is the same.
 *
 * The core gets one answer for the whole transfer: the follower's, when it has installed it or knows a later
 * term; none, when leadership has passed, the snapshot is no longer the newest, or the follower makes no
 * progress. It asks again by itself.
 */
import { assert } from "../base/assert.ts";
import { describeError, RaftKvError } from "../base/errors.ts";
import type { LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { InstallSnapshot, InstallSnapshotReply } from "../raft/message.ts";
import type { SnapshotSource, Store } from "../storage/store.ts";
import type { Clock } from "./clock.ts";
import type { NodeEvent } from "./node-event.ts";
import type { PeerReply, SnapshotChunk, SnapshotChunkReply } from "./peer-message.ts";
import { TransferPace } from "./transfer-pace.ts";
import type { Transport } from "./transport.ts";
import { Waits } from "./waits.ts";

export interface SnapshotSenderParts {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly store: Store;
  /** Bytes of one chunk, at most MAX_CHUNK_BYTES. */
  readonly chunkBytes: number;
  /** Of all transfers together. */
  readonly bytesPerSecond: number;
  /** Whether this server leads in `term`. */
  readonly leads: (term: Term) => boolean;
  readonly onEvent: (event: NodeEvent) => void;
  /** A bug. */
  readonly onFailure: (error: unknown) => void;
}

/** Messages in a row that brought the transfer no further, before it is given up. */
const MAX_SETBACKS = 5;
/** After the first of them; each time twice as long. */
const FIRST_PAUSE_MS = 50;

const NOTHING = new Uint8Array(0);

interface Transfer {
  readonly to: ServerId;
  readonly request: InstallSnapshot;
  /** The follower answers and gets ahead. */
  moves: boolean;
  done: Promise<void>;
}

export class SnapshotSender {
  readonly #parts: SnapshotSenderParts;
  readonly #pace: TransferPace;
  readonly #waits = new Waits();
  /** The newest transfer to each follower, the older one before it being about to end. */
  readonly #transfers = new Map<ServerId, Transfer>();

  constructor(parts: SnapshotSenderParts) {
    this.#parts = parts;
    this.#pace = new TransferPace(parts.bytesPerSecond);
  }

  /**
   * The index of the oldest snapshot that gets ahead on its way: its follower needs the entries after it.
   * Infinity: none does. A follower that does not answer holds nothing back.
   */
  get oldestIndex(): LogIndex {
    const moving = [...this.#transfers.values()].filter(({ moves }) => moves);
    return Math.min(...moving.map(({ request }) => request.snapshot.index));
  }

  /** `settle` is called once, later: with the core's answer, or with null when there is none. */
  send(to: ServerId, request: InstallSnapshot, settle: (reply: InstallSnapshotReply | null) => void): void {
    const before = this.#transfers.get(to)?.done;
    const transfer: Transfer = { to, request, moves: false, done: Promise.resolve() };
    transfer.done = this.#run(transfer, before).then(settle);
    this.#transfers.set(to, transfer);
  }

  /** Resolves when nothing of it touches the store any more. */
  async stop(): Promise<void> {
    this.#waits.end();
    await Promise.all([...this.#transfers.values()].map(({ done }) => done));
  }

  /** One transfer to a follower ends before the next begins. Never rejects. */
  async #run(transfer: Transfer, before: Promise<void> | undefined): Promise<InstallSnapshotReply | null> {
    await before;
    try {
      return await this.#transfer(transfer);
    } catch (error) {
      return this.#failed(transfer.to, error);
    } finally {
      if (this.#transfers.get(transfer.to) === transfer) this.#transfers.delete(transfer.to);
    }
  }

  async #transfer(transfer: Transfer): Promise<InstallSnapshotReply | null> {
    const { to, request } = transfer;
    if (!this.#mayGoOn(request)) return null;
    const source = await this.#parts.store.openSnapshot();
    if (source === null) return null;
    try {
      const { index, term } = source.info.position;
      // The core knows a snapshot a little before, and no longer than, it is the one that counts.
      if (index !== request.snapshot.index || term !== request.snapshot.term) return null;
      this.#parts.onEvent({ kind: "snapshotSending", to, index });
      return await this.#sendChunks(transfer, source);
    } finally {
      await source.close();
    }
  }

  async #sendChunks(transfer: Transfer, source: SnapshotSource): Promise<InstallSnapshotReply | null> {
    const { to, request } = transfer;
    const { term, leaderId, snapshot } = request;
    const { info } = source;
    let [offset, furthest, setbacks] = [0, 0, 0];
    // At first, and after a loss, only the follower knows how far it has got.
    let asks = true;
    while (setbacks < MAX_SETBACKS && this.#mayGoOn(request)) {
      const data = asks ? NOTHING : await source.read(offset, this.#parts.chunkBytes);
      const reply = await this.#exchange(to, { kind: "snapshotChunk", term, leaderId, info, offset, data });
      if (reply !== null && reply.term > term) return answer(reply.term, false);
      if (reply?.installed === true) {
        this.#parts.onEvent({ kind: "snapshotSent", to, index: snapshot.index });
        return answer(term, true);
      }
      const asked = asks;
      asks = reply === null;
      transfer.moves = reply !== null;
      offset = Math.min(reply?.nextOffset ?? offset, info.totalBytes);
      if (offset > furthest) {
        setbacks = 0;
        furthest = offset;
      } else if (!asked || asks) {
        await this.#pause(FIRST_PAUSE_MS * 2 ** setbacks);
        setbacks += 1;
      }
    }
    return null;
  }

  #mayGoOn({ term }: InstallSnapshot): boolean {
    return !this.#waits.ended && this.#parts.leads(term);
  }

  async #exchange(to: ServerId, chunk: SnapshotChunk): Promise<SnapshotChunkReply | null> {
    const { clock, transport } = this.#parts;
    await this.#pause(this.#pace.reserve(clock.nowMs(), chunk.data.length));
    const reply = await this.#waits.until<PeerReply | null>((done) => transport.send(to, chunk, done));
    if (reply?.kind === "snapshotChunkReply") return reply;
    assert(reply === null, "a reply of another kind");
    return null;
  }

  async #pause(delayMs: number): Promise<void> {
    if (delayMs <= 0) return;
    await this.#waits.until<void>((done) => this.#parts.clock.setTimer(delayMs, () => done()));
  }

  /** A snapshot that cannot be read is no reason to end: this server's own state does not depend on it. */
  #failed(to: ServerId, error: unknown): null {
    if (error instanceof RaftKvError) {
      this.#parts.onEvent({ kind: "snapshotUnreadable", to, why: describeError(error) });
    } else {
      this.#parts.onFailure(error);
    }
    return null;
  }
}

function answer(term: Term, success: boolean): InstallSnapshotReply {
  return { kind: "installSnapshotReply", term, success };
}
