import type { Entry, LogIndex, Payload, ServerId, Term } from "../../src/raft/entry.ts";
import { command, type Position } from "../raft/raft-values.ts";

/** Some senders, some receivers; `nth`: only that one of the messages under way, from 1. */
export interface Link {
  readonly froms: readonly ServerId[] | "all";
  readonly tos: readonly ServerId[] | "all";
  readonly nth: number | null;
}

/** An entry as a script writes it, before it has an index. */
export interface WrittenEntry {
  readonly term: Term;
  readonly payload: Payload<string>;
}

/** The words after a command, taken one by one; `name=value` can stand anywhere. */
export class ScenarioArguments {
  readonly #words: string[];
  readonly #named: Map<string, string>;

  constructor(words: readonly string[]) {
    this.#words = words.filter((word) => !isNamed(word));
    this.#named = new Map(
      words.filter(isNamed).map((word) => {
        const at = word.indexOf("=");
        return [word.slice(0, at), word.slice(at + 1)];
      }),
    );
  }

  /** null when there are no more. */
  optional(): string | null {
    return this.#words.shift() ?? null;
  }

  word(what: string): string {
    return this.optional() ?? fail(`${what} is missing`);
  }

  rest(): readonly string[] {
    return this.#words.splice(0);
  }

  /** `name=value`; null when it is not there. */
  named(name: string): string | null {
    const value = this.#named.get(name) ?? null;
    this.#named.delete(name);
    return value;
  }

  /** Must be called last: what nobody took is a mistake. */
  end(): void {
    const [left] = [...this.#words, ...this.#named.keys()];
    if (left !== undefined) fail(`"${left}" means nothing here`);
  }
}

function isNamed(word: string): boolean {
  return word.includes("=");
}

/** A script that cannot be understood. */
class ScenarioError extends Error {
  override readonly name = "ScenarioError";
}

export function fail(message: string): never {
  throw new ScenarioError(message);
}

export function numberOf(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : fail(`"${text}" is not a number`);
}

/** `1` or `0,2,3` */
export function idsOf(text: string): readonly ServerId[] {
  return text.split(",").map(numberOf);
}

/** `3(2)`: index and term. */
export function positionOf(text: string): Position {
  const [, index, term] = /^(\d+)\((\d+)\)$/.exec(text) ?? fail(`"${text}" is not index(term)`);
  return [numberOf(index ?? ""), numberOf(term ?? "")];
}

/** `0->1`, `0->1,2`, `*->1`, `0->1:2` */
export function linkOf(text: string): Link {
  const [, from, to, nth] =
    /^([\d,]+|\*)->([\d,]+|\*)(?::(\d+))?$/.exec(text) ?? fail(`"${text}" is no link`);
  return { froms: sideOf(from), tos: sideOf(to), nth: nth === undefined ? null : numberOf(nth) };
}

function sideOf(ids: string | undefined): readonly ServerId[] | "all" {
  return ids === undefined || ids === "*" ? "all" : idsOf(ids);
}

/** `1,1:x,2:-`: a term, with a command or `-` for a no-op. Equal words are the same entry. */
export function entriesOf(text: string): readonly WrittenEntry[] {
  return text.split(",").map((word) => {
    const [, term, name] = /^(\d+)(?::(\S+))?$/.exec(word) ?? fail(`"${word}" is no entry`);
    return { term: numberOf(term ?? ""), payload: payloadOf(name ?? "") };
  });
}

function payloadOf(name: string): Payload<string> {
  return name === "-" ? { kind: "noop" } : command(name);
}

/** Gives entries that a script writes their place; the same word at the same place is the same entry. */
export class EntryMaker {
  readonly #payloads = new Map<string, Payload<string>>();

  entriesAfter(index: LogIndex, written: readonly WrittenEntry[]): readonly Entry<string>[] {
    return written.map(({ term, payload }, i) => {
      const place = index + 1 + i;
      const key = `${place} ${term} ${payload.kind === "command" ? payload.command : "-"}`;
      const known = this.#payloads.get(key) ?? payload;
      this.#payloads.set(key, known);
      return { index: place, term, payload: known };
    });
  }
}
