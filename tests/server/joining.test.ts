import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { initialConfiguration } from "../../src/raft/configuration.ts";
import { createServer, type Newcomer } from "../../src/server/creation.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { openServerStore } from "../../src/storage/server-store.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { FakeMember, newcomer, STATE_DIR } from "./fake-member.ts";

setDefaultTimeout(30_000);

const ID = 3;
const NEVER = new AbortController().signal;

let basePort: number;
/** Server 0 follows, server 1 leads in term 6; servers 0 to 2 are the cluster. */
let follower: FakeMember;
let leader: FakeMember;

beforeEach(async () => {
  basePort = await freePorts(5);
  const members = initialConfiguration([0, 1, 2], (id) => `127.0.0.1:${basePort + id}`);
  const common = { clusterId: "c", leaderId: 1, members, configurationIndex: 12, commitIndex: 21 };
  follower = await FakeMember.start(basePort, { ...common, id: 0, role: "follower", term: 6 });
  leader = await FakeMember.start(basePort + 1, { ...common, id: 1, role: "leader", term: 6 });
  leader.readIndex = 20;
});

afterEach(async () => {
  await Promise.all([follower.close(), leader.close()]);
});

/** Joins by way of the follower, as one that is not waited for. */
async function join(one: Newcomer, stop = NEVER, ports = [basePort]): Promise<unknown> {
  const contacts = ports.map((port) => `127.0.0.1:${port}`);
  return createServer(one, { kind: "join", contacts }, stop).then(
    () => "joined",
    (error: unknown) => error,
  );
}

/** What is on its disk. */
async function recovered({ fs, id }: Newcomer) {
  const { store, recovered: found } = await openServerStore(fs, STATE_DIR, id);
  await store.close();
  return found;
}

test("M5, P9: a server that joins knows no member, has voted for itself, and abstains up to what is committed", async () => {
  const one = newcomer(basePort, ID);
  expect(await join(one)).toBe("joined");
  expect(await recovered(one)).toMatchObject({
    identity: { clusterId: "c", serverId: ID, members: [] },
    hardState: { currentTerm: 6, votedFor: ID, abstainsThrough: 0, abstainsTo: 20 },
    log: { entries: [] },
  });
});

test("P9: a member whose files are lost does not come back by joining", async () => {
  const one = newcomer(basePort, 2);
  expect(await join(one)).toMatchObject({
    code: "failedPrecondition",
    message: expect.stringMatching(/^server 2 cannot join: cluster c has a member of this id, whose files/),
  });
  expect(await one.fs.listDirectory(STATE_DIR)).toBeNull();
});

test("L1, P9: what a leader says that was not sure to lead does not count", async () => {
  leader.readIndexCode = "NOT_LEADER";
  let asked = 0;
  leader.onReadIndex = () => {
    asked += 1;
    if (asked === 3) {
      leader.readIndexCode = "OK";
      leader.status = { ...leader.status, term: 8 };
    }
  };
  const one = newcomer(basePort, ID);
  expect(await join(one)).toBe("joined");
  expect((await recovered(one)).hardState.currentTerm).toBe(8);
});

test("M2, P9: a removal that is not committed may be undone: the server waits for that", async () => {
  leader.status = { ...leader.status, configurationIndex: 21 };
  let asked = 0;
  leader.onReadIndex = () => {
    asked += 1;
    if (asked === 3) leader.readIndex = 21;
  };
  expect(await join(newcomer(basePort, ID))).toBe("joined");
  expect(asked).toBe(3);
});

test("M2, M3, P9: a leader just elected has not committed what it answers reads by: the server waits for that", async () => {
  leader.status = { ...leader.status, configurationIndex: 19, commitIndex: 18 };
  let asked = 0;
  leader.onReadIndex = () => {
    asked += 1;
    if (asked === 3) leader.status = { ...leader.status, commitIndex: 20 };
  };
  expect(await join(newcomer(basePort, ID))).toBe("joined");
  expect(asked).toBe(3);
});

test("a removed server among the contacts, which knows of no leader but of a later term, is in nobody's way", async () => {
  const { leaderId: _, ...removed } = follower.status;
  follower.status = { ...removed, term: 9 };
  expect(await join(newcomer(basePort, ID), NEVER, [basePort, basePort + 1])).toBe("joined");
});

test("without a leader it says so when it is stopped, and writes nothing", async () => {
  const { leaderId: _, ...status } = follower.status;
  follower.status = status;
  const stop = new AbortController();
  const one = newcomer(basePort, ID);
  const joining = join(one, stop.signal);
  stop.abort();
  expect(await joining).toMatchObject({ message: expect.stringMatching(/cluster c has no leader/) });
  expect(await one.fs.listDirectory(STATE_DIR)).toBeNull();
});

test("P10: addresses of different clusters are refused", async () => {
  follower.status = { ...follower.status, clusterId: "d" };
  expect(await join(newcomer(basePort, ID), NEVER, [basePort, basePort + 1])).toMatchObject({
    message: expect.stringMatching(/are of different clusters$/),
  });
});

test("P7: a server that is there goes on with its files, and asks nobody", async () => {
  const disk = new MemoryDisk();
  const one = newcomer(basePort, ID, disk.mount());
  await join(one);
  leader.status = { ...leader.status, term: 9 };
  expect(await join(one)).toBe("joined");
  expect((await recovered(one)).hardState.currentTerm).toBe(6);
});
