import { isNoise, narrate } from "../../sim/narration.ts";
import { simulate, type SimulationResult } from "../../sim/simulation.ts";
import type { Swarm } from "../../sim/swarm.ts";
import type { TraceEvent } from "../../sim/trace.ts";

/** A part of a run, and when it began. */
interface Phase {
  readonly atUs: number;
  readonly what: string;
}

/** One run and what there is to tell about it. */
export interface ObservedRun {
  readonly result: SimulationResult;
  /** In order; a run that fails early has few. */
  readonly phases: readonly Phase[];
  /** The last events that explain something, in words, oldest first. */
  readonly lastEvents: readonly string[];
  /** All events in words; empty unless they were asked for. */
  readonly trace: readonly string[];
}

const LAST_EVENTS = 40;

/** `swarm` null: as the seed draws it. */
export function observeRun(seed: number, swarm: Swarm | null, withTrace = false): ObservedRun {
  const trace: string[] = [];
  const telling = new TellingEvents();
  const phases: Phase[] = [{ atUs: 0, what: "the storm: clients work, faults strike" }];
  const onTrace = (event: TraceEvent): void => {
    if (withTrace) trace.push(narrate(event));
    if (!isNoise(event)) telling.add(event);
    const what = phaseBegunBy(event, phases.at(-1)?.what ?? "");
    if (what !== null) phases.push({ atUs: event.atUs, what });
  };
  const result = simulate({ seed, onTrace, ...(swarm === null ? {} : { swarm }) });
  return { result, phases, lastEvents: telling.last(LAST_EVENTS), trace };
}

/** Events that explain something; of many like each other in a row, the last, and how many there were. */
class TellingEvents {
  readonly #groups: { event: TraceEvent; count: number }[] = [];

  add(event: TraceEvent): void {
    const last = this.#groups.at(-1);
    if (last !== undefined && event.who === "network" && last.event.what === event.what) {
      last.event = event;
      last.count += 1;
    } else {
      this.#groups.push({ event, count: 1 });
    }
  }

  last(count: number): readonly string[] {
    return this.#groups
      .slice(-count)
      .map((group) => `${narrate(group.event)}${group.count === 1 ? "" : ` (the last of ${group.count})`}`);
  }
}

const CALM = "calm: everything heals, and all must come to agree";
const AGREED = "all agree";

/** null: the event begins nothing. After the storm come the acts. */
function phaseBegunBy({ who, what }: TraceEvent, current: string): string | null {
  if (who === "network" && what === "is calm from now on") return CALM;
  if (who === "cluster" && what === "has converged") return AGREED;
  if (current === AGREED && what === "is cut off")
    return `${who} is cut off and comes back: the leader must stay`;
  if (current.includes("cut off") && what === "is stopped")
    return `${who} is stopped and goes on: the leader must stay`;
  if (what === "is left behind") return `${who} is left behind and comes back: it must get a snapshot`;
  if (what === "leads with a full disk") return `${who} leads with a full disk: who has room must take over`;
  return null;
}

/** What is typed to see this run again. */
export function replayCommand(seed: number, swarmArgument: string): string {
  return `raftkv simulate --seed ${seed}${swarmArgument} --trace`;
}

/** Seconds of virtual time, to the millisecond. */
export function seconds(us: number): string {
  return (us / 1_000_000).toFixed(3);
}
