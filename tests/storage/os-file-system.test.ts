import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import { append, group, IDENTITY, puts, readServer, refusal, term } from "./sample-log.ts";

const fs = new OsFileSystem();
let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "raftkv-os-"));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Another process that opens server 1, persists three entries, says so, and stays. */
function otherProcess(stateDir: string) {
  const source = `
    import { OsFileSystem } from ${JSON.stringify(join(import.meta.dir, "../../src/storage/os-file-system.ts"))};
    import { openServerStore } from ${JSON.stringify(join(import.meta.dir, "../../src/storage/server-store.ts"))};
    import { append, group, puts, term } from ${JSON.stringify(join(import.meta.dir, "sample-log.ts"))};
    const { store } = await openServerStore(new OsFileSystem(), ${JSON.stringify(stateDir)}, 1);
    await store.persist(group(term(1), append(...puts(1, 3, 1))));
    console.log("ready");
    setInterval(() => store, 1000);
  `;
  return Bun.spawn([process.execPath, "-e", source], { stdout: "pipe", stderr: "inherit", stdin: "ignore" });
}

test("P10, P1: another process holds the lock until it is killed, and what it persisted is there", async () => {
  const stateDir = `${directory}/raft_state`;
  await createServerStore(fs, stateDir, IDENTITY);
  const other = otherProcess(stateDir);
  try {
    const { value } = await other.stdout.getReader().read();
    expect(Buffer.from(value ?? []).toString()).toBe("ready\n");
    const error = await refusal(openServerStore(fs, stateDir, 1));
    expect(error.code).toBe("failedPrecondition");
    expect(error.message).toContain(`${stateDir}/server_1`);
    expect(await fs.lock(`${stateDir}/server_1/lock`)).toBeNull();
  } finally {
    other.kill("SIGKILL");
    await other.exited;
  }
  const found = await readServer(fs, stateDir);
  expect(found.log.entries).toEqual(puts(1, 3, 1));
  expect(await fs.listDirectory(`${stateDir}/server_1`)).toEqual([
    "lock",
    "log-0000000000000001.jsonl",
    "reserve",
  ]);
}, 60_000);

test("a lock file that is something else is an io error, not a lock", async () => {
  await fs.writeFile(`${directory}/not-a-lock`, Buffer.from("something else entirely ".repeat(100)));
  expect((await refusal(fs.lock(`${directory}/not-a-lock`))).code).toBe("io");
});

test.if(existsSync("/dev/full"))("P6: a full disk is told from other errors, and says so", async () => {
  const file = await fs.openAppend("/dev/full");
  const error = await refusal((async () => file.append("x"))());
  expect(error.code).toBe("diskFull");
  expect(error.message).toMatch(/^cannot write \/dev\/full: ENOSPC/);
  expect(file.size).toBe(0);
  await file.close();
});

test("what a sync was told of is on disk while more is appended", async () => {
  const file = await fs.openAppend(`${directory}/log`);
  file.append("one");
  const synced = file.sync();
  file.append("two");
  await synced;
  await file.sync();
  await file.close();
  expect(Buffer.from((await fs.readFile(`${directory}/log`)) ?? []).toString()).toBe("onetwo");
});

test("a group persisted by the real file system is read back by it", async () => {
  const stateDir = `${directory}/other`;
  await createServerStore(fs, stateDir, IDENTITY);
  const { store } = await openServerStore(fs, stateDir, 1, { maxSegmentBytes: 2000 });
  for (let at = 0; at < 20; at++)
    await store.persist(group(term(1), append(...puts(1 + at * 10, 10, 1, 64))));
  await store.close();
  expect((await readServer(fs, stateDir)).log.entries).toEqual(puts(1, 200, 1, 64));
});
