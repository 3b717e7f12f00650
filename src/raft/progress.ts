import { assert } from "../base/assert.ts";
import { CatchUp } from "./catch-up.ts";
import type { LogIndex } from "./entry.ts";
import type { AppendEntries, AppendEntriesReply, InstallSnapshot } from "./message.ts";

/**
 * What a leader knows of one follower.
 *
 * - `probe`: where the logs part is not known. One AppendEntries at a time, at nextIndex.
 * - `replicate`: the follower takes what it gets. nextIndex runs ahead, several AppendEntries are under way.
 * - `snapshot`: it needs entries that are gone. One InstallSnapshot is under way, and heartbeats beside it.
 *
 * A lost or refused AppendEntries leads back to `probe`, a success that reaches nextIndex - 1 to `replicate`;
 * an InstallSnapshot that is answered or lost leads to `probe`, and with success on to `replicate`.
 */
export class Progress<C> {
  /** Known to be on the follower, durably; it only grows, but for `lostEntries` (0: nothing known). */
  matchIndex: LogIndex = 0;
  /** The next entry to send; always past matchIndex. */
  nextIndex: LogIndex;
  state: "probe" | "replicate" | "snapshot" = "probe";
  /** AppendEntries with entries that are neither answered nor lost. */
  readonly #inflight = new Set<AppendEntries<C>>();
  /** The probe under way, if any. */
  probe: AppendEntries<C> | null = null;
  /** The last heartbeat. It spoke of what was known to match before it was sent. */
  heartbeat: AppendEntries<C> | null = null;
  /** The InstallSnapshot under way; null but in state `snapshot`. */
  #snapshot: InstallSnapshot | null = null;
  /** Nothing is sent until the next heartbeat is due: a dead peer, or one that only refuses, costs little. */
  paused = false;
  /** The largest commit index this follower has been told, as far as it could use it. */
  sentCommit: LogIndex = 0;
  /** It knows this to be committed, in this term; 0: nothing yet. */
  knownCommit: LogIndex = 0;
  /** Tick of the last answer in this term; it starts with the leadership. -Infinity: it has never answered. */
  lastContactTick: number;
  /** The latest round of reads (ReadRounds) that it has answered in this term; -1: it has not answered anything. */
  confirmedRound = -1;
  /** The place of that answer among all that were a server's first to a round; less is sooner. */
  confirmedOrdinal = 0;
  readonly catchUp: CatchUp;
  /** Whether its disk had room when it last answered; false before it has answered. */
  hasRoom = false;

  constructor(nextIndex: LogIndex, nowTick: number) {
    this.nextIndex = nextIndex;
    this.lastContactTick = nowTick;
    this.catchUp = new CatchUp(nextIndex - 1, nowTick);
  }

  /** AppendEntries with entries under way. */
  get inflight(): number {
    return this.#inflight.size;
  }

  mayReplicate(maxInflight: number): boolean {
    if (this.paused || this.state === "snapshot") return false;
    return this.state === "probe" ? this.probe === null : this.inflight < maxInflight;
  }

  sent(request: AppendEntries<C>): void {
    if (request.entries.length > 0) this.#inflight.add(request);
    if (this.state === "probe") this.probe = request;
    else this.nextIndex = request.prevLogIndex + request.entries.length + 1;
  }

  sentSnapshot(request: InstallSnapshot): void {
    this.#enter("snapshot");
    this.#snapshot = request;
  }

  /** The snapshot is answered or lost. Whether anything waited for it. */
  settledSnapshot(request: InstallSnapshot): boolean {
    if (this.#snapshot !== request) return false;
    this.#enter("probe");
    return true;
  }

  /**
   * The request is answered or lost. Whether anything waited for it: a heartbeat, a second answer to the same
   * request, or whatever was sent before a snapshot, tells only that the follower is there.
   */
  settled(request: AppendEntries<C>): "probe" | "inflight" | "nothing" {
    const wasInflight = this.#inflight.delete(request);
    if (this.state === "snapshot") return "nothing";
    if (this.probe !== request) return wasInflight ? "inflight" : "nothing";
    this.probe = null;
    return "probe";
  }

  /**
   * From where on the follower has lost what it had acknowledged, if its refusal of `request` proves it. Only
   * the last heartbeat can: an older message may have been sent before those entries matched (R5).
   */
  lostFrom(request: AppendEntries<C>, { conflict }: AppendEntriesReply): LogIndex | null {
    if (request !== this.heartbeat || conflict === null) return null;
    return conflict.index <= this.matchIndex ? conflict.index : null;
  }

  matched(index: LogIndex): void {
    this.matchIndex = Math.max(this.matchIndex, index);
    this.nextIndex = Math.max(this.nextIndex, this.matchIndex + 1);
    if (this.state === "snapshot") return;
    // A heartbeat's success tells nothing that the probe under way does not assume.
    const tellsNothing = this.probe !== null && index <= this.probe.prevLogIndex;
    if (!tellsNothing && this.matchIndex + 1 === this.nextIndex) this.#enter("replicate");
  }

  /** Starts over at `nextIndex`, but never at what is known to match; without haste where that is no way back. */
  backOff(nextIndex: LogIndex): void {
    const from = this.nextIndex;
    this.nextIndex = Math.max(nextIndex, this.matchIndex + 1);
    if (this.nextIndex === from) this.paused = true;
    this.#enter("probe");
  }

  /** The follower has shown that it holds less than it had acknowledged: starts over after `matchIndex`. */
  lostEntries(matchIndex: LogIndex): void {
    assert(matchIndex < this.matchIndex, "entries are lost only where they matched");
    this.matchIndex = matchIndex;
    this.nextIndex = matchIndex + 1;
    this.#enter("probe");
  }

  #enter(state: "probe" | "replicate" | "snapshot"): void {
    this.state = state;
    this.probe = null;
    this.#snapshot = null;
  }
}
