import { expect, test } from "bun:test";

import { array, assert as holds, asyncProperty, integer, oneof, record } from "fast-check";

import type { Command } from "../../src/kv/command.ts";
import type { Persist } from "../../src/raft/batch.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { ORIGIN } from "../../src/raft/snapshot-position.ts";
import { MemoryDisk, type Operation } from "../../src/storage/memory-file-system.ts";
import { makeDirectoryDurably } from "../../src/storage/durable-directory.ts";
import type { LogOptions } from "../../src/storage/segmented-log.ts";
import { createServerStore, eraseServer, openServerStore } from "../../src/storage/server-store.ts";
import { onBothFileSystems } from "./both-file-systems.ts";
import {
  append,
  contents,
  group,
  IDENTITY,
  killedServer,
  noop,
  put,
  puts,
  readServer,
  refusal,
  term,
  truncate,
  writeServer,
} from "./sample-log.ts";

const SMALL = { maxSegmentBytes: 400 };

onBothFileSystems((fresh) => {
  test("a created server starts empty, as itself", async () => {
    const { fs, directory } = await fresh();
    const stateDir = `${directory}/deep/raft_state`;
    await createServerStore(fs, stateDir, IDENTITY);
    expect(await readServer(fs, stateDir)).toEqual({
      identity: IDENTITY,
      hardState: term(0),
      snapshot: null,
      log: { base: ORIGIN, entries: [] },
      repairs: [],
    });
    expect(await fs.listDirectory(stateDir)).toEqual(["server_1", "server_1.json"]);
    expect(await fs.listDirectory(`${stateDir}/server_1`)).toEqual([
      "lock",
      "log-0000000000000001.jsonl",
      "reserve",
    ]);
  });

  test("P1: what was persisted is there after a restart, across segments and truncations", async () => {
    const { fs, directory } = await fresh();
    await writeServer(
      fs,
      directory,
      [
        group(term(1, 1), append(noop(1, 1), ...puts(2, 9, 1, 60))),
        group(term(3), truncate(4), append(noop(4, 3))),
        group(null, append(...puts(5, 12, 3, 60)), truncate(12), append(...puts(12, 3, 3))),
        group(term(4, 0)),
      ],
      SMALL,
    );
    const found = await readServer(fs, directory, SMALL);
    expect(found.hardState).toEqual(term(4, 0));
    expect(found.log.entries).toEqual([
      noop(1, 1),
      ...puts(2, 2, 1, 60),
      noop(4, 3),
      ...puts(5, 7, 3, 60),
      ...puts(12, 3, 3),
    ]);
    expect(found.repairs).toEqual([]);
    const names = (await fs.listDirectory(`${directory}/server_1`)) ?? [];
    expect(names.length).toBeGreaterThan(4);
  });

  test("a store goes on where the one before it stopped, also with other segment sizes", async () => {
    const { fs, directory } = await fresh();
    await createServerStore(fs, directory, IDENTITY);
    const written: Entry<Command>[] = [];
    for (const maxSegmentBytes of [1, 300, 1_000_000, 500]) {
      const { store, recovered } = await openServerStore(fs, directory, 1, { maxSegmentBytes });
      expect(recovered.log.entries).toEqual(written);
      const more = puts(written.length + 1, 5, maxSegmentBytes === 1 ? 1 : 2, 100);
      await store.persist(group(term(2), append(...more)));
      written.push(...more);
      await store.close();
    }
    expect((await readServer(fs, directory)).log.entries).toEqual(written);
  });

  test("I1: every string survives the disk", async () => {
    const { fs, directory } = await fresh();
    const strings = [
      "__proto__",
      "constructor",
      "\0",
      "\n",
      '"\\',
      "😀",
      "\ud800",
      "",
      "x".repeat(1_000_000),
    ];
    const entries = strings.map((text, at) => put(at + 1, 1, text, text));
    await writeServer(fs, directory, [group(term(1), append(...entries))]);
    expect((await readServer(fs, directory)).log.entries).toEqual(entries);
  });

  test("logBytes is the size of the segments on disk", async () => {
    const { fs, directory } = await fresh();
    await createServerStore(fs, directory, IDENTITY);
    const { store } = await openServerStore(fs, directory, 1, SMALL);
    for (const write of [
      append(...puts(1, 20, 1, 50)),
      truncate(14),
      truncate(2),
      append(...puts(2, 5, 1)),
    ]) {
      await store.persist(group(term(1), write));
      let size = 0;
      for (const name of (await fs.listDirectory(`${directory}/server_1`)) ?? []) {
        if (name.startsWith("log-"))
          size += (await fs.readFile(`${directory}/server_1/${name}`))?.length ?? 0;
      }
      expect(store.logBytes).toBe(size);
    }
    await store.close();
  });

  test("P10: a second opener or eraser of a running server's files is refused by name", async () => {
    const { fs, directory } = await fresh();
    await createServerStore(fs, directory, IDENTITY);
    const { store } = await openServerStore(fs, directory, 1);
    for (const call of [openServerStore, eraseServer]) {
      const error = await refusal(call(fs, directory, 1));
      expect(error.code).toBe("failedPrecondition");
      expect(error.message).toContain(`${directory}/server_1`);
    }
    await store.persist(group(term(1), append(noop(1, 1))));
    await store.close();
    expect((await readServer(fs, directory)).log.entries).toEqual([noop(1, 1)]);
  });

  test("P7: a server is created once, and only erasing makes room for another", async () => {
    const { fs, directory } = await fresh();
    await writeServer(fs, directory, [group(term(1), append(noop(1, 1)))]);
    const before = await contents(fs, directory);
    const error = await refusal(createServerStore(fs, directory, { ...IDENTITY, clusterId: "cluster-b" }));
    expect(error.code).toBe("failedPrecondition");
    expect(await contents(fs, directory)).toEqual(before);
    await eraseServer(fs, directory, 1);
    await createServerStore(fs, directory, { ...IDENTITY, clusterId: "cluster-b" });
    expect((await readServer(fs, directory)).identity.clusterId).toBe("cluster-b");
  });

  test("erasing removes what is the server's and nothing else", async () => {
    const { fs, directory } = await fresh();
    const other = { ...IDENTITY, serverId: 2 };
    await createServerStore(fs, directory, other);
    await writeServer(fs, directory, [group(term(1), append(...puts(1, 20, 1)))], SMALL);
    const foreign = [
      "server_1.log",
      "server_11.json",
      "cluster.json",
      "server_1/notes.txt",
      "server_1/log-1.jsonl",
      "server_1/snapshot-7.json.bak",
      "server_1/snapshot-07.json",
    ];
    for (const name of foreign) await fs.writeFile(`${directory}/${name}`, Buffer.from("foreign"));
    const snapshots = ["snapshot-7.json", "snapshot-9.json.tmp", "snapshot-12.json.part"];
    for (const name of ["server_1.json.tmp", ...snapshots.map((each) => `server_1/${each}`)]) {
      await fs.writeFile(`${directory}/${name}`, Buffer.from("ours"));
    }
    await eraseServer(fs, directory, 1);
    await eraseServer(fs, directory, 1);
    const left = Object.keys(await contents(fs, directory)).map((path) => path.slice(directory.length + 1));
    const kept = ["server_2.json", "server_2/lock", "server_2/log-0000000000000001.jsonl"];
    expect(left.toSorted()).toEqual([...foreign, ...kept].toSorted());
    for (const name of foreign.filter((each) => each.startsWith("server_1/"))) {
      await fs.removeFile(`${directory}/${name}`);
    }
    await eraseServer(fs, directory, 1);
    expect(await fs.listDirectory(directory)).not.toContain("server_1");
    await eraseServer(fs, `${directory}/no/such/directory`, 1);
  });

  test("random groups and restarts give the log that a plain array gives", async () => {
    const step = record({
      from: integer({ min: 1, max: 30 }),
      count: integer({ min: 0, max: 12 }),
      length: oneof(integer({ min: 1, max: 40 }), integer({ min: 300, max: 1500 })),
      restart: integer({ min: 0, max: 3 }),
    });
    await holds(
      asyncProperty(array(step, { maxLength: 12 }), async (steps) => {
        const { fs, directory } = await fresh();
        await createServerStore(fs, directory, IDENTITY);
        let { store } = await openServerStore(fs, directory, 1, SMALL);
        let expected: readonly Entry<Command>[] = [];
        for (const [at, { from, count, length, restart }] of steps.entries()) {
          const cut = from <= expected.length ? [truncate(from)] : [];
          const kept = expected.slice(0, from - 1);
          const added = puts(kept.length + 1, count, at + 1, length);
          await store.persist(group(term(at + 1), ...cut, append(...added)));
          expected = [...kept, ...added];
          if (restart > 0) continue;
          await store.close();
          store = (await openServerStore(fs, directory, 1, SMALL)).store;
        }
        await store.close();
        expect((await readServer(fs, directory)).log.entries).toEqual(expected);
      }),
      { numRuns: 8, seed: 1 },
    );
  }, 60_000);
});

