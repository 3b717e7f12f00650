import { assert } from "../../base/assert.ts";
import type { CallOutcome } from "./call-outcome.ts";
import type { Schedule } from "./schedule.ts";
import type { Operation } from "./workload.ts";

/** What a load loop needs of the world. */
export interface LoadWorld {
  /** Never goes back. */
  nowMs(): number;
  /** Calls back then, or up to a millisecond before, never before this returns; what it gives takes that back. */
  at(timeMs: number, callback: () => void): () => void;
  /** Calls `done` once, never before this returns. */
  send(operation: Operation, done: (outcome: CallOutcome) => void): void;
}

/** Who wants to know what became of the operations of one phase. */
export interface LoadObserver {
  /** `lagMs`: how much later it was sent than it was due, from 0. */
  sent(lagMs: number): void;
  /** `latencyMs` from when it was due, or from when it was sent if that was before. */
  ended(operation: Operation, outcome: CallOutcome, latencyMs: number): void;
  /** So many were due and have not been sent when the phase ended, the first of them so long before that. */
  unsent(operations: number, lagMs: number): void;
}

/** One stretch of load. */
export interface LoadPhase {
  readonly schedule: Schedule;
  /** Nothing that is due from then on is sent; Infinity: `operations` end it. */
  readonly untilMs: number;
  /** No more than so many are sent. */
  readonly operations: number;
  readonly next: () => Operation;
  readonly observer: LoadObserver;
}

/** Calls that have not been answered yet. */
export interface CallsUnderWay {
  readonly calls: number;
  /** How long the first of them has lasted, counted as latencies are; 0 when there are none. */
  readonly longestMs: number;
}

/**
 * Timers count whole milliseconds. An operation is sent by so much too early rather than too late, which would
 * add to its latency what no server took.
 */
const EARLY_MS = 1;

/** Of a closed loop: a client that was refused at once would do nothing but ask. */
const PAUSE_AFTER_FAILURE_MS = 10;

/** Clients that send the operations of one phase after the other, each one operation at a time. */
export class LoadLoop {
  readonly #world: LoadWorld;
  readonly #clients: number;
  /** Clients that have nothing to wait for. */
  #free: number;
  /** When the calls under way began, of whatever phase, in the order in which they were sent. */
  readonly #underWay = new Set<{ readonly sinceMs: number }>();
  #phase: RunningPhase | null = null;
  #whenIdle: (() => void) | null = null;

  /** `clients`: 1 or more. */
  constructor(world: LoadWorld, clients: number) {
    this.#world = world;
    this.#clients = clients;
    this.#free = clients;
  }

  get underWay(): CallsUnderWay {
    const [first] = this.#underWay;
    const longestMs = first === undefined ? 0 : this.#world.nowMs() - first.sinceMs;
    return { calls: this.#underWay.size, longestMs };
  }

  /**
   * Resolves when there is nothing more to send, at the latest at `untilMs`; calls are still under way then. It
   * gives how many succeeded until `untilMs`, among them those that the phase before had left under way.
   */
  run(phase: LoadPhase): Promise<number> {
    assert(this.#phase === null, "one phase at a time");
    const { promise, resolve } = Promise.withResolvers<number>();
    const none = { sent: 0, answered: 0, cancelTimer: null, cancelEnd: null };
    const running: RunningPhase = { ...phase, ...none, ended: resolve };
    this.#phase = running;
    if (phase.untilMs !== Infinity) {
      // Not before: what is due until then is to be sent.
      running.cancelEnd = this.#world.at(phase.untilMs + EARLY_MS, () => this.#end(running));
    }
    this.#sendDue();
    return promise;
  }

  /** Ends the phase that runs, if any, now. */
  stop(): void {
    if (this.#phase !== null) this.#end(this.#phase);
  }

  /** Resolves when no call is under way; no phase must run. */
  async idle(): Promise<void> {
    assert(this.#phase === null, "a phase that runs is never idle");
    if (this.#free === this.#clients) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#whenIdle = resolve;
    await promise;
  }

  #sendDue(): void {
    const phase = this.#phase;
    if (phase === null) return;
    while (phase.sent < phase.operations && this.#free > 0) {
      const nowMs = this.#world.nowMs();
      const dueMs = phase.schedule.dueMs(phase.sent) ?? nowMs;
      if (dueMs >= phase.untilMs) return;
      if (dueMs - nowMs > EARLY_MS) return this.#waitUntil(phase, dueMs);
      this.#send(phase, dueMs, nowMs);
    }
    if (phase.sent >= phase.operations) this.#end(phase);
  }

  #waitUntil(phase: RunningPhase, dueMs: number): void {
    // One that waits already is for this operation, or for one that was sent a little early.
    phase.cancelTimer ??= this.#world.at(dueMs, () => {
      phase.cancelTimer = null;
      if (phase === this.#phase) this.#sendDue();
    });
  }

  #send(phase: RunningPhase, dueMs: number, nowMs: number): void {
    const operation = phase.next();
    phase.sent += 1;
    this.#free -= 1;
    phase.observer.sent(Math.max(0, nowMs - dueMs));
    const call = { sinceMs: Math.min(dueMs, nowMs) };
    this.#underWay.add(call);
    this.#world.send(operation, (outcome) => {
      const endMs = this.#world.nowMs();
      this.#underWay.delete(call);
      phase.observer.ended(operation, outcome, endMs - call.sinceMs);
      if (outcome.kind === "answered") this.#noteAnswer(endMs);
      const pauses = outcome.kind === "failed" && phase.schedule.kind === "closed";
      if (pauses) this.#world.at(endMs + PAUSE_AFTER_FAILURE_MS, () => this.#release());
      else this.#release();
    });
  }

  #noteAnswer(endMs: number): void {
    if (this.#phase !== null && endMs <= this.#phase.untilMs) this.#phase.answered += 1;
  }

  /** A client is free again. */
  #release(): void {
    this.#free += 1;
    this.#sendDue();
    if (this.#phase === null && this.#free === this.#clients) this.#whenIdle?.();
  }

  #end(phase: RunningPhase): void {
    if (phase !== this.#phase) return;
    this.#phase = null;
    phase.cancelTimer?.();
    phase.cancelEnd?.();
    const endMs = Math.min(this.#world.nowMs(), phase.untilMs);
    const due = Math.min(phase.schedule.dueBefore(endMs) ?? 0, phase.operations);
    const firstDueMs = phase.schedule.dueMs(phase.sent) ?? endMs;
    if (due > phase.sent) phase.observer.unsent(due - phase.sent, endMs - firstDueMs);
    phase.ended(phase.answered);
  }
}

interface RunningPhase extends LoadPhase {
  sent: number;
  answered: number;
  /** Takes back the timer that waits for the next operation to be due. */
  cancelTimer: (() => void) | null;
  cancelEnd: (() => void) | null;
  readonly ended: (answered: number) => void;
}
