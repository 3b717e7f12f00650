/** A server with a snapshot and a log of several segments, for tests that inspect it. */
import type { FileSystem } from "../../src/storage/file-system.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import { readSnapshotFile } from "../../src/storage/snapshot-reader.ts";
import type { Identity } from "../../src/storage/store.ts";
import { append, group, IDENTITY, puts, term } from "./sample-log.ts";
import { writeSnapshot } from "./sample-snapshot.ts";

/** Its snapshot stands for entries 1 to 5 of term 2; its log holds 6 to 20 of term 3, in segments of about 5. */
export async function writeInspectedServer(
  fs: FileSystem,
  stateDir: string,
  identity: Identity = IDENTITY,
): Promise<void> {
  const aside = new MemoryDisk().mount();
  await writeSnapshot(aside, "/snapshot");
  const { info, state } = (await readSnapshotFile(aside, "/snapshot")).content;
  await createServerStore(fs, stateDir, identity, {
    hardState: term(3, 0),
    snapshot: { position: info.position, configuration: identity.members, state },
  });
  const { store } = await openServerStore(fs, stateDir, identity.serverId, { maxSegmentBytes: 700 });
  await store.persist(group(null, append(...puts(6, 15, 3))));
  await store.close();
}
