/**
 * Whether writes were durable when they were acknowledged, from what `strace -ff -ttt -T -y` has seen of the
 * servers, one system call a line:
 *
 *   1795463002.633684 write(12</data/server_0/log-1.jsonl>, "… proof-0007. …", 400) = 400 <0.000031>
 *   1795463002.633761 fdatasync(12</data/server_0/log-1.jsonl>) = 0 <0.000871>
 *
 * The time is that of the call's beginning, in seconds of the wall clock, the last figure how long it took. The
 * process stands still while the tracer takes the time, so what it did afterwards is later than that.
 *
 * A put counts as durable on a server when its own bytes had been written to a file there, and a sync of that file
 * that began afterwards had succeeded, before its answer reached the client.
 */

/** A call that ended well, on a file. Times in seconds of the wall clock. */
export interface TracedCall {
  readonly path: string;
  readonly startSeconds: number;
  readonly endSeconds: number;
  /** The marks in what was written; null: the call is a sync. */
  readonly marks: readonly string[] | null;
}

/** A put that was acknowledged. */
export interface TracedPut {
  /** What `markOf` gave; it stands in the value. */
  readonly mark: string;
  readonly answeredSeconds: number;
}

export interface SyncVerdict {
  /** The marks of the puts that were not durable on a majority when they were answered. */
  readonly early: readonly string[];
  /** The shortest time from durable on a majority to answered, in milliseconds. */
  readonly leastMarginMs: number;
  /** How many syncs each server made. */
  readonly syncs: readonly number[];
}

/** No mark is part of another, and a trace shows it as it is. */
export function markOf(at: number): string {
  return `proof-${String(at).padStart(6, "0")}.`;
}

const MARK = /proof-\d{6}\./g;
const CALL = /^(\d+\.\d+) (\w+)\(\d+<([^<>]+)>.* = (\d+) <(\d+\.\d+)>$/;
const SYNCS: ReadonlySet<string> = new Set(["fsync", "fdatasync"]);

/** null: the line tells of nothing that went well with a file. */
export function parseTraceLine(line: string): TracedCall | null {
  const [, start, name = "", path = "", , took] = CALL.exec(line) ?? [];
  if (start === undefined || !path.startsWith("/")) return null;
  const startSeconds = Number(start);
  const endSeconds = startSeconds + Number(took);
  const marks = SYNCS.has(name) ? null : (line.match(MARK) ?? []);
  return { path, startSeconds, endSeconds, marks };
}

/** `directories` are the servers' own, one each; more than half of them are a majority. */
export function judgeSyncs(
  calls: readonly TracedCall[],
  puts: readonly TracedPut[],
  directories: readonly string[],
): SyncVerdict {
  const servers = directories.map((directory) => durableFrom(within(calls, directory)));
  const majority = Math.floor(directories.length / 2) + 1;
  const margins = puts.map(({ mark, answeredSeconds }) => {
    const ascending = servers.map((since) => since.get(mark) ?? Infinity).toSorted((a, b) => a - b);
    const durableSeconds = ascending[majority - 1] ?? Infinity;
    return { mark, marginMs: (answeredSeconds - durableSeconds) * 1000 };
  });
  return {
    early: margins.filter(({ marginMs }) => marginMs < 0).map(({ mark }) => mark),
    leastMarginMs: Math.min(...margins.map(({ marginMs }) => marginMs)),
    syncs: directories.map((directory) => {
      return within(calls, directory).filter(({ marks }) => marks === null).length;
    }),
  };
}

function within(calls: readonly TracedCall[], directory: string): readonly TracedCall[] {
  return calls.filter(({ path }) => path.startsWith(`${directory}/`));
}

/** From when on each mark was durable on a server whose calls these are. */
function durableFrom(calls: readonly TracedCall[]): ReadonlyMap<string, number> {
  const since = new Map<string, number>();
  const written = new Map<string, string[]>();
  // A sync covers the writes that had ended when it began: all that stand before it in this order.
  const inOrder = calls.toSorted((a, b) => decisiveSeconds(a) - decisiveSeconds(b));
  for (const { path, endSeconds, marks } of inOrder) {
    const before = written.get(path) ?? [];
    if (marks !== null) written.set(path, before.concat(marks));
    else for (const mark of before) since.set(mark, Math.min(since.get(mark) ?? Infinity, endSeconds));
  }
  return since;
}

/** What decides whether a write comes before a sync: its end, and the sync's beginning. */
function decisiveSeconds({ marks, startSeconds, endSeconds }: TracedCall): number {
  return marks === null ? startSeconds : endSeconds;
}
