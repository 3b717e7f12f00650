import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { defined } from "../../src/base/assert.ts";
import { readClusterRecord, writeClusterRecord } from "../../src/frontend/cluster-record.ts";
import { SERVER_ENVIRONMENT } from "../../src/frontend/server-environment.ts";
import { FrontendLock } from "../../src/frontend/frontend-lock.ts";
import { initialConfiguration } from "../../src/raft/configuration.ts";
import { INITIAL_HARD_STATE } from "../../src/raft/hard-state.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { encodeStateFile } from "../../src/storage/state-file.ts";
import { waitFor } from "../cluster/waiting.ts";
import { Supervised } from "./supervised.ts";

setDefaultTimeout(90_000);

describe("StartRaft", () => {
  test("brings up one ready process an id, and records the cluster", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    await supervisor.startRaft(3);
    const pids = await supervised.pids();
    expect([...pids.keys()]).toEqual([0, 1, 2]);
    const record = await readClusterRecord(new OsFileSystem(), supervised.stateDirectory);
    expect(record).toMatchObject({ state: "started", members: initialConfiguration([0, 1, 2]) });
    expect(supervisor.cluster?.clusterId).toBe(record?.clusterId ?? "");
    expect(supervised.states.map(({ kind }) => kind)).toEqual(["changing", "running"]);
  });

  test("F1: twice at the same time: one process an id, of one cluster", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    await Promise.all([supervisor.startRaft(2), supervisor.startRaft(3)]);
    expect(Array.from(await supervised.pids(), ([id, pids]) => [id, pids.length])).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
  });

  test.if(process.platform === "linux")(
    "servers find in their environment how much memory to do with",
    async () => {
      await using supervised = await Supervised.create();
      await (await supervised.supervisor()).startRaft(1);
      const environment = await readFile(`/proc/${await supervised.pid(0)}/environ`, "utf8");
      for (const [name, value] of Object.entries(SERVER_ENVIRONMENT)) {
        expect(environment.split("\0")).toContain(`${name}=${value}`);
      }
    },
  );

  test("erases what belongs to servers, and nothing else", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    const kept = ["notes.txt", "server_x.json", "server_01.json", "server_1.json.bak"];
    await mkdir(join(supervised.stateDirectory, "server_3"), { recursive: true });
    for (const name of [...kept, "server_7.json", "server_7.log", "server_3/mine.txt"]) {
      await writeFile(join(supervised.stateDirectory, name), "old");
    }
    await supervisor.startRaft(2);
    const own = [
      "cluster.json",
      "frontend.lock",
      "server_0.json",
      "server_0.log",
      "server_1.json",
      "server_1.log",
    ];
    expect(await supervised.files()).toEqual([...kept, ...own, "server_3"].toSorted());
    expect(await readFile(join(supervised.stateDirectory, "server_3/mine.txt"), "utf8")).toBe("old");
  });

  test("F5: ends servers that are stopped, or whose files were deleted under them", async () => {
    await using supervised = await Supervised.create();
    await (await supervised.supervisor()).startRaft(2);
    const before = [await supervised.pid(0), await supervised.pid(1)];
    process.kill(before[0] ?? 0, "SIGSTOP");
    await rm(supervised.stateDirectory, { recursive: true });
    await (await supervised.supervisor()).startRaft(1);
    const pids = await supervised.pids();
    expect([...pids.keys()]).toEqual([0]);
    expect(before).not.toContain(pids.get(0)?.[0]);
  });

  test("F2: a port that somebody else has is named with its owner, and the old cluster goes on", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor({ portMs: 200 });
    await supervisor.startRaft(1);
    const pid = await supervised.pid(0);
    const files = await supervised.files();
    const port = supervised.basePort + 1;
    const foreign = createServer();
    await new Promise<void>((resolve) => foreign.listen(port, "127.0.0.1", resolve));
    try {
      const owner = process.platform === "linux" ? `process ${process.pid}` : "in use";
      await expect(supervisor.startRaft(2)).rejects.toMatchObject({
        code: "failedPrecondition",
        message: expect.stringMatching(new RegExp(`port ${port} of server 1 is in use.*${owner}`)),
      });
    } finally {
      foreign.close();
    }
    expect(await supervised.pid(0)).toBe(pid);
    expect(await supervised.files()).toEqual(files);
    expect(supervisor.cluster?.members).toHaveLength(1);
  });

  test("F2: a server that ends is quoted, and nothing that was started stays", async () => {
    await using supervised = await Supervised.create();
    supervised.plan({ failing: 1 });
    const supervisor = await supervised.supervisor();
    await expect(supervisor.startRaft(2)).rejects.toMatchObject({
      code: "failedPrecondition",
      message: "server 1 ended with code 1: server 1 was told to fail",
    });
    expect((await supervised.pids()).size).toBe(0);
    expect(supervisor.cluster).toBeNull();
    expect(supervised.states.at(-1)).toEqual({ kind: "none" });
  });

  test("F2: a server that ends after it was ready is told at once, and no line is quoted that is no reason", async () => {
    await using supervised = await Supervised.create();
    supervised.plan({ dying: 1 });
    await expect((await supervised.supervisor()).startRaft(2)).rejects.toMatchObject({
      code: "failedPrecondition",
      message: `server 1 ended with code 1: its log is ${supervised.stateDirectory}/server_1.log`,
    });
    expect((await supervised.pids()).size).toBe(0);
  });

  test("F5: a start that fails ends the servers that it launched, and no others", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    supervised.plan({ mute: 0 });
    const start = supervisor.startRaft(1).catch((error: unknown) => error);
    await waitFor("the new server", async () => (await supervised.pids()).has(0));
    const words = ["--mode", "server", "--id", "7", "--state-dir", supervised.stateDirectory];
    const other = Bun.spawn([process.execPath, "-e", "setInterval(() => {}, 1000)", ...words], {
      argv0: "raftserver8",
    });
    process.kill(await supervised.pid(0), "SIGKILL");
    expect(await start).toMatchObject({ code: "failedPrecondition" });
    expect(await supervised.pid(7)).toBe(other.pid);
  });

  test("F1: works after somebody deleted the state directory under the frontend, unless another has come", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    await supervisor.startRaft(1);
    await rm(supervised.stateDirectory, { recursive: true });
    await supervisor.startRaft(1);
    expect(await supervised.files()).toContain("frontend.lock");
    await rm(supervised.stateDirectory, { recursive: true });
    const other = new FrontendLock(new OsFileSystem(), supervised.stateDirectory);
    await other.take();
    try {
      const error = { code: "failedPrecondition", message: expect.stringContaining("another frontend") };
      await expect(supervisor.startRaft(2)).rejects.toMatchObject(error);
      await supervisor.stopAll();
      expect([...(await supervised.pids()).keys()]).toEqual([0]);
    } finally {
      await other.release();
    }
  });

  test("a server that never serves: the error names it in time", async () => {
    await using supervised = await Supervised.create();
    supervised.plan({ mute: 1 });
    await expect((await supervised.supervisor({ startRaftMs: 1500 })).startRaft(2)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/^server [01] .*did not serve 127\.0\.0\.1:\d+ in time/),
    });
    expect((await supervised.pids()).size).toBe(0);
  });

  test.each([0, -1, 16, 1.5, 2 ** 60])(
    "I2: %d servers are refused, and nothing is touched",
    async (servers) => {
      await using supervised = await Supervised.create();
      await expect((await supervised.supervisor()).startRaft(servers)).rejects.toMatchObject({
        code: "invalidArgument",
      });
      expect(await Bun.file(join(supervised.stateDirectory, "cluster.json")).exists()).toBe(false);
    },
  );
});

