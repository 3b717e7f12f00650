/** Servers that StartServer adds to the cluster, and those that leave it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readClusterRecord, writeClusterRecord } from "../../src/frontend/cluster-record.ts";
import { idsOf } from "../../src/frontend/cluster.ts";
import type { Supervisor } from "../../src/frontend/supervisor.ts";
import { initialConfiguration, MAX_MEMBERS } from "../../src/raft/configuration.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { waitFor } from "../cluster/waiting.ts";
import { Supervised } from "./supervised.ts";

setDefaultTimeout(90_000);

async function withCluster(supervised: Supervised, servers: number): Promise<Supervisor> {
  const supervisor = await supervised.supervisor();
  await supervisor.startRaft(servers);
  return supervisor;
}

/** Waits until the record says that these belong to the cluster, all of them voters where config.ini says. */
async function recorded(supervised: Supervised, ...ids: readonly number[]): Promise<void> {
  await waitFor(`the record of servers ${ids.join(", ")}`, async () => {
    const record = await readClusterRecord(new OsFileSystem(), supervised.stateDirectory);
    return JSON.stringify(record?.members) === JSON.stringify(initialConfiguration(ids));
  });
}

async function commandLine(supervised: Supervised, id: number): Promise<string> {
  const text = await readFile(`/proc/${await supervised.pid(id)}/cmdline`, "utf8");
  return text.split("\0").join(" ");
}

describe("StartServer of an id outside the cluster", () => {
  test("M5: makes a server that is added, without stopping the others, and the record follows", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 2);
    const others = [await supervised.pid(0), await supervised.pid(1)];
    await supervisor.startServer(3, null);
    const contacts = [0, 1].map((id) => `127.0.0.1:${supervised.basePort + id}`).join(",");
    expect(await commandLine(supervised, 3)).toContain(`--join ${contacts}`);
    expect([await supervised.pid(0), await supervised.pid(1)]).toEqual(others);
    await recorded(supervised, 0, 1, 3);
    expect(supervisor.cluster && idsOf(supervisor.cluster)).toEqual([0, 1, 3]);

    // From then on it is a server like any other, also for the next frontend.
    await supervised.kill(3);
    const later = await supervised.supervisor();
    await later.adopt();
    await later.startServer(3, null);
    expect(await commandLine(supervised, 3)).not.toContain("--join");
    expect((await supervised.pids()).get(3)).toHaveLength(1);
  });

  test("F1: twice at the same time, and with another one, adds each once, as one process", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 1);
    await Promise.all([2, 2, 3].map((id) => supervisor.startServer(id, null)));
    await recorded(supervised, 0, 2, 3);
    expect(Array.from(await supervised.pids(), ([id, pids]) => [id, pids.length])).toEqual([
      [0, 1],
      [2, 1],
      [3, 1],
    ]);
  });

  test("that the leader refuses is stopped again; asked for later, it is added with the files that it has", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 1);
    supervised.plan({ refusing: "not now" });
    await supervised.kill(0);
    await supervisor.startServer(0, null);
    await expect(supervisor.startServer(1, null)).rejects.toMatchObject({
      code: "failedPrecondition",
      message: "not now",
    });
    // It would wait for nothing. Its files stay, and are what it is started with the next time.
    expect((await supervised.pids()).has(1)).toBe(false);
    expect(await supervised.files()).toContain("server_1.json");
    supervised.plan({});
    await supervised.kill(0);
    await supervisor.startServer(0, null);
    await supervisor.startServer(1, null);
    expect(await commandLine(supervised, 1)).not.toContain("--join");
    await recorded(supervised, 0, 1);
  });

  test("P9: without its state file a left-over log is set aside, and never taken for the server's", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 1);
    await mkdir(join(supervised.stateDirectory, "server_1"));
    await writeFile(join(supervised.stateDirectory, "server_1/log-0000000000000001.jsonl"), "old");
    await supervisor.startServer(1, null);
    const aside = (await supervised.files()).find((name) => name.startsWith("server_1.replaced-")) ?? "";
    const log = join(supervised.stateDirectory, aside, "server_1/log-0000000000000001.jsonl");
    expect(await readFile(log, "utf8")).toBe("old");
  });

  test("I2: is refused where no server can be, or where there are enough, and nothing is started", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 1);
    await expect(supervisor.startServer(60_000, null)).rejects.toMatchObject({ code: "invalidArgument" });
    const members = initialConfiguration([...Array(MAX_MEMBERS).keys()]);
    const { clusterId } = supervisor.cluster ?? { clusterId: "" };
    const record = { state: "started", clusterId, members } as const;
    await writeClusterRecord(new OsFileSystem(), supervised.stateDirectory, record);
    const later = await supervised.supervisor();
    await later.adopt();
    await expect(later.startServer(MAX_MEMBERS, null)).rejects.toMatchObject({
      code: "failedPrecondition",
      message: "the cluster has 15 servers already: remove one before server 15 is added",
    });
    expect([...(await supervised.pids()).keys()]).toEqual([0]);
  });

  test("F2: a server that cannot join says why", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 1);
    supervised.plan({ failing: 1 });
    await expect(supervisor.startServer(1, null)).rejects.toMatchObject({
      message: "server 1 ended with code 1: server 1 was told to fail",
    });
    expect(supervisor.cluster && idsOf(supervisor.cluster)).toEqual([0]);
  });
});

