import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { createServer } from "node:net";
import { initialConfiguration } from "../../src/raft/configuration.ts";
import type { Newcomer } from "../../src/server/creation.ts";
import { rejoin } from "../../src/server/rejoin.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { createServerStore, eraseServer, openServerStore } from "../../src/storage/server-store.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { FakeMember, newcomer, STATE_DIR } from "./fake-member.ts";

setDefaultTimeout(30_000);

const CLUSTER_ID = "fake";
const SERVERS = { clusterId: CLUSTER_ID, members: initialConfiguration([0, 1, 2]) };
const IDENTITY = { clusterId: CLUSTER_ID, serverId: 1, members: SERVERS.members };

/** Where server 0 is; those after it follow. */
let basePort: number;
/** Three servers of which server 1 has lost its disk, and listens no more. */
let zero: FakeMember;
let two: FakeMember;

beforeEach(async () => {
  basePort = await freePorts(5);
  const members = initialConfiguration([0, 1, 2], (id) => `127.0.0.1:${basePort + id}`);
  zero = await FakeMember.start(basePort, { id: 0, clusterId: CLUSTER_ID, term: 7, members });
  two = await FakeMember.start(basePort + 2, { id: 2, clusterId: CLUSTER_ID, term: 9, members });
});

afterEach(async () => {
  await Promise.all([zero.close(), two.close()]);
});

function lost(fs = new MemoryDisk().mount()): Newcomer {
  return newcomer(basePort, 1, fs);
}

/** It is refused with one line that matches, and writes nothing. */
async function expectRefused(
  one: Newcomer,
  code: string,
  says: RegExp,
  cluster: Parameters<typeof rejoin>[1] = SERVERS,
): Promise<void> {
  const before = await one.fs.listDirectory(STATE_DIR);
  const error: unknown = await rejoin(one, cluster).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code, message: expect.stringMatching(says) });
  expect(await one.fs.listDirectory(STATE_DIR)).toEqual(before);
}

/** Both go by a configuration of these voters now, and of these others. */
function configure(voters: readonly number[], others: readonly number[] = []): void {
  const members = initialConfiguration([...voters, ...others], (id) => `127.0.0.1:${basePort + id}`).map(
    ({ id, address }) => ({ id, address, voter: voters.includes(id) }),
  );
  for (const fake of [zero, two]) fake.status = { ...fake.status, members, configurationIndex: 9 };
}

test("P9, E1: a server made anew has voted for itself in a term after everybody's, and abstains through theirs", async () => {
  const options = lost();
  await rejoin(options, SERVERS);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered).toMatchObject({
    identity: IDENTITY,
    hardState: { currentTerm: 10, votedFor: 1, abstainsThrough: 9 },
    snapshot: null,
    log: { base: { index: 0, term: 0 }, entries: [] },
  });
});

test("P9: it asks again each time: what is not on disk is not remembered", async () => {
  const options = lost();
  await rejoin(options, SERVERS);
  await eraseServer(options.fs, STATE_DIR, 1);
  zero.status = { ...zero.status, term: 30 };
  await rejoin(options, SERVERS);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered.hardState).toMatchObject({ currentTerm: 31, abstainsThrough: 30 });
});

test("P9: where nobody has left term 0 nothing can be forgotten, and the server does not abstain", async () => {
  for (const fake of [zero, two]) fake.status = { ...fake.status, term: 0 };
  const options = lost();
  await rejoin(options, SERVERS);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered.hardState).toEqual({ currentTerm: 1, votedFor: 1, abstainsThrough: 0 });
});

test("P9: every other server has to answer: the error names the one that does not", async () => {
  await two.close();
  const says =
    /^server 1 cannot rejoin: server 2 at 127\.0\.0\.1:\d+ does not answer; every other server must: start it$/;
  await expectRefused(lost(), "failedPrecondition", says);
});

test("P9: while another server that was made anew has not caught up, none is made anew beside it", async () => {
  two.status = { ...two.status, abstains: true };
  const says =
    /^server 1 cannot rejoin: server 2 was replaced and has not caught up yet: wait, then try again$/;
  await expectRefused(lost(), "failedPrecondition", says);
  two.status = { ...two.status, abstains: false };
  await rejoin(lost(), SERVERS);
});

