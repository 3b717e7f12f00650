import { afterEach, expect, test } from "bun:test";
import { parsePs, processName, ProcessTable } from "../../src/frontend/process-table.ts";
import { waitFor } from "../cluster/waiting.ts";

const DIRECTORY = `/nowhere/raftkv-${process.pid}/raft_state`;
const table = new ProcessTable(DIRECTORY);

const children: Bun.Subprocess[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
});

/** A process that does nothing, under the name and with the arguments given. */
function start(argv0: string, ...words: readonly string[]): Bun.Subprocess {
  const idle = "setInterval(() => {}, 1000)";
  const child = Bun.spawn([process.execPath, "-e", idle, ...words], {
    argv0,
    stdio: ["ignore", "ignore", "ignore"],
  });
  children.push(child);
  return child;
}

function serverWords(id: number, directory = DIRECTORY): readonly string[] {
  return ["--mode", "server", "--id", String(id), "--state-dir", directory];
}

test("F5: a server of this state directory is found, also when it is stopped, until it is gone", async () => {
  const child = start("raftserver3", ...serverWords(2), "--bootstrap", "3");
  const expected = { pid: child.pid, id: 2 };
  expect(await waitFor("the server", async () => (await table.find())[0])).toEqual(expected);
  child.kill("SIGSTOP");
  expect(await table.find()).toEqual([expected]);
  expect(await table.isGone(expected)).toBe(false);
  child.kill("SIGKILL");
  await waitFor("its end", () => table.isGone(expected));
  expect(await table.find()).toEqual([]);
});

test("F5: processes that only look like a server of ours are not found, and get no signal", async () => {
  const strangers = [
    start("raftserver1", ...serverWords(0, "/elsewhere/raft_state")),
    start("raftserver1", ...serverWords(1)),
    start("raftserver0", ...serverWords(0)),
    start("bun", ...serverWords(0)),
    start("raftserver1", "--mode", "frontend", "--id", "0", "--state-dir", DIRECTORY),
    start("raftserver1", ...serverWords(0).slice(0, 4)),
  ];
  const proof = start("raftserver2", ...serverWords(1));
  await waitFor("the one that is ours", async () => (await table.find()).length > 0);
  expect(await table.find()).toEqual([{ pid: proof.pid, id: 1 }]);
  for (const { pid } of strangers) {
    expect(await table.signal({ pid, id: 0 }, "SIGKILL")).toBe(false);
    // In the moment in which it becomes what it is, a process has no command line.
    await waitFor("it is known to be none of ours", () => table.isGone({ pid, id: 0 }));
  }
  expect(strangers.filter(({ exitCode, signalCode }) => (exitCode ?? signalCode) !== null)).toEqual([]);
});

test("F5: a process that was replaced by another under the same pid gets no signal", async () => {
  const child = start("raftserver1", ...serverWords(0));
  await waitFor("the server", async () => (await table.find()).length > 0);
  expect(await table.signal({ pid: child.pid, id: 4 }, "SIGKILL")).toBe(false);
  expect(await table.signal({ pid: child.pid, id: 0 }, "SIGKILL")).toBe(true);
  await child.exited;
  expect(await table.signal({ pid: child.pid, id: 0 }, "SIGKILL")).toBe(false);
});

test("F3: a server that has ended and was not reaped does not run", () => {
  const output = [
    "    7 Z    raftserver1 --mode server --id 0 --state-dir /d",
    " 1234 Ss   raftserver2 --mode server --id 1 --state-dir /a b/c",
    "nonsense",
    "",
  ].join("\n");
  const command = "raftserver2 --mode server --id 1 --state-dir /a b/c";
  expect(parsePs(output)).toEqual([{ pid: 1234, command }]);
});

test("server i is called raftserver<i + 1>", () => {
  expect([0, 4].map(processName)).toEqual(["raftserver1", "raftserver5"]);
});
