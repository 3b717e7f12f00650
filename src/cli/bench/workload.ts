/** Which operation is next: drawn at random, and the same again from the same seed. */
import { unreachable } from "../../base/assert.ts";
import { encodeText } from "../../rpc/text.ts";
import { Random } from "../../sim/random.ts";

export const WORKLOADS = ["put", "get", "mixed"] as const;

export type WorkloadKind = (typeof WORKLOADS)[number];

export type Operation = PutOperation | GetOperation;

export interface PutOperation {
  readonly kind: "put";
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface GetOperation {
  readonly kind: "get";
  readonly key: Buffer;
}

export interface WorkloadOptions {
  readonly kind: WorkloadKind;
  /** Of the operations of a mixed workload, so many are gets: 0..1. */
  readonly reads: number;
  /** bench/0 to bench/(keys - 1), each as likely as any other. */
  readonly keys: number;
  readonly valueBytes: number;
  readonly seed: number;
  /** Tells apart the processes of one run, which share the seed. */
  readonly stream: number;
}

/** Values are pieces of one long text; so many different ones there are. */
const DIFFERENT_VALUES = 65_536;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

export class Workload {
  readonly #options: WorkloadOptions;
  readonly #random: Random;
  readonly #text: Buffer;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, options.stream);
    this.#text = this.#letters(options.valueBytes + DIFFERENT_VALUES - 1);
  }

  /** Its buffers are not to be changed. */
  next(): Operation {
    const key = this.#random.int(0, this.#options.keys - 1);
    return this.#nextIsGet() ? { kind: "get", key: keyName(key) } : this.put(key);
  }

  /** A put of key number `key`, from 0. */
  put(key: number): PutOperation {
    const start = this.#random.int(0, DIFFERENT_VALUES - 1);
    const value = this.#text.subarray(start, start + this.#options.valueBytes);
    return { kind: "put", key: keyName(key), value };
  }

  #nextIsGet(): boolean {
    const { kind, reads } = this.#options;
    switch (kind) {
      case "put":
        return false;
      case "get":
        return true;
      case "mixed":
        return this.#random.chance(reads);
      default:
        return unreachable(kind);
    }
  }

  #letters(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at += 1) {
      bytes[at] = LETTERS.charCodeAt(this.#random.int(0, LETTERS.length - 1));
    }
    return bytes;
  }
}

/** Nobody else's keys begin like this. */
function keyName(key: number): Buffer {
  return encodeText(`bench/${key}`);
}
