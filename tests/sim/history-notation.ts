/**
 * Histories as a person writes them: operations one after the other, in any order.
 *
 *   a: put 1 [0,5]            client a puts "1", invoked at 0, completed at 5
 *   a: put 1 [0,?]            nobody knows whether it takes effect
 *   a: put 1 [0,!]            it certainly fails
 *   b: get 1 [2,3]            b reads "1"
 *   b: get - [2,3]            the key is missing
 *   b: get [2,?]              no answer comes
 *   c: swap 1 2 [0,5]         it holds "1", and "2" afterwards; also with ? and !
 *   c: swap 1 2 saw 3 [0,5]   it holds "3", and still does afterwards
 *   a: put y=1 [0,5]          key y; it is x where none is named
 *
 * "" is the empty string.
 */
import { assert, defined } from "../../src/base/assert.ts";
import { History, type Operation, type Value } from "../../src/sim/history.ts";

const OPERATION = /(\w+): (put|get|swap) (?:(\w+)=)?([^[]*)\[(\d+),(\d+|\?|!)\]/g;

export function parseHistory(text: string): readonly Operation[] {
  const rest = text.replaceAll(OPERATION, "").trim();
  assert(rest === "", `this is no operation: ${rest}`);
  const history = new History();
  for (const [, client = "", kind, key = "x", words = "", from, to = ""] of text.matchAll(OPERATION)) {
    const values = words.split(" ").filter((word) => word !== "" && word !== "saw");
    const invocation = { client, key, invokedAt: Number(from) };
    if (kind === "put") addPut(history, invocation, values, to);
    else if (kind === "get") addGet(history, invocation, values, to);
    else addSwap(history, invocation, values, to);
  }
  return history.operations;
}

type Invocation = Parameters<History["get"]>[0];

function addPut(history: History, invocation: Invocation, values: readonly string[], to: string): void {
  const settle = history.put(invocation, textOf(values[0]));
  if (to === "!") settle({ kind: "failed" });
  else if (to !== "?") settle({ kind: "ok", completedAt: Number(to) });
}

function addGet(history: History, invocation: Invocation, values: readonly string[], to: string): void {
  const settle = history.get(invocation);
  if (to !== "?") settle({ kind: "ok", completedAt: Number(to), value: valueOf(values[0]) });
}

function addSwap(
  history: History,
  invocation: Invocation,
  [expected, value, seen]: readonly string[],
  to: string,
): void {
  const settle = history.compareAndSwap(invocation, valueOf(expected), textOf(value));
  const completedAt = Number(to);
  if (to === "!") settle({ kind: "failed" });
  else if (to !== "?" && seen === undefined) settle({ kind: "swapped", completedAt });
  else if (to !== "?") settle({ kind: "notSwapped", completedAt, value: valueOf(seen) });
}

function valueOf(word: string | undefined): Value {
  return word === "-" ? null : textOf(word);
}

function textOf(word: string | undefined): string {
  return defined(word, "a value") === `""` ? "" : defined(word, "a value");
}
