import { expect, test } from "bun:test";
import { readClusterRecord, writeClusterRecord } from "../../src/frontend/cluster-record.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";

const RECORD = { state: "started", clusterId: "c", servers: 3 } as const;

async function recordOf(text: string) {
  const fs = new MemoryDisk().mount();
  await fs.makeDirectory("/state");
  await fs.writeFile("/state/cluster.json", Buffer.from(text));
  return readClusterRecord(fs, "/state");
}

test("what is written is read back, and no file is no record", async () => {
  const fs = new MemoryDisk().mount();
  await fs.makeDirectory("/state");
  expect(await readClusterRecord(fs, "/state")).toBeNull();
  await writeClusterRecord(fs, "/state", RECORD);
  expect(await readClusterRecord(fs, "/state")).toEqual(RECORD);
  expect(await fs.listDirectory("/state")).toEqual(["cluster.json"]);
});

test.each([
  ["an empty file", ""],
  ["garbage", "\0\0\0"],
  ["JSON of another shape", "[]"],
  ["a torn record", '{"format":1,"state":"started","clus'],
  ["a newer format", JSON.stringify({ format: 2, ...RECORD })],
  ["no servers", JSON.stringify({ format: 1, ...RECORD, servers: 0 })],
  ["an unknown field", JSON.stringify({ format: 1, ...RECORD, more: true })],
])("P7: %s is refused in one line, never taken for no cluster", async (_, text) => {
  const error: unknown = await recordOf(text).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "corruption" });
  expect(String(error)).toMatch(/^RaftKvError: \/state\/cluster\.json is not a record of a cluster[^\n]*$/);
});