/** A store on a memory disk, and what its file system was asked to do. */
async function watched(plan: (operation: Operation) => string | null, options: LogOptions = SMALL) {
  const operations: Operation[] = [];
  const disk = new MemoryDisk();
  await killedServer([group(term(1), append(...puts(1, 3, 1)))], {}, disk);
  const fs = disk.mount((operation) => {
    operations.push(operation);
    const message = plan(operation);
    return message === null ? null : { kind: "refuse", message };
  });
  const { store } = await openServerStore(fs, "raft_state", 1, options);
  operations.length = 0;
  return { disk, store, operations };
}

const GROUP: Persist<Command> = group(term(2), truncate(3), append(...puts(3, 12, 2, 80)));

test("P5: after any refused write or sync the store touches the disk no more and refuses every call", async () => {
  const { store, operations } = await watched(() => null);
  await store.persist(GROUP);
  const calls = operations.map(({ name }) => name);
  expect(calls).toContain("append.sync");
  expect(calls).toContain("syncDirectory");
  for (const at of calls.keys()) {
    let counted = 0;
    let armed = false;
    const failing = await watched(() => (armed && counted++ === at ? "EIO: input/output error" : null));
    armed = true;
    const first = await refusal(failing.store.persist(GROUP));
    expect(first.code).toBe("io");
    expect(first.message).toContain("EIO");
    const before = failing.operations.length;
    for (const persist of [GROUP, group(term(3)), group(null)]) {
      const later = await refusal(failing.store.persist(persist));
      expect(later.code).toBe("io");
      expect(later.message).toContain("earlier write failed");
    }
    expect(failing.operations.length).toBe(before);
  }
});

