import { completedAt, type Operation, type Value } from "../../src/sim/history.ts";

type Store = ReadonlyMap<string, Value>;

/**
 * What the checker decides, by trying every order of all operations on a real store, keys mixed, nothing
 * remembered and nothing left out. For histories of up to seven operations or so.
 */
export function isLinearizable(operations: readonly Operation[]): boolean {
  return canFollow(new Map(), operations);
}

function canFollow(store: Store, left: readonly Operation[]): boolean {
  if (!left.some(mustHappen)) return true;
  return left.some((next) => {
    if (left.some((other) => completesBefore(other, next))) return false;
    const after = effect(store, next);
    return (
      after !== null &&
      canFollow(
        after,
        left.filter((other) => other !== next),
      )
    );
  });
}

function mustHappen(operation: Operation): boolean {
  return completedAt(operation) !== null;
}

function completesBefore(operation: Operation, other: Operation): boolean {
  return (completedAt(operation) ?? Infinity) < other.invokedAt;
}

/** The store after the operation; null when its answer is not what the store says. */
function effect(store: Store, operation: Operation): Store | null {
  const { key, kind, outcome } = operation;
  const held = store.get(key) ?? null;
  if (outcome.kind === "failed" || outcome.kind === "unanswered") return store;
  if (kind === "get") return "value" in outcome && outcome.value === held ? store : null;
  if (kind === "put") return new Map(store).set(key, operation.value);
  const swaps = held === operation.expected;
  const right = outcome.kind === "unknown" || swaps === (outcome.kind === "swapped");
  if (!right || (outcome.kind === "notSwapped" && outcome.value !== held)) return null;
  return swaps ? new Map(store).set(key, operation.value) : store;
}