describe("a server that was removed", () => {
  test("is stopped and keeps its files; StartServer starts it with them and adds it again", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 3);
    const state = await readFile(join(supervised.stateDirectory, "server_1.json"), "utf8");
    await supervised.membership.remove(1, null);
    await supervisor.retire(1);
    expect([...(await supervised.pids()).keys()]).toEqual([0, 2]);
    await recorded(supervised, 0, 2);
    expect(await readFile(join(supervised.stateDirectory, "server_1.json"), "utf8")).toBe(state);
    await expect(supervisor.replaceServer(1)).rejects.toMatchObject({
      message: "server 1 is not in the cluster (servers 0, 2): start it (raftkv start-server 1) to add it",
    });
    await supervisor.startServer(1, null);
    await recorded(supervised, 0, 1, 2);
  });

  test("StartRaft erases it with all the others", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 2);
    await supervisor.startServer(3, null);
    await supervised.membership.remove(3, null);
    await supervisor.startRaft(1);
    expect([...(await supervised.pids()).keys()]).toEqual([0]);
    expect((await readdir(supervised.stateDirectory)).filter((name) => name.startsWith("server_3"))).toEqual(
      [],
    );
  });
});

describe("a cluster that is not servers 0 to n-1", () => {
  test("is replaced a server of with the addresses of all who vote", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await withCluster(supervised, 3);
    await supervisor.startServer(3, null);
    await supervised.membership.remove(1, null);
    await recorded(supervised, 0, 2, 3);
    await supervised.kill(2);
    await rm(join(supervised.stateDirectory, "server_2.json"));
    await supervisor.replaceServer(2);
    const peers = [0, 2, 3].map((id) => `${id}=127.0.0.1:${supervised.basePort + id}`).join(",");
    expect(await commandLine(supervised, 2)).toContain(`--rejoin 3 --cluster-id`);
    expect(await commandLine(supervised, 2)).toContain(`--peers ${peers}`);
  });

  test("P7: is found by its state files when the record is lost", async () => {
    await using supervised = await Supervised.create();
    const earlier = await withCluster(supervised, 1);
    await earlier.startServer(3, null);
    await supervised.kill(0);
    await supervised.kill(3);
    await rm(join(supervised.stateDirectory, "cluster.json"));
    const later = await supervised.supervisor();
    await later.adopt();
    expect(later.cluster).toEqual(earlier.cluster);
    const failures: unknown[] = [];
    await later.bringUp((_, error) => failures.push(error));
    expect(failures).toEqual([]);
    expect([...(await supervised.pids()).keys()]).toEqual([0, 3]);
  });

  test.each([false, true])(
    "has members that are elsewhere (old files here: %p): they are left alone, and StartServer says so",
    async (filesHere) => {
      await using supervised = await Supervised.create();
      const supervisor = await withCluster(supervised, filesHere ? 2 : 1);
      if (filesHere) await supervised.kill(1);
      const { clusterId } = supervisor.cluster ?? { clusterId: "" };
      const remote = { id: 1, address: "127.0.0.1:1", voter: true };
      const members = [...initialConfiguration([0]), remote];
      const record = { state: "started", clusterId, members } as const;
      await writeClusterRecord(new OsFileSystem(), supervised.stateDirectory, record);
      const later = await supervised.supervisor();
      await later.adopt();
      const failures: unknown[] = [];
      await later.bringUp((_, error) => failures.push(error));
      expect(failures).toEqual([]);
      const elsewhere = {
        code: "failedPrecondition",
        message: `server 1 is at 127.0.0.1:1, not at 127.0.0.1:${supervised.basePort + 1}: start it there`,
      };
      await expect(later.startServer(1, null)).rejects.toMatchObject(elsewhere);
      await expect(later.replaceServer(1)).rejects.toMatchObject(elsewhere);
      expect([...(await supervised.pids()).keys()]).toEqual([0]);
    },
  );
});
