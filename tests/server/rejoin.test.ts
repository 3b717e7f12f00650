import { expect, setDefaultTimeout, test } from "bun:test";
import { createServer } from "node:net";
import { rejoin, type RejoinOptions } from "../../src/server/rejoin.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { createServerStore, eraseServer, openServerStore } from "../../src/storage/server-store.ts";
import { FakeCluster } from "../frontend/fake-store.ts";

setDefaultTimeout(30_000);

const STATE_DIR = "/state";
const IDENTITY = { clusterId: "fake", serverId: 1, servers: [0, 1, 2] };

/** Three servers of which server 1 has lost its disk, and listens no more. */
async function withLostServer(): Promise<FakeCluster> {
  const fakes = await FakeCluster.start(3);
  await fakes.store(1).close();
  fakes.store(0).term = 7;
  fakes.store(2).term = 9;
  return fakes;
}

function optionsFor(fakes: FakeCluster, fs = new MemoryDisk().mount()): RejoinOptions {
  const port = Number(fakes.addressOf(1).split(":")[1]);
  const { addressOf } = fakes;
  return { fs, stateDirectory: STATE_DIR, identity: IDENTITY, addressOf, hosts: ["127.0.0.1"], port };
}

/** It is refused with one line that matches, and writes nothing. */
async function expectRefused(options: RejoinOptions, code: string, says: RegExp): Promise<void> {
  const before = await options.fs.listDirectory(STATE_DIR);
  const error: unknown = await rejoin(options).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code, message: expect.stringMatching(says) });
  expect(await options.fs.listDirectory(STATE_DIR)).toEqual(before);
}

test("P9, E1: a server made anew has voted for itself in a term after everybody's, and abstains through theirs", async () => {
  await using fakes = await withLostServer();
  const options = optionsFor(fakes);
  await rejoin(options);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered).toMatchObject({
    identity: IDENTITY,
    hardState: { currentTerm: 10, votedFor: 1, abstainsThrough: 9 },
    snapshot: null,
    log: { base: { index: 0, term: 0 }, entries: [] },
  });
});

test("P9: it asks again each time: what is not on disk is not remembered", async () => {
  await using fakes = await withLostServer();
  const options = optionsFor(fakes);
  await rejoin(options);
  await eraseServer(options.fs, STATE_DIR, 1);
  fakes.store(0).term = 30;
  await rejoin(options);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered.hardState).toMatchObject({ currentTerm: 31, abstainsThrough: 30 });
});

test("P9: where nobody has left term 0 nothing can be forgotten, and the server does not abstain", async () => {
  await using fakes = await withLostServer();
  for (const id of [0, 2]) fakes.store(id).term = 0;
  const options = optionsFor(fakes);
  await rejoin(options);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered.hardState).toEqual({ currentTerm: 1, votedFor: 1, abstainsThrough: 0 });
});

test("P9: every other server has to answer: the error names the one that does not", async () => {
  await using fakes = await withLostServer();
  await fakes.store(2).close();
  const says =
    /^server 1 cannot rejoin: server 2 at 127\.0\.0\.1:\d+ does not answer; every other server must: start it$/;
  await expectRefused(optionsFor(fakes), "failedPrecondition", says);
});

test("P9: while another server that was made anew has not caught up, none is made anew beside it", async () => {
  await using fakes = await withLostServer();
  fakes.store(2).abstains = true;
  const says =
    /^server 1 cannot rejoin: server 2 was replaced and has not caught up yet: wait, then try again$/;
  await expectRefused(optionsFor(fakes), "failedPrecondition", says);
  fakes.store(2).abstains = false;
  await rejoin(optionsFor(fakes));
});

test("P10: a server of another cluster, or another server of this one, vouches for nothing", async () => {
  await using fakes = await withLostServer();
  fakes.store(0).clusterId = "other";
  const foreign = /there is server 0 of cluster other, not server 0 of cluster fake$/;
  await expectRefused(optionsFor(fakes), "failedPrecondition", foreign);
  fakes.store(0).clusterId = "fake";
  const options = { ...optionsFor(fakes), addressOf: () => fakes.addressOf(0) };
  await expectRefused(options, "failedPrecondition", /not server 2 of cluster fake$/);
});

test("P9: in a cluster of two or one nobody can vouch for what a lost disk held", async () => {
  await using fakes = await withLostServer();
  for (const servers of [[0, 1], [1]]) {
    const options = { ...optionsFor(fakes), identity: { ...IDENTITY, servers } };
    await expectRefused(options, "failedPrecondition", /^server 1 cannot rejoin: in a cluster of [12]/);
  }
});

test("P10: a server that has files is not made anew over them", async () => {
  await using fakes = await withLostServer();
  const options = optionsFor(fakes);
  await createServerStore(options.fs, STATE_DIR, IDENTITY);
  await expectRefused(options, "failedPrecondition", /exists already/);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered.hardState).toMatchObject({ currentTerm: 0, abstainsThrough: 0 });
});

test("F5, P9: while a process still listens at its address, which may be the old one, nothing is done", async () => {
  await using fakes = await withLostServer();
  const options = optionsFor(fakes);
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(options.port, "127.0.0.1", resolve));
  try {
    await expectRefused(options, "io", /is in use/);
  } finally {
    listener.close();
  }
});

test("P1: killed at any moment: either nothing starts and all is done again, or the server abstains as it must", async () => {
  await using fakes = await withLostServer();
  const measured = new MemoryDisk().mount();
  await rejoin(optionsFor(fakes, measured));
  const madeAnew = { hardState: { currentTerm: 10, votedFor: 1, abstainsThrough: 9 } };
  let refusals = 0;
  for (let number = 0; number < measured.operations; number++) {
    const disk = new MemoryDisk();
    const doomed = disk.mount((operation) =>
      operation.number === number ? { kind: "die", when: "after" } : null,
    );
    await rejoin(optionsFor(fakes, doomed)).catch(() => {});
    disk.crash();
    const fs = disk.mount();
    const started = await openServerStore(fs, STATE_DIR, 1).catch((error: unknown) => error);
    if (started instanceof Error) {
      refusals += 1;
      expect(started).toMatchObject({ code: "failedPrecondition" });
      await eraseServer(fs, STATE_DIR, 1);
      await rejoin(optionsFor(fakes, fs));
      expect((await openServerStore(fs, STATE_DIR, 1)).recovered).toMatchObject(madeAnew);
    } else {
      expect(started).toMatchObject({ recovered: madeAnew });
    }
  }
  expect(refusals).toBeGreaterThan(0);
  expect(refusals).toBeLessThan(measured.operations);
});
