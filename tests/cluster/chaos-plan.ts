/**
 * What is done to a cluster, drawn from a seed alone: episodes of a few faults that overlap, each followed by the
 * healing of everything. Whom a fault meets depends on the moment: who leads, who runs.
 */
import type { Random } from "../../src/sim/random.ts";
import type { Treatment } from "./link-proxy.ts";

export type Victim = "leader" | "follower" | "any";

/** How a partition divides the voters; each side keeps its clients. */
export type Shape =
  /** The leader alone, the others together. */
  | "leaderAlone"
  /** The leader in the smaller half. */
  | "leaderInMinority"
  /** The leader in the larger half. */
  | "leaderInMajority"
  /** Two halves that both reach one server, and not each other. */
  | "bridge";

export type Fault =
  /** SIGKILL; started again afterwards. */
  | { readonly kind: "kill"; readonly victim: Victim }
  /** SIGSTOP; SIGCONT afterwards. */
  | { readonly kind: "stop"; readonly victim: Victim }
  | { readonly kind: "killAll" }
  /** SIGTERM and start, one after the other. */
  | { readonly kind: "rollingRestart" }
  | {
      readonly kind: "link";
      readonly victim: Victim;
      readonly treatment: Treatment;
      readonly way: "in" | "out" | "both";
      /** With one other server, or with all. */
      readonly breadth: "one" | "all";
    }
  | { readonly kind: "reset"; readonly victim: Victim }
  | { readonly kind: "partition"; readonly shape: Shape; readonly treatment: Treatment }
  | { readonly kind: "add" }
  | { readonly kind: "remove"; readonly victim: Victim }
  | { readonly kind: "transfer" }
  | { readonly kind: "killFrontend" };

export interface PlannedFault {
  readonly fault: Fault;
  /** From the episode's beginning. */
  readonly afterMs: number;
  /** Between its beginning and its end, where it has one. */
  readonly forMs: number;
}

export interface Episode {
  readonly faults: readonly PlannedFault[];
  /** Nothing happens after the healing. */
  readonly calmMs: number;
}

type Draw = (random: Random) => { readonly fault: Fault; readonly forMs: number };

const LOST = ["hold", "swallow"] as const;
const VICTIMS = ["leader", "leader", "follower", "any"] as const;

/** Every deck of so many faults has each of these, in some order. */
const DECK: readonly Draw[] = [
  (random) => ({ fault: { kind: "kill", victim: "leader" }, forMs: random.int(300, 2500) }),
  (random) => ({ fault: { kind: "kill", victim: random.pick(VICTIMS) }, forMs: random.int(100, 2500) }),
  (random) => ({ fault: { kind: "stop", victim: "leader" }, forMs: random.skewed(1000, 10_000) }),
  (random) => ({ fault: { kind: "stop", victim: random.pick(VICTIMS) }, forMs: random.skewed(100, 10_000) }),
  (random) => ({ fault: { kind: "killAll" }, forMs: random.int(0, 1000) }),
  (random) => ({ fault: { kind: "rollingRestart" }, forMs: random.int(0, 500) }),
  (random) => link(random, { kind: random.pick(LOST) }),
  (random) => link(random, { kind: random.pick(LOST) }),
  (random) => link(random, { kind: "delay", delayMs: random.skewed(5, 400) }),
  (random) => link(random, { kind: "throttle", bytesPerSecond: random.int(2, 50) * 1000 }),
  (random) => ({ fault: { kind: "reset", victim: random.pick(VICTIMS) }, forMs: 0 }),
  (random) => partition(random, "leaderAlone"),
  (random) => partition(random, random.pick(["leaderInMinority", "leaderInMajority"])),
  (random) => partition(random, "bridge"),
  () => ({ fault: { kind: "add" }, forMs: 0 }),
  (random) => ({ fault: { kind: "remove", victim: random.pick(["leader", "any"]) }, forMs: 0 }),
  () => ({ fault: { kind: "add" }, forMs: 0 }),
  (random) => ({ fault: { kind: "remove", victim: random.pick(["leader", "any"]) }, forMs: 0 }),
  () => ({ fault: { kind: "transfer" }, forMs: 0 }),
  (random) => ({ fault: { kind: "killFrontend" }, forMs: random.int(0, 1500) }),
];

function link(random: Random, treatment: Treatment): ReturnType<Draw> {
  const way = random.pick(["in", "out", "both"] as const);
  const breadth = random.pick(["one", "all"] as const);
  const fault = { kind: "link", victim: random.pick(VICTIMS), treatment, way, breadth } as const;
  return { fault, forMs: random.int(500, 4000) };
}

function partition(random: Random, shape: Shape): ReturnType<Draw> {
  const treatment = { kind: random.pick(LOST) };
  return { fault: { kind: "partition", shape, treatment }, forMs: random.int(1200, 4500) };
}

/** Episodes without end. */
export function* chaosPlan(random: Random): Generator<Episode, never> {
  let deck: Draw[] = [];
  for (;;) {
    const faults: PlannedFault[] = [];
    for (let count = random.int(1, 3); count > 0; count -= 1) {
      if (deck.length === 0) deck = random.shuffle(DECK);
      const drawn = deck.pop()?.(random);
      if (drawn !== undefined)
        faults.push({ ...drawn, afterMs: faults.length === 0 ? 0 : random.int(0, 2000) });
    }
    yield { faults, calmMs: random.int(200, 1200) };
  }
}

/** In one line. */
export function describeFault(fault: Fault): string {
  const { kind, ...more } = fault;
  const words = Object.values(more).map((word) =>
    typeof word === "string" ? word : Object.values(word).join(" "),
  );
  return [kind, ...words].join(" ");
}