describe("StartServer", () => {
  test("F3: a killed server stays dead until it is asked for, then has its state again", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    await supervisor.startRaft(2);
    const [survivor, victim] = [await supervised.pid(0), await supervised.pid(1)];
    const state = await readFile(join(supervised.stateDirectory, "server_1.json"), "utf8");
    process.kill(victim, "SIGKILL");
    // At once: the system may still list the process.
    await Promise.all([
      supervisor.startServer(1, null),
      supervisor.startServer(1, null),
      supervisor.startServer(0, null),
    ]);
    expect(await supervised.pid(1)).not.toBe(victim);
    expect(await supervised.pid(0)).toBe(survivor);
    expect(await readFile(join(supervised.stateDirectory, "server_1.json"), "utf8")).toBe(state);
    expect(() => process.kill(victim, 0)).toThrow("ESRCH");
  });

  test("a server that runs is left as it is, also one that is stopped", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    await supervisor.startRaft(2);
    const pids = [await supervised.pid(0), await supervised.pid(1)];
    process.kill(pids[1] ?? 0, "SIGSTOP");
    await supervisor.startServer(0, null);
    await supervisor.startServer(1, null);
    expect([await supervised.pid(0), await supervised.pid(1)]).toEqual(pids);
  });

  test("F2: a server whose state is gone does not start, and says why", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    await supervisor.startRaft(2);
    await supervised.kill(1);
    await rm(join(supervised.stateDirectory, "server_1.json"));
    await expect(supervisor.startServer(1, null)).rejects.toMatchObject({
      message: expect.stringMatching(/^server 1 ended with code 1: .*the server has no state$/),
    });
    expect([...(await supervised.pids()).keys()]).toEqual([0]);
  });

  test("I2: no id, or one without a port, gets a clear error", async () => {
    await using supervised = await Supervised.create();
    const supervisor = await supervised.supervisor();
    await expect(supervisor.startServer(0, null)).rejects.toMatchObject({ code: "noCluster" });
    await supervisor.startRaft(1);
    await expect(supervisor.startServer(65_535, null)).rejects.toMatchObject({
      code: "invalidArgument",
      message: expect.stringMatching(/^port \d+ of server 65535 does not exist: change base_port$/),
    });
    await expect(supervisor.startServer(-1, null)).rejects.toMatchObject({ code: "invalidArgument" });
    await expect(supervisor.startServer(2 ** 60, null)).rejects.toMatchObject({ code: "invalidArgument" });
  });
});

