import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Supervisor } from "../../src/frontend/supervisor.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { waitFor } from "../cluster/waiting.ts";
import { Supervised } from "./supervised.ts";

setDefaultTimeout(90_000);

/** A cluster of three whose server 1 is dead and has a log. */
async function withDeadServer(supervised: Supervised, servers = 3): Promise<Supervisor> {
  const supervisor = await supervised.supervisor();
  await supervisor.startRaft(servers);
  await supervised.kill(1);
  await mkdir(join(supervised.stateDirectory, "server_1"));
  await writeFile(join(supervised.stateDirectory, "server_1/log-0000000000000001.jsonl"), "old");
  return supervisor;
}

/** Refused with a message that matches, and every file as it was. */
async function expectRefused(
  supervised: Supervised,
  call: () => Promise<unknown>,
  says: RegExp,
): Promise<void> {
  const files = await supervised.files();
  await expect(call()).rejects.toMatchObject({
    code: "failedPrecondition",
    message: expect.stringMatching(says),
  });
  expect(await supervised.files()).toEqual(files);
}

test("P9: a dead server is replaced under its id, and its old files are kept where nothing looks for them", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withDeadServer(supervised);
  const stateFile = await readFile(join(supervised.stateDirectory, "server_1.json"), "utf8");
  const others = [await supervised.pid(0), await supervised.pid(2)];
  const aside = await supervisor.replaceServer(1);
  expect(aside).toStartWith(join(supervised.stateDirectory, "server_1.replaced-"));
  expect(await readdir(aside ?? "")).toEqual(["server_1", "server_1.json"]);
  expect(await readFile(join(aside ?? "", "server_1.json"), "utf8")).toBe(stateFile);
  expect(await readFile(join(aside ?? "", "server_1/log-0000000000000001.jsonl"), "utf8")).toBe("old");
  expect(await supervised.files()).not.toContain("server_1");
  expect([await supervised.pid(0), await supervised.pid(2)]).toEqual(others);
  const pid = await supervised.pid(1);
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8");
  expect(commandLine.split("\0").join(" ")).toContain(
    `--rejoin 3 --cluster-id ${supervisor.cluster?.clusterId}`,
  );
  // The next frontend knows the cluster and none of the old files.
  const later = await supervised.supervisor();
  await later.adopt();
  expect(later.cluster).toEqual(supervisor.cluster);
});

test("P9: a server that has no files left is replaced as well", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withDeadServer(supervised);
  expect(await supervisor.replaceServer(1)).toStartWith("/");
  await supervised.kill(1);
  await new OsFileSystem().removeFile(join(supervised.stateDirectory, "server_1.json"));
  expect(await supervisor.replaceServer(1)).toBeNull();
  expect((await supervised.pids()).size).toBe(3);
});

test("F5: a server that runs is not replaced, nor one that is stopped or just being started", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withDeadServer(supervised);
  const replace = (id: number) => () => supervisor.replaceServer(id);
  await expectRefused(supervised, replace(0), /^server 0 runs: stop it first/);
  process.kill(await supervised.pid(2), "SIGSTOP");
  await expectRefused(supervised, replace(2), /^server 2 runs/);
  process.kill(await supervised.pid(2), "SIGCONT");
  supervised.plan({ held: [1] });
  const start = supervisor.startServer(1, null);
  await waitFor("the process", async () => (await supervised.pids()).has(1));
  await expectRefused(supervised, replace(1), /^server 1 runs/);
  await writeFile(join(supervised.stateDirectory, "go"), "");
  await start;
});

test("P9: while another server does not answer nothing is replaced, and the error names it", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withDeadServer(supervised);
  await supervised.kill(2);
  await expectRefused(
    supervised,
    () => supervisor.replaceServer(1),
    /and server 2 does not answer: nothing was changed$/,
  );
  expect([...(await supervised.pids()).keys()]).toEqual([0]);
});

test("P9: while another server has not caught up nothing is replaced, but that one may be replaced again", async () => {
  await using supervised = await Supervised.create();
  supervised.plan({ abstaining: 2 });
  const supervisor = await withDeadServer(supervised);
  const says =
    /^server 1 cannot be replaced: server 2 was replaced and has not caught up yet: wait, then try again; if there is no leader, start server 1 with its old files first$/;
  await expectRefused(supervised, () => supervisor.replaceServer(1), says);
  await supervised.release();
  await supervisor.replaceServer(1);
  supervised.plan({ abstaining: 1 });
  await supervised.kill(1);
  await supervisor.replaceServer(1);
});

test("P9: in a cluster of two nobody can vouch for what a lost disk held", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withDeadServer(supervised, 2);
  await expectRefused(
    supervised,
    () => supervisor.replaceServer(1),
    /^server 1 cannot be replaced: in a cluster of 2/,
  );
});

test("P10: a server whose files another process holds is not replaced", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withDeadServer(supervised);
  const path = join(supervised.stateDirectory, "server_1/lock");
  const lock = await new OsFileSystem().lock(path);
  try {
    await expectRefused(
      supervised,
      () => supervisor.replaceServer(1),
      /another process holds it; stop server 1 first$/,
    );
  } finally {
    await lock?.release();
  }
});

test("I2: an id outside the cluster, or no cluster at all, gets a clear error", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await supervised.supervisor();
  await expect(supervisor.replaceServer(0)).rejects.toMatchObject({ code: "noCluster" });
  await supervisor.startRaft(3);
  await expect(supervisor.replaceServer(3)).rejects.toMatchObject({ code: "failedPrecondition" });
  await expect(supervisor.replaceServer(-1)).rejects.toMatchObject({ code: "invalidArgument" });
});

test("F2: a replacement that cannot be launched says where the old files are as well", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withDeadServer(supervised);
  const log = join(supervised.stateDirectory, "server_1.log");
  await rm(log);
  await mkdir(log);
  await expect(supervisor.replaceServer(1)).rejects.toMatchObject({
    code: "io",
    message: expect.stringMatching(
      /^raftserver2 cannot be started, .+; its old files are in \/\S+server_1\.replaced-\S+$/,
    ),
  });
});

test("F2: a replacement that does not start says why, and where the old files are", async () => {
  await using supervised = await Supervised.create();
  const supervisor = await withDeadServer(supervised);
  supervised.plan({ failing: 1 });
  await expect(supervisor.replaceServer(1)).rejects.toMatchObject({
    code: "failedPrecondition",
    message: expect.stringMatching(
      /^server 1 ended with code 1: server 1 was told to fail; its old files are in \/\S+server_1\.replaced-\S+$/,
    ),
  });
  supervised.plan({});
  expect(await supervisor.replaceServer(1)).toBeNull();
});
