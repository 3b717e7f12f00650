/** A node's snapshots: those it takes, those it sends and those it receives, and how they bear on each other. */
import { assert } from "../base/assert.ts";
import type { Command } from "../kv/command.ts";
import type { Term } from "../raft/entry.ts";
import type { Reply, Request } from "../raft/message.ts";
import type { Raft } from "../raft/raft.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { SnapshotInfo, SnapshotSource } from "../storage/store.ts";
import type { NodeParts } from "./node-parts.ts";
import { SnapshotReceiver } from "./snapshot-receiver.ts";
import { SnapshotSender } from "./snapshot-sender.ts";
import { Snapshotter } from "./snapshotter.ts";

type StandingParts = Omit<NodeParts, "recovered">;

/** The core, as far as snapshots need it. */
export interface SnapshotCore {
  readonly raft: Raft<Command>;
  /** The core's answer to a request of ours. */
  readonly ask: (request: Request<Command>) => Promise<Reply>;
  /** The core has been changed. */
  readonly wake: () => void;
  readonly fail: (error: unknown) => void;
}

export class Snapshots {
  readonly #parts: StandingParts;
  readonly #core: SnapshotCore;
  readonly taken: Snapshotter;
  readonly sent: SnapshotSender;
  readonly received: SnapshotReceiver;

  constructor(parts: StandingParts, core: SnapshotCore) {
    this.#parts = parts;
    this.#core = core;
    this.taken = this.#newSnapshotter();
    this.sent = this.#newSender();
    this.received = this.#newReceiver();
  }

  /** To be called once a turn, after the turn's entries are applied. */
  consider(): void {
    if (!this.#parts.diskRoom.full) this.taken.consider();
    this.received.consider();
  }

  /** The state machine becomes what the received snapshot holds. */
  install(position: SnapshotPosition): void {
    const state = this.received.takeState(position);
    this.taken.interrupt();
    this.#parts.machine.restore(state);
  }

  /** As Node.takeSnapshot. */
  takeNow(): Promise<SnapshotInfo> {
    return this.taken.takeNow();
  }

  /** As Node.openSnapshot. */
  open(): Promise<SnapshotSource | null> {
    return this.#parts.store.openSnapshot();
  }

  /** Nothing begins any more. Resolves when nothing of it touches the store any more. */
  async stop(): Promise<void> {
    await Promise.all([this.taken.stop(), this.sent.stop(), this.received.stop()]);
  }

  #newSnapshotter(): Snapshotter {
    const { clock, store, machine, snapshots, onEvent } = this.#parts;
    const { raft, fail } = this.#core;
    return new Snapshotter({
      thresholds: snapshots,
      clock,
      store,
      machine,
      core: {
        appliedPosition: () => this.#appliedPosition(),
        snapshotIndex: () => raft.status().snapshotIndex,
        compact: (snapshot) => this.#compact(snapshot),
      },
      onEvent,
      onFailure: fail,
    });
  }

  #newSender(): SnapshotSender {
    const { clock, transport, store, snapshots, onEvent } = this.#parts;
    const { raft, fail } = this.#core;
    const leads = (term: Term): boolean => {
      const { role, currentTerm } = raft.status();
      return role === "leader" && currentTerm === term;
    };
    const { chunkBytes, transferBytesPerSecond: bytesPerSecond } = snapshots;
    return new SnapshotSender({
      clock,
      transport,
      store,
      chunkBytes,
      bytesPerSecond,
      leads,
      onEvent,
      onFailure: fail,
    });
  }

  #newReceiver(): SnapshotReceiver {
    const { clock, store, onEvent } = this.#parts;
    const { raft, ask, fail } = this.#core;
    return new SnapshotReceiver({
      clock,
      store,
      core: {
        currentTerm: () => raft.status().currentTerm,
        holds: ({ index, term }) => index <= raft.status().commitIndex || raft.termAt(index) === term,
        install: async (request) => {
          const reply = await ask(request);
          assert(reply.kind === "installSnapshotReply", "a reply of another kind");
          return reply;
        },
      },
      onEvent,
      onFailure: fail,
    });
  }

  #appliedPosition(): SnapshotPosition {
    const index = this.#parts.machine.appliedIndex;
    const term = this.#core.raft.termAt(index);
    assert(term !== null, `the log does not know entry ${index}, which was applied last`);
    return { index, term };
  }

  /** A follower that a snapshot is on its way to will need the entries after it: those stay. */
  #compact(snapshot: SnapshotPosition): boolean {
    const through = Math.min(snapshot.index - this.#parts.snapshots.keepEntries, this.sent.oldestIndex);
    const compacted = this.#core.raft.compact(snapshot, Math.max(0, through));
    this.#core.wake();
    return compacted;
  }
}