describe("another frontend before or after", () => {
  test("F4: takes the recorded cluster over as it is, and stops all of it", async () => {
    await using supervised = await Supervised.create();
    const earlier = await supervised.supervisor();
    await earlier.startRaft(3);
    await supervised.kill(1);
    const later = await supervised.supervisor();
    await later.adopt();
    expect(later.cluster).toEqual(earlier.cluster);
    expect([...(await supervised.pids()).keys()]).toEqual([0, 2]);
    await later.startServer(1, null);
    expect((await supervised.pids()).size).toBe(3);
    await later.stopAll();
    expect((await supervised.pids()).size).toBe(0);
  });

  test("without a record, takes over the cluster whose servers answer", async () => {
    await using supervised = await Supervised.create();
    const earlier = await supervised.supervisor();
    await earlier.startRaft(2);
    for (const name of ["cluster.json", "server_0.json", "server_1.json"]) {
      await rm(join(supervised.stateDirectory, name));
    }
    const later = await supervised.supervisor();
    await later.adopt();
    expect(later.cluster).toEqual(earlier.cluster);
    const record = await readClusterRecord(new OsFileSystem(), supervised.stateDirectory);
    const { clusterId } = defined(earlier.cluster, "a cluster");
    expect(record).toEqual({ state: "started", clusterId, members: initialConfiguration([0, 1]) });
  });

  test("P7: without a record and with nobody there, the state files tell the whole cluster, and it is recorded", async () => {
    await using supervised = await Supervised.create();
    const earlier = await supervised.supervisor();
    await earlier.startRaft(3);
    // A server that still serves does not know how many there are.
    for (const id of [1, 2]) await supervised.kill(id);
    for (const name of ["cluster.json", "server_2.json"]) await rm(join(supervised.stateDirectory, name));
    const later = await supervised.supervisor();
    await later.adopt();
    expect(later.cluster).toEqual(earlier.cluster);
    const record = await readClusterRecord(new OsFileSystem(), supervised.stateDirectory);
    expect(record).toMatchObject({ state: "started", members: initialConfiguration([0, 1, 2]) });
  });

  test("P10: state files of different clusters are refused in one line, and only StartRaft erases them", async () => {
    await using supervised = await Supervised.create();
    await (await supervised.supervisor()).startRaft(2);
    await (await supervised.supervisor()).stopAll();
    await supervised.processes.endAll(0);
    await rm(join(supervised.stateDirectory, "cluster.json"));
    const identity = { clusterId: "other", serverId: 1, members: initialConfiguration([0, 1]) };
    const file = encodeStateFile({
      identity,
      hardState: INITIAL_HARD_STATE,
      logReaches: null,
      installing: null,
    });
    await writeFile(join(supervised.stateDirectory, "server_1.json"), file);
    const files = await supervised.files();
    const later = await supervised.supervisor();
    const error: unknown = await later.adopt().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "failedPrecondition" });
    expect(String(error)).toMatch(/different clusters: [^\n]+$/);
    expect(await supervised.files()).toEqual(files);
    await later.startRaft(1);
    expect(later.cluster?.members).toHaveLength(1);
  });

  test("a start that was not finished is no cluster, whatever still runs", async () => {
    await using supervised = await Supervised.create();
    const earlier = await supervised.supervisor();
    await earlier.startRaft(1);
    const record = { state: "starting", clusterId: "half", members: initialConfiguration([0]) } as const;
    await writeClusterRecord(new OsFileSystem(), supervised.stateDirectory, record);
    const later = await supervised.supervisor();
    await later.adopt();
    expect(later.cluster).toBeNull();
    await later.startRaft(1);
    expect((await supervised.pids()).get(0)).toHaveLength(1);
  });

  test("with nothing there, there is no cluster", async () => {
    await using supervised = await Supervised.create();
    await (await supervised.supervisor()).adopt();
    expect(supervised.states).toEqual([{ kind: "none" }]);
  });

  test("F4: a server that takes no notice of SIGTERM is killed after a grace", async () => {
    await using supervised = await Supervised.create();
    supervised.plan({ deaf: 0 });
    const supervisor = await supervised.supervisor({ graceMs: 300 });
    await supervisor.startRaft(2);
    await supervisor.stopAll();
    expect((await supervised.pids()).size).toBe(0);
  });

  test("F4: stopping ends a start that is under way, and refuses later ones", async () => {
    await using supervised = await Supervised.create();
    supervised.plan({ mute: 0 });
    const supervisor = await supervised.supervisor();
    const start = supervisor.startRaft(2).catch((error: unknown) => error);
    await waitFor("a started process", async () => (await supervised.pids()).size > 0);
    await supervisor.stopAll();
    expect(await start).toMatchObject({ message: "the frontend is stopping" });
    expect((await supervised.pids()).size).toBe(0);
    await expect(supervisor.startServer(0, null)).rejects.toMatchObject({
      message: "the frontend is stopping",
    });
  });
});