test("P5: a failed sync acknowledges nothing, and what was durable before is there after a power loss", async () => {
  let armed = false;
  const { disk, store } = await watched(({ name }) =>
    armed && name === "append.sync" ? "EIO: bad sector" : null,
  );
  armed = true;
  expect((await refusal(store.persist(group(null, append(...puts(4, 2, 1)))))).code).toBe("io");
  disk.crash();
  expect((await readServer(disk.mount(), "raft_state")).log.entries).toEqual(puts(1, 3, 1));
});

test("P5, P6: a full disk acknowledges nothing; with room again the server starts with what it had", async () => {
  for (const bytes of [0, 1, 40, 100]) {
    let full = false;
    const disk = new MemoryDisk();
    await writeServer(disk.mount(), "raft_state", [group(term(1), append(...puts(1, 3, 1)))]);
    const mount = disk.mount(({ name }) =>
      full && name === "append.append" ? { kind: "short", bytes, message: "ENOSPC: no space left" } : null,
    );
    const { store } = await openServerStore(mount, "raft_state", 1);
    full = true;
    expect((await refusal(store.persist(group(null, append(...puts(4, 2, 1)))))).message).toContain("ENOSPC");
    disk.kill(mount);
    const found = await readServer(disk.mount(), "raft_state");
    expect(found.log.entries.slice(0, 3)).toEqual(puts(1, 3, 1));
    expect(found.log.entries.length).toBeLessThan(5);
  }
});

test("a group is one write and one sync, whatever the log's length", async () => {
  const { store, operations } = await watched(() => null, {});
  for (const first of [4, 14, 24]) {
    operations.length = 0;
    await store.persist(group(null, append(...puts(first, 10, 1))));
    expect(operations.map(({ name }) => name)).toEqual(["append.append", "append.sync"]);
  }
});

test("the hard state is durable before the log changes", async () => {
  const { store, operations } = await watched(() => null);
  await store.persist(group(term(2, 1), append(noop(4, 2))));
  expect(operations.map(({ name }) => name)).toEqual([
    "writeFile",
    "syncFile",
    "rename",
    "syncDirectory",
    "append.append",
    "append.sync",
  ]);
});

