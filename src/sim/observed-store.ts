import { KvStateLoader } from "../kv/kv-state-loader.ts";
import { KvStateMachine } from "../kv/state-machine.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { SnapshotReceipt, SnapshotWriter, Store } from "../storage/store.ts";
import type { Checked, Safety } from "./safety.ts";
import { require } from "./violation.ts";

/** Reading a snapshot back costs as much as all else: of those that a server takes, one in so many. */
const CHECKED_SNAPSHOTS = 8;

/** Who sees what a store does. */
export interface StoreObserver {
  readonly id: ServerId;
  readonly safety: Safety;
  readonly node: () => Checked;
  /** A group is durable, as the store says. */
  readonly onPersisted: () => void;
}

/** Tells the checks what is on its way to a server's disk, and what the store says has arrived. */
export function observeStore(store: Store, { id, safety, node, onPersisted }: StoreObserver): Store {
  let snapshots = 0;
  return {
    get logBytes() {
      return store.logBytes;
    },
    get snapshotInfo() {
      return store.snapshotInfo;
    },
    persist: async (persist, later) => {
      safety.persisting(id, persist, node());
      // Compactions come in their turn, as the model of what is durable has them.
      await store.persist(persist, later && { ...later, takeCompaction: () => null });
      safety.durable(id).finished(persist);
      onPersisted();
    },
    prepareSnapshot: async (position, configuration) => {
      safety.snapshotOf(id, position, configuration);
      const writer = await store.prepareSnapshot(position, configuration);
      snapshots += 1;
      return snapshots % CHECKED_SNAPSHOTS === 1
        ? observeWriter(writer, (sections) => safety.snapshot(id, position, digestOf(position, sections)))
        : writer;
    },
    receiveSnapshot: async (info) =>
      observeReceipt(await store.receiveSnapshot(info), (configuration) =>
        safety.snapshotOf(id, info.position, configuration),
      ),
    openSnapshot: () => store.openSnapshot(),
    close: () => store.close(),
  };
}

/** `onFinish` is called before anything of the snapshot counts. */
function observeWriter(
  writer: SnapshotWriter,
  onFinish: (sections: readonly string[]) => void,
): SnapshotWriter {
  const sections: string[] = [];
  return {
    append: async (section) => {
      sections.push(section);
      await writer.append(section);
    },
    finish: async () => {
      onFinish(sections);
      await writer.finish();
    },
    abandon: () => writer.abandon(),
  };
}

/** `onFinish` is told who belongs to the cluster, as the snapshot says. */
function observeReceipt(
  receipt: SnapshotReceipt,
  onFinish: (configuration: Configuration) => void,
): SnapshotReceipt {
  return {
    info: receipt.info,
    get size() {
      return receipt.size;
    },
    append: (data) => receipt.append(data),
    finish: async () => {
      const content = await receipt.finish();
      onFinish(content.configuration);
      return content;
    },
    abandon: () => receipt.abandon(),
  };
}

/** Of the state that the sections make. */
function digestOf({ index }: SnapshotPosition, sections: readonly string[]): string {
  const loader = new KvStateLoader(index);
  const refusal = sections.map((section) => loader.add(section)).find((why) => why !== null);
  const state = refusal === undefined ? loader.finish() : null;
  require("State Machine Safety", state !== null, () =>
    `snapshot ${index} is none: ${refusal ?? "incomplete"}`);
  const machine = new KvStateMachine();
  if (state !== null) machine.restore(state);
  return machine.digest();
}
