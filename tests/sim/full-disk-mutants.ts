import type { Mutant } from "./mutant.ts";
import { FULL_DISKS } from "./mutant-focus.ts";

/** correctness.md, P6. */
export const fullDiskMutants: readonly Mutant[] = [
  {
    name: "vote-acknowledged-while-full",
    rule: "P6",
    what: "A term or vote for which there was no room is called durable.",
    file: "src/storage/until-room.ts",
    find: "      await whenFull(requireDiskFull(error));",
    replace: "      requireDiskFull(error);\n      return undefined as never;",
    focus: FULL_DISKS,
  },
  {
    name: "entries-acknowledged-while-full",
    rule: "P6",
    what: "Entries for which there was no room are called durable.",
    file: "src/storage/running-store.ts",
    find: "        await this.#log.append(write.entries);",
    replace:
      '        await this.#log.append(write.entries).catch((error: RaftKvError) => {\n          if (error.code !== "diskFull") throw error;\n        });',
    also: [
      {
        file: "src/storage/segmented-log.ts",
        find: "    await appendUntilRoom(this.#whenFull, file, lines);",
        replace: "    await appendUntilRoom(giveUp, file, lines);",
      },
    ],
    focus: FULL_DISKS,
  },
  {
    name: "refused-append-left",
    rule: "P6",
    what: "What landed of an append that found no room stays in front of its repetition.",
    file: "src/storage/until-room.ts",
    find: "      await file.truncate(size);\n",
    replace: "",
    also: [
      {
        file: "src/storage/segmented-log.ts",
        find: '    assert(file.size === size, "the file is as long as its records");\n',
        replace: "",
      },
    ],
    focus: FULL_DISKS,
  },
  {
    name: "refused-append-skipped",
    rule: "P6",
    what: "An append that found no room is repeated without its first bytes.",
    file: "src/storage/until-room.ts",
    find: "      await file.truncate(size);\n      await whenFull(full);",
    replace: "      await file.truncate(size);\n      await whenFull(full);\n      data = data.slice(1);",
    also: [
      {
        file: "src/storage/segmented-log.ts",
        find: '    assert(file.size === size, "the file is as long as its records");\n',
        replace: "",
      },
    ],
    focus: FULL_DISKS,
  },
  {
    name: "full-server-ends",
    rule: "P6",
    what: "A server ends when its disk is full.",
    file: "src/node/disk-room.ts",
    find: "    if (this.#closed) return Promise.reject(error);",
    replace: "    if (this.#closed || !this.#closed) return Promise.reject(error);",
  },
  {
    name: "full-for-ever",
    rule: "P6",
    what: "A server does not notice that there is room again.",
    file: "src/node/disk-room.ts",
    find: '    this.#change(false, "");\n',
    replace: "",
  },
  {
    name: "full-write-never-repeated",
    rule: "P6",
    what: "A write that found no room is not tried again.",
    file: "src/node/disk-room.ts",
    find: "        this.#waiting = null;\n        resolve();",
    replace: "        this.#waiting = null;",
  },
  {
    name: "full-snapshot-ends-server",
    rule: "P6",
    what: "A server ends when there is no room for a snapshot.",
    file: "src/node/snapshotter.ts",
    find: 'if (!(error instanceof RaftKvError) || error.code !== "diskFull") {',
    replace: 'if (!(error instanceof RaftKvError) || error.code === "diskFull") {',
    focus: FULL_DISKS,
  },
  {
    name: "full-leader-stays",
    rule: "P6",
    what: "A leader whose disk is full leads on, though others have room.",
    file: "src/raft/leadership.ts",
    find: "if (state.diskFull && othersHaveRoom(state, leader)) {",
    replace: "if (state.diskFull && state.currentTerm < 0) {",
  },
  {
    name: "full-leader-always-goes",
    rule: "P6",
    what: "A leader whose disk is full makes way also when nobody can take its place.",
    file: "src/raft/leadership.ts",
    find: "if (state.diskFull && othersHaveRoom(state, leader)) {",
    replace: "if (state.diskFull) {",
  },
];
