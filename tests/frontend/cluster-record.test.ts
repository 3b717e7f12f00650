import { expect, test } from "bun:test";
import { readClusterRecord, writeClusterRecord } from "../../src/frontend/cluster-record.ts";
import { initialConfiguration, MAX_MEMBERS } from "../../src/raft/configuration.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";

const RECORD = { state: "started", clusterId: "c", members: initialConfiguration([0, 1, 2]) } as const;
const FILE = { format: 1, state: "started", clusterId: "c", servers: 3 } as const;

const MEMBER = { id: 4, address: "10.0.0.5:9001", voter: false } as const;

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

test("a cluster as it was started is written as older versions do, and read as they wrote it", async () => {
  const fs = new MemoryDisk().mount();
  await fs.makeDirectory("/state");
  await writeClusterRecord(fs, "/state", RECORD);
  const bytes = await fs.readFile("/state/cluster.json");
  expect(JSON.parse(Buffer.from(bytes ?? []).toString())).toEqual(FILE);
});

test.each([
  ["of more servers than this version would start", initialConfiguration([...Array(MAX_MEMBERS + 1).keys()])],
  ["with a gap", initialConfiguration([0, 2])],
  ["with an address", [...initialConfiguration([0]), { id: 1, address: "10.0.0.2:9001", voter: true }]],
  ["with a non-voter", [...initialConfiguration([0, 1]), { id: 2, address: "", voter: false }]],
])("a cluster %s is read back as it was written", async (_, members) => {
  const fs = new MemoryDisk().mount();
  await fs.makeDirectory("/state");
  await writeClusterRecord(fs, "/state", { ...RECORD, members });
  expect(await readClusterRecord(fs, "/state")).toEqual({ ...RECORD, members });
});

test.each([
  ["an empty file", ""],
  ["garbage", "\0\0\0"],
  ["JSON of another shape", "[]"],
  ["a torn record", '{"format":1,"state":"started","clus'],
  ["a newer format", JSON.stringify({ ...FILE, format: 2 })],
  ["no servers", JSON.stringify({ ...FILE, servers: 0 })],
  ["an unknown field", JSON.stringify({ ...FILE, more: true })],
  ["servers and members", JSON.stringify({ ...FILE, members: RECORD.members })],
  ["neither servers nor members", JSON.stringify({ ...FILE, servers: undefined })],
  ["a member twice", JSON.stringify({ ...FILE, servers: undefined, members: [MEMBER, MEMBER] })],
])("P7: %s is refused in one line, never taken for no cluster", async (_, text) => {
  const error: unknown = await recordOf(text).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "corruption" });
  expect(String(error)).toMatch(/^RaftKvError: \/state\/cluster\.json is not a record of a cluster[^\n]*$/);
});
