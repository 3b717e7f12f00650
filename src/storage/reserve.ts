/**
 * Room on the disk that is set aside for elections: a file that stands for nothing but the blocks it occupies.
 * On a full disk a server gives them up, a piece at a time, for what an election needs: its term and vote, and the
 * log up to the new leader's no-op. So servers whose disks are all full still elect a leader, which still serves
 * reads (P6). Commands find no room in it, but for those of earlier terms, which such a no-op comes after, and those
 * that a term, a vote or a no-op waits behind.
 *
 * Nothing relies on the file: it may be missing, short, too long, or hold anything. It is made whole at each start
 * and after writes that went through; where there is no room for all of it, or the disk refuses, it is smaller.
 */
import { RaftKvError } from "../base/errors.ts";
import type { LogWrite, Persist } from "../raft/batch.ts";
import type { Entry, Term } from "../raft/entry.ts";
import type { AppendFile, FileSystem } from "./file-system.ts";

/** Enough for an election a piece, and for what a leader under load had not written yet when the disk filled up. */
export const RESERVE_BYTES = 64 * 1024;
/** What most file systems keep books in: less may free nothing, more would leave commands the rest. */
const PIECE_BYTES = 4096;

const CONTENT = incompressible(RESERVE_BYTES);

/** Whether an election needs some of it in `currentTerm`. */
export function servesElection({ hardState, writes }: Persist<unknown>, currentTerm: Term): boolean {
  return hardState !== null || writes.some((write) => electionEntries(write, currentTerm) > 0);
}

/** How many of an append's entries, from its first, the leader of `currentTerm` needs in order to serve. */
export function electionEntries(write: LogWrite<unknown>, currentTerm: Term): number {
  if (write.kind !== "append") return 0;
  const isNeeded = ({ term, payload }: Entry<unknown>): boolean =>
    payload.kind === "noop" || term < currentTerm;
  return write.entries.findLastIndex(isNeeded) + 1;
}

/** One server's. One call at a time. */
export class Reserve {
  readonly #fs: FileSystem;
  readonly #path: string;
  #file: AppendFile | null = null;

  constructor(fs: FileSystem, path: string) {
    this.#fs = fs;
    this.#path = path;
  }

  get isWhole(): boolean {
    return this.#file?.size === RESERVE_BYTES;
  }

  /** Sets aside what is missing, as far as there is room. */
  async fill(): Promise<void> {
    if (this.isWhole) return;
    await attempt(async () => {
      const file = (this.#file ??= await this.#fs.openAppend(this.#path));
      if (file.size > RESERVE_BYTES) await file.truncate(RESERVE_BYTES);
      file.append(CONTENT.subarray(file.size));
      await file.sync();
    });
  }

  /** Makes some room. False: there is nothing left to give up. */
  async giveUp(): Promise<boolean> {
    const file = this.#file;
    if (file === null || file.size === 0) return false;
    const pieces = Math.ceil(file.size / PIECE_BYTES);
    return attempt(() => file.truncate((pieces - 1) * PIECE_BYTES));
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    if (file !== null) await attempt(() => file.close());
  }
}

/** Whether it was done. If not, whatever the disk says, it is only the reserve that is smaller. */
async function attempt(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof RaftKvError) return false;
    throw error;
  }
}

/** Not zeros: a file system that compresses would keep no blocks for them. */
function incompressible(byteLength: number): Uint8Array {
  let seed = 1;
  return Uint8Array.from({ length: byteLength }, () => (seed = (seed * 48271) % 0x7fffffff) >> 8);
}
