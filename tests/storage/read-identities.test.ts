import { expect, test } from "bun:test";
import { INITIAL_HARD_STATE } from "../../src/raft/hard-state.ts";
import type { FileSystem } from "../../src/storage/file-system.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { encodeStateFile, readIdentities } from "../../src/storage/state-file.ts";
import type { Identity } from "../../src/storage/store.ts";
import { MEMBERS } from "./sample-log.ts";

const STATE_DIR = "/state";

async function directory(): Promise<FileSystem> {
  const fs = new MemoryDisk().mount();
  await fs.makeDirectory(STATE_DIR);
  return fs;
}

function identityOf(serverId: number, clusterId = "a"): Identity {
  return { clusterId, serverId, members: MEMBERS };
}

async function write(fs: FileSystem, name: string, identity: Identity): Promise<void> {
  const content = encodeStateFile({
    identity,
    hardState: INITIAL_HARD_STATE,
    logReaches: null,
    installing: null,
  });
  await fs.writeFile(`${STATE_DIR}/${name}`, content);
}

test("no directory, or one without servers, holds no identities", async () => {
  expect(await readIdentities(new MemoryDisk().mount(), STATE_DIR)).toEqual([]);
  expect(await readIdentities(await directory(), STATE_DIR)).toEqual([]);
});

test("every server with a state file is told, also of different clusters; other files are not looked at", async () => {
  const fs = await directory();
  await write(fs, "server_0.json", identityOf(0));
  await write(fs, "server_2.json", identityOf(2, "b"));
  await fs.makeDirectory(`${STATE_DIR}/server_1`);
  await fs.makeDirectory(`${STATE_DIR}/server_1.replaced-2026-01-01T00-00-00.000Z`);
  for (const name of [
    "server_1.json.tmp",
    "server_01.json",
    "server_x.json",
    "server_1.json.bak",
    "cluster.json",
  ]) {
    await fs.writeFile(`${STATE_DIR}/${name}`, Buffer.from("garbage"));
  }
  expect(await readIdentities(fs, STATE_DIR)).toEqual([identityOf(0), identityOf(2, "b")]);
});

test("P10: a state file under another server's name is refused", async () => {
  const fs = await directory();
  await write(fs, "server_0.json", identityOf(1));
  await expect(readIdentities(fs, STATE_DIR)).rejects.toMatchObject({
    code: "failedPrecondition",
    message: `${STATE_DIR}/server_0.json: belongs to server 1, not to server 0`,
  });
});

test("P7: one state file that is empty or garbage is corruption, never left out", async () => {
  for (const content of ["", "garbage", "{}"]) {
    const fs = await directory();
    await write(fs, "server_0.json", identityOf(0));
    await fs.writeFile(`${STATE_DIR}/server_1.json`, Buffer.from(content));
    const error = { code: "corruption", message: expect.stringContaining("server_1.json") };
    await expect(readIdentities(fs, STATE_DIR)).rejects.toMatchObject(error);
  }
});
