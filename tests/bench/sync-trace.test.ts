import { describe, expect, test } from "bun:test";
import { judgeSyncs, markOf, parseTraceLine, type TracedCall } from "./sync-trace.ts";

const DIRECTORIES = ["/data/a", "/data/b", "/data/c"];
const [FIRST, SECOND] = [markOf(1), markOf(2)];

function write(path: string, startSeconds: number, endSeconds: number, ...marks: string[]): TracedCall {
  return { path, startSeconds, endSeconds, marks };
}

function sync(path: string, startSeconds: number, endSeconds: number): TracedCall {
  return { path, startSeconds, endSeconds, marks: null };
}

/** A write of the marks that is over at `endSeconds`, and the sync that follows takes one second from then on. */
function durable(path: string, endSeconds: number, ...marks: string[]): readonly TracedCall[] {
  return [write(path, endSeconds - 1, endSeconds, ...marks), sync(path, endSeconds, endSeconds + 1)];
}

/** The marks of what was answered too early, when the first put was answered then. */
function early(answeredSeconds: number, ...calls: readonly TracedCall[]): readonly string[] {
  return judgeSyncs(calls, [{ mark: FIRST, answeredSeconds }], DIRECTORIES).early;
}

describe("a line of a trace", () => {
  test("tells of a write to a file what is marked in it, and of its time", () => {
    const line = `1795463002.500000 write(12</data/a/log-1.jsonl>, "9 ${FIRST}xx\\n8 ${SECOND}"..., 400) = 400 <0.250000>`;
    expect(parseTraceLine(line)).toEqual({
      path: "/data/a/log-1.jsonl",
      startSeconds: 1795463002.5,
      endSeconds: 1795463002.75,
      marks: [FIRST, SECOND],
    });
    const positioned = `10.0 pwrite64(7</data/a/db>, "${FIRST}", 4096, 16384) = 4096 <0.000010>`;
    expect(parseTraceLine(positioned)).toMatchObject({ path: "/data/a/db", marks: [FIRST] });
  });

  test("tells of a sync of a file", () => {
    expect(parseTraceLine("10.0 fdatasync(7</data/a/0.wal>) = 0 <1.500000>")).toEqual(
      sync("/data/a/0.wal", 10, 11.5),
    );
    expect(parseTraceLine("10.0 fsync(7</data/a>) = 0 <0.5>")).toMatchObject({ marks: null });
  });

  test("is of no use when it tells of a socket, of a failure, or of no end", () => {
    for (const line of [
      `10.0 write(9<socket:[4711]>, "${FIRST}", 400) = 400 <0.000031>`,
      "10.0 fdatasync(7</data/a/0.wal>) = -1 EIO (Input/output error) <0.000031>",
      "10.0 fdatasync(7</data/a/0.wal>",
      "10.0 fdatasync(7</data/a/0.wal>) = ? <unavailable>",
      "10.0 --- SIGURG {si_signo=SIGURG, si_code=SI_TKILL, si_pid=1, si_uid=0} ---",
      "10.0 +++ exited with 0 +++",
      "",
    ]) {
      expect(parseTraceLine(line)).toBeNull();
    }
  });
});

describe("a put that was acknowledged", () => {
  test("was durable when two of three servers had synced it before", () => {
    const calls = [...durable("/data/a/log", 10, FIRST), ...durable("/data/b/log", 12, FIRST)];
    expect(early(13, ...calls)).toEqual([]);
    expect(judgeSyncs(calls, [{ mark: FIRST, answeredSeconds: 15 }], DIRECTORIES)).toEqual({
      early: [],
      leastMarginMs: 2000,
      syncs: [1, 1, 0],
    });
  });

  test("came too early when the second sync ended only afterwards, or never came", () => {
    expect(early(12.9, ...durable("/data/a/log", 10, FIRST), ...durable("/data/b/log", 12, FIRST))).toEqual([
      FIRST,
    ]);
    expect(early(99, ...durable("/data/a/log", 10, FIRST))).toEqual([FIRST]);
    expect(early(99)).toEqual([FIRST]);
  });

  test("came too early when what was synced was another put, another file, or what had been written before", () => {
    const one = durable("/data/a/log", 10, FIRST);
    expect(early(99, ...one, ...durable("/data/b/log", 10, SECOND))).toEqual([FIRST]);
    expect(early(99, ...one, write("/data/b/log", 10, 11, FIRST), sync("/data/b/db", 12, 13))).toEqual([
      FIRST,
    ]);
    expect(early(99, ...one, sync("/data/b/log", 8, 9), write("/data/b/log", 10, 11, FIRST))).toEqual([
      FIRST,
    ]);
    expect(early(99, ...one, write("/data/b/log", 10, 12, FIRST), sync("/data/b/log", 11, 13))).toEqual([
      FIRST,
    ]);
  });

  test("is not counted twice for one server's two files, nor for a server of another name", () => {
    const one = durable("/data/a/log", 10, FIRST);
    expect(early(99, ...one, ...durable("/data/a/db", 10, FIRST))).toEqual([FIRST]);
    expect(early(99, ...one, ...durable("/data/b2/log", 10, FIRST))).toEqual([FIRST]);
  });

  test("may share a sync with others, and be synced again later", () => {
    const calls = DIRECTORIES.slice(1).flatMap((directory) => {
      return durable(`${directory}/log`, 10, FIRST, SECOND).concat(sync(`${directory}/log`, 20, 30));
    });
    const puts = [FIRST, SECOND].map((mark) => ({ mark, answeredSeconds: 11 }));
    expect(judgeSyncs(calls, puts, DIRECTORIES).early).toEqual([]);
  });
});
