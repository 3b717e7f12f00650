import { RaftKvError } from "../../base/errors.ts";
import { checksumText } from "../../storage/log-record.ts";
import { SnapshotDecoder, type SnapshotDamage } from "../../storage/snapshot-file.ts";
import type { SnapshotInfo } from "../../storage/store.ts";
import { pairLine } from "./pair-line.ts";

/** How a section begins that holds keys and values; see kv-state.ts. */
const DATA = '{"data":[';

/**
 * Makes lines of the keys in a snapshot, piece by piece as it comes, in the order in which the keys were first set.
 * Everything rejects with RaftKvError "corruption" where the snapshot is not what was announced.
 */
export class SnapshotPairs {
  readonly #info: SnapshotInfo;
  readonly #decoder: SnapshotDecoder;
  #lines: string[] = [];
  #keys = 0;

  constructor(info: SnapshotInfo) {
    this.#info = info;
    this.#decoder = new SnapshotDecoder({
      header: () => {},
      section: (section) => (section.startsWith(DATA) ? this.#take(section) : null),
      end: () => null,
    });
  }

  get keys(): number {
    return this.#keys;
  }

  /** The next bytes of the snapshot. Returns the lines that they complete; "": none. */
  push(bytes: Uint8Array): string {
    check(this.#decoder.push(bytes));
    const lines = this.#lines.join("");
    this.#lines = [];
    return lines;
  }

  /** The snapshot has come to its end: all of it must be there. */
  finish(): void {
    check(this.#decoder.finish());
    const found = checksumText(this.#decoder.checksum);
    if (found === this.#info.checksum) return;
    throw damaged(`its checksum is ${found}, not ${this.#info.checksum}`);
  }

  #take(section: string): string | null {
    const values = valuesOf(section);
    if (values === null) return "a key or value that is not a text";
    for (let at = 0; at < values.length; at += 2) {
      this.#lines.push(pairLine(values[at] ?? "", values[at + 1] ?? ""));
      this.#keys += 1;
    }
    return null;
  }
}

/** Keys, each with its value after it; null: it is something else. */
function valuesOf(section: string): readonly string[] | null {
  let parsed: { readonly data?: unknown };
  try {
    parsed = JSON.parse(section);
  } catch {
    return null;
  }
  const { data } = parsed;
  if (!Array.isArray(data) || data.length % 2 !== 0) return null;
  return data.every((value) => typeof value === "string") ? data : null;
}

function check(damage: SnapshotDamage | null): void {
  if (damage !== null) throw damaged(`byte ${damage.offset}: ${damage.what}`);
}

function damaged(what: string): RaftKvError {
  return new RaftKvError("corruption", `the leader sent a damaged snapshot: ${what}`);
}
