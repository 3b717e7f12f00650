import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Auditor } from "./auditor.ts";
import { Deployment } from "./deployment.ts";
import { FREQUENT_SNAPSHOTS } from "./kill-all.ts";
import { Ledger } from "./ledger.ts";
import { leaderRoute, type PutRoute } from "./put-route.ts";
import { waitFor } from "./waiting.ts";
import { Writers } from "./writers.ts";

setDefaultTimeout(90_000);

const SERVERS = [0, 1, 2] as const;
/** Twice what makes a snapshot due. */
const ENOUGH_ENTRIES = 1200;
const ODD_TEXTS = [
  "__proto__",
  "constructor",
  "a\0b",
  "line\nbreak\r\n\u2028",
  `"quotes" and \\`,
  "\ud800 alone",
  "\udc00",
  "\u{1f600}".repeat(50),
  "\ufeffmark",
  "],[",
  " ",
  "x",
];

let cluster: Deployment;
let ledger: Ledger;
let route: PutRoute;
let auditor: Auditor;

beforeEach(async () => {
  cluster = await Deployment.create(FREQUENT_SNAPSHOTS);
  ledger = new Ledger();
  route = leaderRoute(cluster, SERVERS.length);
  auditor = new Auditor(cluster, ledger, route);
  await cluster.startFrontend();
  await cluster.startRaft(SERVERS.length);
});

afterEach(() => cluster.close());

function startWriters(): Writers {
  const options = { clients: 8, routes: [route], keys: 64, valueBytes: () => 100, pauseMs: 0 } as const;
  return new Writers(ledger, options);
}

/** Writes until the leader has dropped entry `index` from its log. */
async function writePast(index: number): Promise<void> {
  const writers = startWriters();
  await waitFor("the leader's log begins later", async () => {
    const leader = await cluster.leader(SERVERS.length);
    return leader.firstLogIndex > index;
  });
  await writers.stop();
}

async function writeEntries(): Promise<void> {
  const { lastLogIndex } = await cluster.leader(SERVERS.length);
  await writePast(lastLogIndex + ENOUGH_ENTRIES);
}

/** One that does not lead. */
async function follower(): Promise<number> {
  return ((await cluster.leader(SERVERS.length)).id + 1) % SERVERS.length;
}

async function snapshotsOf(id: number): Promise<readonly string[]> {
  const names = await readdir(join(cluster.stateDirectory, `server_${id}`));
  return names.filter((name) => name.startsWith("snapshot-"));
}

describe("snapshots of real processes", () => {
  test("R7, S6: a server that missed what is gone from the log catches up by a snapshot while puts go on", async () => {
    const id = await follower();
    const leader = await cluster.leader(SERVERS.length);
    await cluster.kill([id]);
    await writePast(leader.lastLogIndex);
    const writers = startWriters();
    expect((await cluster.startServer(id)).error).toBe("");
    await auditor.check([id]);
    await writers.stop();
    expect(ledger.complaints).toEqual([]);
    expect((await cluster.status(id)).snapshotIndex).toBeGreaterThan(leader.lastLogIndex);
    await waitFor("only the newest is left", async () => (await snapshotsOf(id)).length === 1);
  });

  test("S1, S2, P8: every server starts again from its snapshot and what follows it in the log", async () => {
    await writeEntries();
    await cluster.kill(SERVERS);
    for (const id of SERVERS) expect(await snapshotsOf(id)).not.toEqual([]);
    const starts = await Promise.all(SERVERS.map((id) => cluster.startServer(id)));
    expect(starts.map(({ error }) => error)).toEqual(["", "", ""]);
    await auditor.check(SERVERS);
    expect(ledger.complaints).toEqual([]);
    for (const id of SERVERS) expect((await cluster.status(id)).snapshotIndex).toBeGreaterThan(0);
  });

  test("I1, S5: odd keys and values come back from a snapshot, installed and read from disk, and retries are known", async () => {
    const id = await follower();
    for (const text of ODD_TEXTS) await cluster.put(text, text);
    const retried = { key: Buffer.from("retried"), value: Buffer.from("once"), clientId: 7, requestId: 8 };
    await cluster.frontend.call("Put", retried, 5000);
    await cluster.put("retried", "later");
    const { lastLogIndex } = await cluster.leader(SERVERS.length);
    await cluster.kill([id]);
    await writePast(lastLogIndex);
    expect((await cluster.startServer(id)).error).toBe("");
    await auditor.check([id]);
    for (const text of ODD_TEXTS) expect(await cluster.getOn(id, text)).toBe(text);
    await cluster.kill(SERVERS);
    await Promise.all(SERVERS.map((server) => cluster.startServer(server)));
    await auditor.check(SERVERS);
    for (const text of ODD_TEXTS) expect(await cluster.getOn(id, text)).toBe(text);
    await cluster.frontend.call("Put", retried, 5000);
    expect(await cluster.get("retried")).toBe("later");
    expect(ledger.complaints).toEqual([]);
  });

  test("P4, P7: a snapshot file that is none is refused by name, and good again it serves", async () => {
    await writeEntries();
    await cluster.kill([2]);
    const directory = join(cluster.stateDirectory, "server_2");
    const [name = ""] = await snapshotsOf(2);
    const good = await Bun.file(join(directory, name)).bytes();
    await Bun.write(join(directory, name), "{}");
    expect((await cluster.startServer(2)).error).toContain(name);
    await Bun.write(join(directory, name), good);
    expect((await cluster.startServer(2)).error).toBe("");
    await auditor.check(SERVERS);
    expect(ledger.complaints).toEqual([]);
  });

  test("P9: a server whose disk was lost is refused, replaced, caught up by a snapshot, and votes again", async () => {
    await writeEntries();
    const id = await follower();
    await cluster.kill([id]);
    await rm(join(cluster.stateDirectory, `server_${id}.json`));
    await rm(join(cluster.stateDirectory, `server_${id}`), { recursive: true });
    expect((await cluster.startServer(id)).error).toMatch(/no state/);
    const replaced = await cluster.frontend.call("ReplaceServer", { arg: id }, 20_000);
    expect(replaced.error).toBe("");
    await auditor.check(SERVERS);
    await waitFor("it has a snapshot", async () => (await cluster.status(id)).snapshotIndex > 0);
    const leader = await cluster.leader(SERVERS.length);
    await cluster.kill([leader.id]);
    await auditor.check(SERVERS.filter((other) => other !== leader.id));
    expect(ledger.complaints).toEqual([]);
  });
});
