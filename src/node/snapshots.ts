/** A node's snapshots: those it takes, those it sends and those it receives, and how they bear on each other. */
import { assert } from "../base/assert.ts";
import type { Command } from "../kv/command.ts";
import type { Term } from "../raft/entry.ts";
import type { Reply, Request } from "../raft/message.ts";
import type { Raft } from "../raft/raft.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { SnapshotInfo, SnapshotSource } from "../storage/store.ts";
import { compactThrough } from "./kept-log.ts";
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
    this.taken.consider();
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
    const { clock, store, diskRoom, machine, snapshots, onEvent } = this.#parts;
    const { raft, wake, fail } = this.#core;
    return new Snapshotter({
      thresholds: snapshots,
      clock,
      store,
      diskRoom,
      machine,
      core: {
        appliedPosition: () => this.#appliedPosition(),
        appliedConfiguration: () => raft.configurationAt(machine.appliedIndex),
        snapshotIndex: () => raft.status().snapshotIndex,
        compact: (snapshot) => this.#compact(snapshot),
        wake,
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

  #compact(snapshot: SnapshotPosition): boolean {
    const { raft, wake } = this.#core;
    const { snapshots, store } = this.#parts;
    const { oldestIndex } = this.sent;
    // A log as large as the snapshot costs a follower as much as the snapshot does. Where none is on its way,
    // half as much keeps a server's files, with the next snapshot in the making, at three times its state.
    const mostBytes = Math.max(snapshots.bytes, store.snapshotInfo?.totalBytes ?? 0);
    const through = compactThrough({
      snapshotIndex: snapshot.index,
      firstLogIndex: raft.status().firstLogIndex,
      // A follower that a snapshot is on its way to will need the entries after it.
      wantedAfter: Math.min(snapshot.index - snapshots.keepEntries, oldestIndex),
      maxBytes: oldestIndex === Infinity ? mostBytes / 2 : mostBytes,
      entryAt: (index) => raft.entryAt(index),
    });
    const compacted = raft.compact(snapshot, through);
    wake();
    return compacted;
  }
}