test("P10: a server of another cluster, or another server of this one, vouches for nothing", async () => {
  zero.status = { ...zero.status, clusterId: "other" };
  const foreign = /there is server 0 of cluster other, not server 0 of cluster fake$/;
  await expectRefused(lost(), "failedPrecondition", foreign);
  zero.status = { ...zero.status, clusterId: CLUSTER_ID };
  two.status = { ...two.status, id: 3 };
  await expectRefused(lost(), "failedPrecondition", /not server 2 of cluster fake$/);
});

test("P9: in a cluster of two or one nobody can vouch for what a lost disk held", async () => {
  const small = /^server 1 cannot rejoin: in a cluster of [12]/;
  for (const servers of [[0, 1], [1]]) {
    const cluster = { clusterId: CLUSTER_ID, members: initialConfiguration(servers) };
    await expectRefused(lost(), "failedPrecondition", small, cluster);
  }
  configure([0, 1], [2]);
  await expectRefused(lost(), "failedPrecondition", small);
});

test("P10: a server that has files is not made anew over them", async () => {
  const options = lost();
  await createServerStore(options.fs, STATE_DIR, IDENTITY);
  await expectRefused(options, "failedPrecondition", /exists already/);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered.hardState).toMatchObject({ currentTerm: 0, abstainsThrough: 0 });
});

test("F5, P9: while a process still listens at its address, which may be the old one, nothing is done", async () => {
  const options = lost();
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(options.port, "127.0.0.1", resolve));
  try {
    await expectRefused(options, "io", /is in use/);
  } finally {
    listener.close();
  }
});

test("P1: killed at any moment: either nothing starts and all is done again, or the server abstains as it must", async () => {
  const measured = new MemoryDisk().mount();
  await rejoin(lost(measured), SERVERS);
  const madeAnew = { hardState: { currentTerm: 10, votedFor: 1, abstainsThrough: 9 } };
  let refusals = 0;
  for (let number = 0; number < measured.operations; number++) {
    const disk = new MemoryDisk();
    const doomed = disk.mount((operation) =>
      operation.number === number ? { kind: "die", when: "after" } : null,
    );
    await rejoin(lost(doomed), SERVERS).catch(() => {});
    disk.crash();
    const fs = disk.mount();
    const started = await openServerStore(fs, STATE_DIR, 1).catch((error: unknown) => error);
    if (started instanceof Error) {
      refusals += 1;
      expect(started).toMatchObject({ code: "failedPrecondition" });
      await eraseServer(fs, STATE_DIR, 1);
      await rejoin(lost(fs), SERVERS);
      expect((await openServerStore(fs, STATE_DIR, 1)).recovered).toMatchObject(madeAnew);
    } else {
      expect(started).toMatchObject({ recovered: madeAnew });
    }
  }
  expect(refusals).toBeGreaterThan(0);
  expect(refusals).toBeLessThan(measured.operations);
});

test("P9, M5: it goes by the configuration of today, in which there are members that nobody has to ask", async () => {
  configure([0, 1, 2], [4]);
  const options = lost();
  await rejoin(options, SERVERS);
  const { recovered } = await openServerStore(options.fs, STATE_DIR, 1);
  expect(recovered.identity.members).toEqual([...SERVERS.members, { id: 4, address: "", voter: false }]);
});

test("P9: every voter has to be named, for it may be in a later term than the others", async () => {
  configure([0, 1, 2, 3]);
  await expectRefused(
    lost(),
    "failedPrecondition",
    /^server 1 cannot rejoin: server 3 votes too: name it in --peers$/,
  );
});

test("P9, M4: a server that was removed has nothing to come back to", async () => {
  configure([0, 2, 3]);
  const peers = { clusterId: CLUSTER_ID, members: initialConfiguration([0, 1, 2, 3]) };
  const three = await FakeMember.start(basePort + 3, { ...zero.status, id: 3 });
  try {
    await expectRefused(lost(), "failedPrecondition", /it is no member: start it with --join/, peers);
  } finally {
    await three.close();
  }
});

test("M2, P9: while a change is under way, nobody can tell who has to be asked", async () => {
  const { members } = two.status;
  configure([0, 1, 2], [4]);
  two.status = { ...two.status, ...(members === undefined ? {} : { members }) };
  await expectRefused(lost(), "failedPrecondition", /do not agree on who belongs to the cluster/);
});
