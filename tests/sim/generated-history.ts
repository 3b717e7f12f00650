import { History, type Operation, type Value } from "../../src/sim/history.ts";
import type { Random } from "../../src/sim/random.ts";

export interface HistoryOptions {
  readonly operationCount: number;
  readonly clientCount: number;
  /** How many different values are written; null: each write has its own. */
  readonly valueCount: number | null;
  /** Of all operations, 0..1. An unknown write takes effect late, or never. */
  readonly unknownShare: number;
  /** Of all operations, 0..1. */
  readonly putShare: number;
  /** Of all operations, 0..1; the rest are gets. */
  readonly swapShare: number;
  /** How long an operation takes at most. */
  readonly maxDelay: number;
}

/** The moment at which an operation meets the register. */
interface Effect {
  readonly at: number;
  readonly happen: (held: Value) => Value;
}

/** What clients see of one real register, key "x", that takes its time: always linearizable. */
export function generateHistory(random: Random, options: HistoryOptions): readonly Operation[] {
  const history = new History();
  const effects: Effect[] = [];
  const freeAt = Array.from({ length: options.clientCount }, () => random.int(0, options.maxDelay));
  for (let i = 0; i < options.operationCount; i += 1) {
    const client = freeAt.indexOf(Math.min(...freeAt));
    const invokedAt = freeAt[client] ?? 0;
    const at = invokedAt + random.int(0, options.maxDelay);
    const completedAt = at + random.int(0, options.maxDelay);
    const value = String(options.valueCount === null ? i : random.int(1, options.valueCount));
    const invocation = { client: `c${client}`, key: "x", invokedAt };
    const unknown = random.chance(options.unknownShare);
    const add = { history, invocation, at, completedAt: unknown ? null : completedAt, value };
    effects.push(...effectsOf(add, random, options));
    freeAt[client] = completedAt + random.int(1, 1 + options.maxDelay);
  }
  let held: Value = null;
  for (const { happen } of effects.toSorted((a, b) => a.at - b.at)) held = happen(held);
  return history.operations;
}

interface Addition {
  readonly history: History;
  readonly invocation: { readonly client: string; readonly key: string; readonly invokedAt: number };
  readonly at: number;
  /** null: the client never learns of it. */
  readonly completedAt: number | null;
  readonly value: string;
}

function effectsOf(add: Addition, random: Random, options: HistoryOptions): readonly Effect[] {
  const { history, invocation, completedAt, value } = add;
  const draw = random.int(0, 999) / 1000;
  const late = random.int(0, options.maxDelay * 20);
  const lost = random.chance(0.5);
  const at = completedAt === null ? add.at + late : add.at;
  if (draw < options.putShare) {
    const settle = history.put(invocation, value);
    if (completedAt !== null) settle({ kind: "ok", completedAt });
    return completedAt === null && lost ? [] : [{ at, happen: () => value }];
  }
  if (draw >= options.putShare + options.swapShare) {
    const settle = history.get(invocation);
    if (completedAt === null) return [];
    const happen = (held: Value): Value => {
      settle({ kind: "ok", completedAt, value: held });
      return held;
    };
    return [{ at, happen }];
  }
  const expected = options.valueCount === null ? null : String(random.int(1, options.valueCount));
  const settle = history.compareAndSwap(invocation, expected, value);
  const happen = (held: Value): Value => {
    if (completedAt !== null && held === expected) settle({ kind: "swapped", completedAt });
    else if (completedAt !== null) settle({ kind: "notSwapped", completedAt, value: held });
    return held === expected ? value : held;
  };
  return completedAt === null && lost ? [] : [{ at, happen }];
}

/** The history with one answered get changed to `value`; null when it has none. */
export function withWrongRead(
  random: Random,
  operations: readonly Operation[],
  value: Value,
): readonly Operation[] | null {
  const reads = operations.filter(({ kind, outcome }) => kind === "get" && outcome.kind === "ok");
  const read = reads[random.int(0, reads.length - 1)];
  if (read?.kind !== "get" || read.outcome.kind !== "ok") return null;
  const wrong: Operation = { ...read, outcome: { ...read.outcome, value } };
  return operations.map((operation) => (operation === read ? wrong : operation));
}
