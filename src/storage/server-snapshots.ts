/**
 * The snapshots of a running server: the one that counts, and those that are being written or received beside it.
 * A name makes a snapshot count, so a file gets it last:
 *
 *   1. the bytes, at a name of their own, are durable    (snapshot-writer.ts, snapshot-receipt.ts)
 *   2. rename to snapshot-<index>.json
 *   3. sync the directory: from now on it counts
 *   4. remove the snapshot before it, sync the directory
 *
 * A crash before 3 leaves the snapshot before it, and the log that goes with it; after 3 the new one, and perhaps
 * the old one too, which the next start removes. Log is removed only after 3 (segmented-log.ts).
 */
import { assert, defined } from "../base/assert.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import { untilRoom, type WhenFull } from "./until-room.ts";
import type { FileSystem, ReadFile } from "./file-system.ts";
import type { Fuse } from "./fuse.ts";
import { corrupted } from "./refusal.ts";
import { preparedSnapshotName, receivedSnapshotName, snapshotName } from "./server-files.ts";
import { SnapshotDraft } from "./snapshot-draft.ts";
import { FileSnapshotReceipt } from "./snapshot-receipt.ts";
import { createSnapshotWriter } from "./snapshot-writer.ts";
import type { Identity, SnapshotInfo, SnapshotReceipt, SnapshotSource, SnapshotWriter } from "./store.ts";

/** Which of the two a draft is. */
type Origin = "prepared" | "received";

export class ServerSnapshots {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #identity: Identity;
  readonly #fuse: Fuse;
  readonly #drafts = new Map<Origin, SnapshotDraft>();
  #current: SnapshotInfo | null;
  /** The path of the snapshot before the current one, as long as it is not removed. */
  #outdated: string | null = null;

  constructor(
    fs: FileSystem,
    directory: string,
    identity: Identity,
    current: SnapshotInfo | null,
    fuse: Fuse,
  ) {
    this.#fs = fs;
    this.#directory = directory;
    this.#identity = identity;
    this.#current = current;
    this.#fuse = fuse;
  }

  /** The one that counts; null when there is none. */
  get current(): SnapshotInfo | null {
    return this.#current;
  }

  /** As Store.prepareSnapshot. */
  async prepare(position: SnapshotPosition, configuration: Configuration): Promise<SnapshotWriter> {
    const { clusterId } = this.#identity;
    const draft = this.#draft("prepared", preparedSnapshotName(position.index));
    const header = { clusterId, position, configuration };
    const writer = await draft.begin(() => createSnapshotWriter(this.#fs, draft.path, header));
    return {
      append: (section) => draft.run(() => writer.append(section)),
      finish: () => draft.run(async () => draft.finish(await writer.finish())),
      abandon: () => draft.abandon(),
    };
  }

  /** As Store.receiveSnapshot. */
  async receive(info: SnapshotInfo): Promise<SnapshotReceipt> {
    const { clusterId } = this.#identity;
    const draft = this.#draft("received", receivedSnapshotName(info.position.index));
    const create = () => FileSnapshotReceipt.create(this.#fs, draft.path, clusterId, info);
    const receipt = await draft.begin(create);
    return {
      info,
      get size() {
        return receipt.size;
      },
      append: (data) => draft.run(() => receipt.append(data)),
      finish: () =>
        draft.run(async () => {
          const content = await receipt.finish();
          draft.finish(info);
          return content;
        }),
      abandon: () => draft.abandon(),
    };
  }

  /** As Store.openSnapshot. */
  async open(): Promise<SnapshotSource | null> {
    for (;;) {
      const info = this.#current;
      if (info === null) return null;
      const path = this.#path(info.position);
      const file = await this.#fs.openRead(path);
      if (file !== null) return sourceOf(info, file);
      // A newer one may have taken its place before it was opened.
      if (this.#current === info) throw corrupted(path, null, "the file has vanished");
    }
  }

  /** Makes the draft, which is finished, the snapshot that counts, durably. */
  async publish(origin: Origin, position: SnapshotPosition, whenFull: WhenFull): Promise<void> {
    const draft = defined(this.#drafts.get(origin), "a snapshot is prepared or received before it counts");
    const info = draft.publish(position);
    assert(position.index > (this.#current?.position.index ?? 0), "a snapshot is newer than the one before");
    await untilRoom(whenFull, () => this.#fs.rename(draft.path, this.#path(position)));
    await this.#fs.syncDirectory(this.#directory);
    this.#outdated = this.#current === null ? null : this.#path(this.#current.position);
    this.#current = info;
    this.#drafts.delete(origin);
  }

  /** Removes the snapshot before the one that counts, durably. */
  async removeOutdated(): Promise<void> {
    if (this.#outdated === null) return;
    await this.#fs.removeFile(this.#outdated);
    await this.#fs.syncDirectory(this.#directory);
    this.#outdated = null;
  }

  /** Removes what does not count yet. */
  async close(): Promise<void> {
    for (const draft of this.#drafts.values()) await draft.abandon();
  }

  #draft(origin: Origin, name: string): SnapshotDraft {
    assert(!this.#drafts.has(origin), `one snapshot is ${origin} at a time`);
    const path = `${this.#directory}/${name}`;
    const draft = new SnapshotDraft(path, this.#fuse, () => this.#drafts.delete(origin));
    this.#drafts.set(origin, draft);
    return draft;
  }

  #path({ index }: SnapshotPosition): string {
    return `${this.#directory}/${snapshotName(index)}`;
  }
}

function sourceOf(info: SnapshotInfo, file: ReadFile): SnapshotSource {
  return {
    info,
    read: (offset, maxBytes) => file.read(offset, maxBytes),
    close: () => file.close(),
  };
}
