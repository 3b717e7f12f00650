/** Servers that were launched and do not serve yet, and what else is asked for meanwhile. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import type { Supervisor } from "../../src/frontend/supervisor.ts";
import { waitFor } from "../cluster/waiting.ts";
import { Supervised } from "./supervised.ts";

setDefaultTimeout(90_000);

/** A cluster of three whose servers `ids` are dead, and are held when they are started again. */
async function withHeld(supervised: Supervised, ids: readonly number[]): Promise<Supervisor> {
  const supervisor = await supervised.supervisor();
  await supervisor.startRaft(3);
  for (const id of ids) await supervised.kill(id);
  supervised.plan({ held: ids });
  return supervisor;
}

function launched(supervised: Supervised, ids: readonly number[]): Promise<unknown> {
  return waitFor(`processes of ${ids.join(", ")}`, async () => {
    const pids = await supervised.pids();
    return ids.every((id) => pids.has(id));
  });
}

/** What the start ends in: "code: message" of its error, or "ready". */
function outcome(start: Promise<unknown>): Promise<string> {
  return start.then(
    () => "ready",
    (error: unknown) => (error instanceof RaftKvError ? `${error.code}: ${error.message}` : String(error)),
  );
}

test("servers get ready side by side: the next is launched while one is waited for", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withHeld(supervised, [0, 1, 2]);
  const starts = [0, 1, 2].map((id) => supervisor.startServer(id, null));
  await launched(supervised, [0, 1, 2]);
  await supervised.release();
  await Promise.all(starts);
  expect([...(await supervised.pids()).values()].map((pids) => pids.length)).toEqual([1, 1, 1]);
});

test("F1: StartServer of a server that is just starting waits for the same start", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withHeld(supervised, [1]);
  const first = supervisor.startServer(1, null);
  await launched(supervised, [1]);
  const pid = await supervised.pid(1);
  let isServed = false;
  const second = supervisor.startServer(1, null).then(() => (isServed = true));
  // A server that runs is found in its turn, after the second call had its own.
  await supervisor.startServer(0, null);
  expect(isServed).toBe(false);
  await supervised.release();
  await Promise.all([first, second]);
  expect(await supervised.pid(1)).toBe(pid);
});

test("F3: a server that dies while it starts is told to whoever asked, and can be started again", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withHeld(supervised, [1]);
  const asked = [supervisor.startServer(1, null), supervisor.startServer(1, null)].map(outcome);
  await launched(supervised, [1]);
  // A server that runs is found in its turn, after the second call had its own.
  await supervisor.startServer(0, null);
  process.kill(await supervised.pid(1), "SIGKILL");
  for (const end of await Promise.all(asked)) {
    expect(end).toMatch(/^failedPrecondition: server 1 was ended by SIGKILL/);
  }
  await supervised.release();
  await supervisor.startServer(1, null);
  expect((await supervised.pids()).size).toBe(3);
});

test("F2: a server that does not get ready in time is told, keeps no other waiting, and is left to its files", async () => {
  await using supervised = await Supervised.create();
  await (await supervised.supervisor()).startRaft(2);
  await supervised.kill(0);
  await supervised.kill(1);
  supervised.plan({ mute: 1 });
  const supervisor = await supervised.supervisor({ startServerMs: 3000 });
  await supervisor.adopt();
  const mute = outcome(supervisor.startServer(1, null));
  await waitFor("the other", () => supervisor.startServer(0, null).then(() => true));
  expect(await mute).toMatch(
    /^unavailable: server 1 .*did not serve .*; it runs, and is still reading its files: ask again to wait for it$/,
  );
  expect([...(await supervised.pids()).keys()].toSorted()).toEqual([0, 1]);
});

test("F1, F2: asked for again, a server that was not ready in time is waited for, and nothing is launched", async () => {
  await using supervised = await Supervised.create();
  await (await supervised.supervisor()).startRaft(1);
  await supervised.kill(0);
  supervised.plan({ held: [0] });
  const supervisor = await supervised.supervisor({ startServerMs: 1000 });
  await supervisor.adopt();
  const late = /still reading its files/;
  expect(await outcome(supervisor.startServer(0, null))).toMatch(late);
  const pid = await supervised.pid(0);
  expect(await outcome(supervisor.startServer(0, null))).toMatch(late);
  await supervised.release();
  await waitFor("it serves", async () => (await outcome(supervisor.startServer(0, null))) === "ready");
  expect(await supervised.pid(0)).toBe(pid);
});

test("F3: a server that ends after its time was up can be started again; StartRaft ends one that has not", async () => {
  await using supervised = await Supervised.create();
  await (await supervised.supervisor()).startRaft(1);
  await supervised.kill(0);
  supervised.plan({ mute: 0 });
  const supervisor = await supervised.supervisor({ startServerMs: 1000 });
  await supervisor.adopt();
  expect(await outcome(supervisor.startServer(0, null))).toStartWith("unavailable");
  const killed = await supervised.pid(0);
  await supervised.kill(0);
  // Its end may be told to whoever asks first.
  await waitFor("a new process", async () =>
    (await outcome(supervisor.startServer(0, null))).startsWith("unavailable"),
  );
  const pid = await supervised.pid(0);
  expect(pid).not.toBe(killed);
  supervised.plan({});
  await supervisor.startRaft(1);
  expect(await supervised.pid(0)).not.toBe(pid);
});

test("F1: StartRaft ends servers that are just starting, and nothing of them is in the new cluster", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withHeld(supervised, [1, 2]);
  const starts = [1, 2].map((id) => outcome(supervisor.startServer(id, null)));
  await launched(supervised, [1, 2]);
  const before = new Set([...(await supervised.pids()).values()].flat());
  supervised.plan({});
  await supervisor.startRaft(2);
  const reason = "unavailable: a fresh cluster is started by StartRaft";
  expect(await Promise.all(starts)).toEqual([reason, reason]);
  const after = await supervised.pids();
  expect([...after.keys()]).toEqual([0, 1]);
  expect([...after.values()].flat().filter((pid) => before.has(pid))).toEqual([]);
});

test("F4: stopping ends servers that are just starting", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withHeld(supervised, [1]);
  const start = outcome(supervisor.startServer(1, null));
  await launched(supervised, [1]);
  await supervisor.stopAll();
  expect(await start).toBe("unavailable: the frontend is stopping");
  expect((await supervised.pids()).size).toBe(0);
});
