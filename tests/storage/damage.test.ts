/** The table at the head of server-store.ts, a test a row: the whole, and the state file. */
import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { encodeFooter, encodeRecord } from "../../src/storage/log-record.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { createServerStore, eraseServer } from "../../src/storage/server-store.ts";
import {
  cutAt,
  DIRECTORY,
  ENTRIES,
  everyFlip,
  expectMended,
  expectRefused,
  FIRST,
  LAST,
  lineStart,
  MIDDLE,
  NEXT,
  NEXT_HEADER,
  OPTIONS,
  read,
  rolling,
  server,
  serverWith,
  STATE,
  withText,
} from "./damaged-server.ts";
import {
  append,
  contents,
  group,
  IDENTITY,
  puts,
  readServer,
  refusal,
  term,
  writeServer,
} from "./sample-log.ts";

test("P7: nothing at all is refused, says how a server comes to be, and makes no file", async () => {
  const fs = new MemoryDisk().mount();
  expect((await refusal(readServer(fs, "raft_state"))).message).toContain("StartRaft");
  expect(await fs.listDirectory("/")).toEqual([]);
  await createServerStore(fs, "raft_state", { ...IDENTITY, serverId: 2 });
  await expectRefused(fs, "failedPrecondition", STATE, "server 1 has no state");
  await fs.makeDirectory(DIRECTORY);
  await expectRefused(fs, "failedPrecondition", STATE, "server 1 has no state");
});

test("P7, P9: a log without its state file, or the other way round, is never a fresh server", async () => {
  let fs = await server();
  await fs.removeFile(STATE);
  await expectRefused(fs, "failedPrecondition", STATE, "state file is missing");
  expect((await refusal(createServerStore(fs, "raft_state", IDENTITY))).code).toBe("failedPrecondition");
  fs = await server();
  for (const name of [FIRST, MIDDLE, LAST]) await fs.removeFile(`${DIRECTORY}/${name}`);
  await expectRefused(fs, "failedPrecondition", DIRECTORY, "log is missing");
  expect((await refusal(createServerStore(fs, "raft_state", IDENTITY))).code).toBe("failedPrecondition");
  for (const name of ["lock", "reserve"]) await fs.removeFile(`${DIRECTORY}/${name}`);
  await fs.removeDirectory(DIRECTORY);
  await expectRefused(fs, "failedPrecondition", DIRECTORY, "directory is missing");
  await eraseServer(fs, "raft_state", 1);
  expect(await fs.listDirectory("raft_state")).toEqual([]);
});

test("P7: an empty, garbage or cut state file is refused", async () => {
  await expectRefused(await serverWith(STATE, withText("")), "corruption", STATE, "empty");
  await expectRefused(await serverWith(STATE, withText("\0\0\0\0")), "corruption", STATE, "not JSON");
  await expectRefused(await serverWith(STATE, cutAt(40)), "corruption", STATE, "not JSON");
  await expectRefused(await serverWith(STATE, withText(`{"format":1}`)), "corruption", STATE, "clusterId");
  const state = (await read(await server(), STATE)).toString();
  const otherTerm = withText(state.replace(`"currentTerm": 2`, `"currentTerm": 3`));
  await expectRefused(await serverWith(STATE, otherTerm), "corruption", STATE, "checksum");
});

test("P10: another server's, cluster's or format's file is refused", async () => {
  const renamed = await server();
  await renamed.rename(STATE, "raft_state/server_0.json");
  await createServerStore(renamed, "raft_state", { ...IDENTITY, serverId: 2 });
  await renamed.rename("raft_state/server_2.json", STATE);
  await expectRefused(renamed, "failedPrecondition", STATE, "belongs to server 2");
  await expectRefused(
    await serverWith(STATE, withText(`{"format":2}`)),
    "failedPrecondition",
    STATE,
    "format 2",
  );

  const path = `${DIRECTORY}/${MIDDLE}`;
  const header = { format: 1, clusterId: "cluster-a", serverId: 1, firstIndex: 5, previousTerm: 1 };
  const withHeader = (changed: object) =>
    serverWith(path, (bytes) => {
      const line = encodeRecord(JSON.stringify({ ...header, ...changed }));
      return Buffer.concat([Buffer.from(line), bytes.subarray(lineStart(bytes, 1))]);
    });
  expect((await readServer(await withHeader({}), "raft_state")).log.entries).toEqual(ENTRIES);
  await expectRefused(await withHeader({ format: 2, more: true }), "failedPrecondition", path, "format 2");
  await expectRefused(await withHeader({ clusterId: "cluster-b" }), "failedPrecondition", path, "cluster-b");
  await expectRefused(await withHeader({ serverId: 0 }), "failedPrecondition", path, "server 0");
  await expectRefused(await withHeader({ firstIndex: 6 }), "corruption", path, "byte 0", "entry 6");
  await expectRefused(await withHeader({ previousTerm: 0 }), "corruption", path, "byte 0", "term 0");
});

test("P7: a left-over temporary file is removed and reported, whatever is in it", async () => {
  for (const content of ["", "garbage", `{"format":1}`]) {
    const fs = await server();
    await fs.writeFile(`${STATE}.tmp`, Buffer.from(content));
    await expectMended(fs, ENTRIES.length, `${STATE}.tmp`);
    expect(await fs.readFile(`${STATE}.tmp`)).toBeNull();
  }
});

test("P10: a lock file that is absent or empty is made anew, and one that is something else is refused", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "raftkv-lock-"));
  try {
    const fs = new OsFileSystem();
    await writeServer(fs, stateDir, [group(term(1), append(...puts(1, 2, 1)))]);
    const path = `${stateDir}/server_1/lock`;
    await fs.removeFile(path);
    expect((await readServer(fs, stateDir)).log.entries).toHaveLength(2);
    await fs.writeFile(path, Buffer.alloc(0));
    expect((await readServer(fs, stateDir)).log.entries).toHaveLength(2);
    const before = await contents(fs, stateDir);
    await fs.writeFile(path, Buffer.alloc(200, "garbage"));
    const error = await refusal(readServer(fs, stateDir));
    expect([error.code, error.message]).toEqual(["io", expect.stringContaining(path)]);
    await fs.removeFile(path);
    await fs.writeFile(path, Buffer.alloc(0));
    expect(await contents(fs, stateDir)).toEqual(before);
  } finally {
    await rm(stateDir, { recursive: true, force: true });
  }
});

test("files that are not named as ours are left alone", async () => {
  const fs = await server();
  const foreign = [
    "log-1.jsonl",
    "log-0000000000000001.jsonl.bak",
    "notes.txt",
    "log-0000000000000000.jsonl",
  ];
  for (const name of foreign) await fs.writeFile(`${DIRECTORY}/${name}`, Buffer.from("foreign"));
  const found = await readServer(fs, "raft_state", OPTIONS);
  expect(found.log.entries).toEqual(ENTRIES);
  expect(found.repairs).toEqual([]);
  for (const name of foreign) expect((await read(fs, `${DIRECTORY}/${name}`)).toString()).toBe("foreign");
});

test("P4: one flipped bit, at every byte of every file, is refused or changes nothing", async () => {
  const settled = await server();
  const rolled = await rolling(NEXT_HEADER, Buffer.from(encodeFooter(11)));
  expect(await everyFlip(settled, [FIRST, MIDDLE, LAST])).toBeGreaterThan(10_000);
  expect(await everyFlip(rolled, [LAST, NEXT])).toBeGreaterThan(2_000);
}, 60_000);