/** The operations as words: what was done to which file, by its first index. */
function told(operations: readonly Operation[]): string {
  const words = operations.map(({ name, path }) => {
    const firstIndex = /log-0*([0-9]+)/.exec(path)?.[1];
    return firstIndex === undefined ? name : `${name.replace("append.", "")} ${firstIndex}`;
  });
  return words.join(", ");
}

test("P5: a creation or a start that fails anywhere leaves no file open", async () => {
  for (let failing = 0, failed = true; failed; failing++) {
    const disk = new MemoryDisk();
    let open = 0;
    let number = 0;
    const fs = disk.mount(({ name }) => {
      if (name === "append.close") open--;
      else if (number++ === failing) return { kind: "refuse", message: "EIO: bad sector" };
      else if (name === "openAppend") open++;
      return null;
    });
    failed = await createServerStore(fs, "raft_state", IDENTITY)
      .then(() => fs.writeFile("raft_state/server_1/snapshot-3.json.tmp", Buffer.of(1)))
      .then(() => fs.writeFile("raft_state/server_1.json.tmp", Buffer.of(1)))
      .then(() => openServerStore(fs, "raft_state", 1))
      .then(
        ({ store }) => store.close().then(() => false),
        () => true,
      );
    expect([failing, open]).toEqual([failing, 0]);
  }
});

test("P2: every directory on the way to a new server is durable, also if the process before died while it made them", async () => {
  for (const dies of [0, 1, 2, 3, 4, 5, 6, 7, 8]) {
    const disk = new MemoryDisk();
    const first = disk.mount(({ number }) => (number === dies ? { kind: "die", when: "after" } : null));
    await makeDirectoryDurably(first, "a/b/c").catch(() => {});
    disk.kill(first);
    await makeDirectoryDurably(disk.mount(), "a/b/c/d");
    await createServerStore(disk.mount(), "a/b/c/d", IDENTITY);
    disk.crash();
    expect((await readServer(disk.mount(), "a/b/c/d")).identity).toEqual(IDENTITY);
  }
});

test("P2: the next segment is durable before the footer, and the footer before the next segment's entries", async () => {
  const { store, operations } = await watched(() => null, { maxSegmentBytes: 1 });
  await store.persist(group(null, append(...puts(4, 1, 1))));
  const expected =
    "openAppend 4, append 4, sync 4, syncDirectory, append 1, sync 1, close 1, append 4, sync 4";
  expect(told(operations)).toBe(expected);
});

test("P2: a truncation into a sealed segment empties the last one, cuts the footer, and only then removes", async () => {
  const { store, operations } = await watched(() => null, { maxSegmentBytes: 1 });
  await store.persist(group(null, append(...puts(4, 2, 1))));
  operations.length = 0;
  await store.persist(group(null, truncate(2)));
  const expected = [
    "readFile 4, truncate 5, sync 5, openAppend 4, close 5, truncate 4, sync 4, removeFile 5, syncDirectory",
    "readFile 1, truncate 4, sync 4, openAppend 1, close 4, truncate 1, sync 1, removeFile 4, syncDirectory",
    "truncate 1, sync 1",
  ];
  expect(told(operations)).toBe(expected.join(", "));
});

test("a closed store refuses, and its server can be opened again", async () => {
  const { disk, store } = await watched(() => null);
  await store.close();
  expect((await refusal(store.persist(GROUP))).message).toContain("closed");
  expect((await readServer(disk.mount(), "raft_state")).log.entries).toEqual(puts(1, 3, 1));
});

test("E1: a caller that would change a vote, lower a term or leave a gap is stopped as a bug", async () => {
  const wrong = [
    [group(term(5, 1)), group(term(5, 2))],
    [group(term(5, 1)), group(term(5, null))],
    [group(term(5)), group(term(4))],
    [group(null, append(noop(5, 1)))],
    [group(null, append(noop(4, 2)))],
    [group(null, truncate(4))],
    [group(null, truncate(0))],
  ];
  for (const groups of wrong) {
    const { store } = await watched(() => null);
    const last = groups.pop() ?? group(null);
    for (const persist of groups) await store.persist(persist);
    await expect(store.persist(last)).rejects.toThrow(expect.objectContaining({ name: "AssertionError" }));
  }
});
