import { expect, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import { OpenSnapshots } from "../../src/server/open-snapshots.ts";
import type { SnapshotSource } from "../../src/storage/store.ts";
import { VirtualClock } from "../node/virtual-clock.ts";

/** A source of ten bytes whose reads end when the test says so. */
class FakeSource implements SnapshotSource {
  readonly info;
  closed = 0;
  held: Promise<void> | null = null;
  refusesToClose = false;

  constructor(index: number) {
    this.info = { position: { index, term: 1 }, totalBytes: 10, checksum: "00000000" };
  }

  async read(offset: number, maxBytes: number): Promise<Uint8Array> {
    if (this.held !== null) await this.held;
    expect(this.closed).toBe(0);
    return new Uint8Array(10).subarray(offset, offset + maxBytes);
  }

  async close(): Promise<void> {
    this.closed += 1;
    if (this.refusesToClose) throw new RaftKvError("io", "cannot close");
  }
}

function opened(count: number): { clock: VirtualClock; open: OpenSnapshots; sources: FakeSource[] } {
  const clock = new VirtualClock();
  const open = new OpenSnapshots(clock);
  const sources = Array.from({ length: count }, (_, i) => new FakeSource(i + 1));
  for (const source of sources) open.add(source);
  return { clock, open, sources };
}

function only<T>(values: readonly T[]): T {
  const [value] = values;
  if (value === undefined) throw new TypeError("none");
  return value;
}

test("a snapshot is readable as long as it is read, and for half a minute after", async () => {
  const { clock, open, sources } = opened(1);
  const source = only(sources);
  for (let i = 0; i < 5; i += 1) {
    await clock.advance(29_000);
    expect(await open.read(source.info, 6, 100)).toHaveLength(4);
  }
  await clock.advance(30_000);
  expect(source.closed).toBe(1);
  expect(open.read(source.info, 0, 1)).rejects.toMatchObject({ code: "failedPrecondition" });
});

test("I4: a few are open at once; the one used longest ago makes room", async () => {
  const { open, sources } = opened(4);
  await open.read(only(sources).info, 0, 1);
  open.add(new FakeSource(9));
  expect(sources.map(({ closed }) => closed)).toEqual([0, 1, 0, 0]);
});

test("one that is opened again is the same one", async () => {
  const { open, sources } = opened(1);
  const again = new FakeSource(1);
  open.add(again);
  expect([only(sources).closed, again.closed]).toEqual([0, 1]);
  expect(await open.read(again.info, 0, 1)).toHaveLength(1);
});

test("a read that is under way ends before its snapshot is closed", async () => {
  const { open, sources } = opened(1);
  const source = only(sources);
  const { promise, resolve } = Promise.withResolvers<void>();
  source.held = promise;
  const read = open.read(source.info, 0, 10);
  const closed = open.close();
  expect(source.closed).toBe(0);
  resolve();
  expect(await read).toHaveLength(10);
  await closed;
  expect(source.closed).toBe(1);
});

test("a read that fails while its snapshot is closed is the caller's, and nobody else's", async () => {
  const { open, sources } = opened(1);
  const source = only(sources);
  const { promise, reject } = Promise.withResolvers<void>();
  source.held = promise;
  const read = open.read(source.info, 0, 10).catch((error: unknown) => error);
  const closed = open.close();
  const refusal = new RaftKvError("io", "cannot read");
  reject(refusal);
  expect(await read).toBe(refusal);
  await closed;
  expect(source.closed).toBe(1);
});

test("one that is opened while the server stops is closed at once, and nothing is waited for", async () => {
  const { clock, open, sources } = opened(1);
  await open.close();
  const late = [new FakeSource(1), new FakeSource(2)];
  for (const source of late) open.add(source);
  expect([...sources, ...late].map(({ closed }) => closed)).toEqual([1, 1, 1]);
  expect(open.read(only(late).info, 0, 1)).rejects.toMatchObject({ code: "failedPrecondition" });
  await clock.advance(60_000);
  expect(late.map(({ closed }) => closed)).toEqual([1, 1]);
});

test("a file that cannot be closed ends nothing", async () => {
  const { clock, open, sources } = opened(2);
  for (const source of sources) source.refusesToClose = true;
  const again = new FakeSource(1);
  again.refusesToClose = true;
  open.add(again);
  await clock.advance(30_000);
  expect([...sources, again].map(({ closed }) => closed)).toEqual([1, 1, 1]);
  await open.close();
});
