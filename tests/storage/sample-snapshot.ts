/** Small snapshots for the storage tests. */
import type { Command } from "../../src/kv/command.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import type { FileSystem } from "../../src/storage/file-system.ts";
import type { SnapshotHeader } from "../../src/storage/snapshot-file.ts";
import { createSnapshotWriter } from "../../src/storage/snapshot-writer.ts";
import { MEMBERS } from "./sample-log.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";

export const HEADER: SnapshotHeader = {
  clusterId: "cluster-a",
  position: { index: 5, term: 2 },
  configuration: MEMBERS,
};

/** A machine at index 5 that holds something of every kind, in strings that trip programs up. */
export function sampleMachine(): KvStateMachine {
  const machine = new KvStateMachine(4);
  const puts = [
    ["a", "1"],
    ["__proto__", ""],
    ["\ud800\n\0", '"]\n,["'],
    ["a", "2"],
  ] as const;
  machine.skip(1);
  for (const [key, value] of puts) {
    const index = machine.appliedIndex + 1;
    const request = { clientId: 1, requestId: index };
    const routed = { routerId: 4, routerCall: index, pending: 0, retried: false };
    const command: Command = { kind: "put", key, value, request, routed };
    machine.apply(index, command);
  }
  return machine;
}

/** Writes a finished snapshot of the machine at `path`. */
export async function writeSnapshot(
  fs: FileSystem,
  path: string,
  machine = sampleMachine(),
  header: SnapshotHeader = HEADER,
) {
  const writer = await createSnapshotWriter(fs, path, header);
  const frozen = machine.freeze();
  for (const section of frozen.sections()) await writer.append(section);
  frozen.release();
  return writer.finish();
}

/** The bytes of a snapshot file of the machine. */
export async function snapshotBytes(machine = sampleMachine(), header = HEADER): Promise<Buffer> {
  const fs = new MemoryDisk().mount();
  await writeSnapshot(fs, "/snapshot", machine, header);
  return Buffer.from((await fs.readFile("/snapshot")) ?? []);
}
