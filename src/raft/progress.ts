import { assert } from "../base/assert.ts";
import type { LogIndex } from "./entry.ts";
import type { AppendEntries } from "./message.ts";

/**
 * What a leader knows of one follower.
 *
 * - `probe`: where the logs part is not known. One AppendEntries at a time, at nextIndex.
 * - `replicate`: the follower takes what it gets. nextIndex runs ahead, several AppendEntries are under way.
 *
 * A lost or refused AppendEntries leads back to `probe`, a success that reaches nextIndex - 1 to `replicate`.
 */
export class Progress<C> {
  /** Known to be on the follower, durably; it only grows (0: nothing known). */
  matchIndex: LogIndex = 0;
  /** The next entry to send; always past matchIndex. */
  nextIndex: LogIndex;
  state: "probe" | "replicate" = "probe";
  /** AppendEntries with entries that are neither answered nor lost. */
  inflight = 0;
  /** The probe under way, if any. */
  probe: AppendEntries<C> | null = null;
  /** After a loss: nothing is sent until the next heartbeat is due, so a dead peer costs little. */
  paused = false;
  /** The largest commit index this follower has been told, as far as it could use it. */
  sentCommit: LogIndex = 0;
  /** Tick of the last answer in this term; it starts with the leadership. */
  lastContactTick: number;

  constructor(nextIndex: LogIndex, nowTick: number) {
    this.nextIndex = nextIndex;
    this.lastContactTick = nowTick;
  }

  mayReplicate(maxInflight: number): boolean {
    if (this.paused) return false;
    return this.state === "probe" ? this.probe === null : this.inflight < maxInflight;
  }

  sent(request: AppendEntries<C>): void {
    if (request.entries.length > 0) this.inflight += 1;
    if (this.state === "probe") this.probe = request;
    else this.nextIndex = request.prevLogIndex + request.entries.length + 1;
  }

  /** The request is answered or lost. */
  settled(request: AppendEntries<C>): void {
    if (request.entries.length > 0) this.inflight -= 1;
    assert(this.inflight >= 0, "more AppendEntries settled than sent");
    if (this.probe === request) this.probe = null;
  }

  matched(index: LogIndex): void {
    this.matchIndex = Math.max(this.matchIndex, index);
    this.nextIndex = Math.max(this.nextIndex, this.matchIndex + 1);
    if (this.matchIndex + 1 === this.nextIndex) this.#enter("replicate");
  }

  /** Starts over at `nextIndex`, but never at what is known to match. */
  backOff(nextIndex: LogIndex): void {
    this.nextIndex = Math.max(nextIndex, this.matchIndex + 1);
    this.#enter("probe");
  }

  #enter(state: "probe" | "replicate"): void {
    this.state = state;
    this.probe = null;
  }
}
