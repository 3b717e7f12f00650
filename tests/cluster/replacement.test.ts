import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Deployment, EXECUTABLE } from "./deployment.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(120_000);

const WRITERS = 8;

let cluster: Deployment;
let writing: Writing | null = null;

beforeEach(async () => {
  // So few entries that a server which has lost its log can be caught up by a snapshot alone.
  cluster = await Deployment.create("[Snapshot]\nentries = 200\nkeep_entries = 20\n");
  await cluster.startFrontend();
  await cluster.startRaft(3);
});

afterEach(async () => {
  await writing?.stop();
  writing = null;
  await cluster.close();
});

/** Clients that put until they are stopped, each key once; what was acknowledged. */
class Writing {
  readonly acknowledged: string[] = [];
  readonly #stop = new AbortController();
  readonly #writers: Promise<unknown>;

  constructor() {
    this.#writers = Promise.all(Array.from({ length: WRITERS }, (_, writer) => this.#write(writer)));
  }

  async more(count: number): Promise<void> {
    const goal = this.acknowledged.length + count;
    await waitFor(`${count} more writes`, () => this.acknowledged.length >= goal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#writers;
  }

  async #write(writer: number): Promise<void> {
    for (let i = 0; !this.#stop.signal.aborted; i += 1) {
      const key = `${writer}-${i}`;
      await cluster.put(key, key, 5000).then(
        () => this.acknowledged.push(key),
        () => null,
      );
    }
  }
}

/** Runs `raftkv replace`; its exit code, and what it said. */
async function replace(id: number): Promise<{ readonly code: number; readonly says: string }> {
  const child = Bun.spawn([EXECUTABLE, "replace", String(id), "--address", cluster.frontendAddress], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, says: stdout + stderr };
}

function follower(leaderId: number): number {
  return (leaderId + 1) % 3;
}

async function hasCaughtUp(id: number, leaderId: number): Promise<boolean> {
  const goal = (await cluster.status(leaderId)).commitIndex;
  await waitFor(`server ${id} has entry ${goal}`, async () => (await cluster.status(id)).lastApplied >= goal);
  return true;
}

/** What a server says in its state file. */
async function hardState(id: number): Promise<{ currentTerm: number; abstainsThrough?: number }> {
  return Bun.file(join(cluster.stateDirectory, `server_${id}.json`)).json();
}

describe("a server that lost its disk", () => {
  test("P9: under puts, it is refused, replaced, caught up, and votes again; nothing is lost", async () => {
    const puts = (writing = new Writing());
    await puts.more(600);
    const before = await cluster.leader(3);
    const lost = follower(before.id);
    await cluster.signal(lost, "SIGKILL");
    for (const name of [`server_${lost}`, `server_${lost}.json`]) {
      await rm(join(cluster.stateDirectory, name), { recursive: true });
    }
    expect((await cluster.startServer(lost)).error).toContain(`server ${lost}`);
    expect(cluster.pids(lost)).toEqual([]);

    expect(await replace(lost)).toEqual({
      code: 0,
      says: `server ${lost} has been replaced and catches up; it had left no files\n`,
    });
    await puts.more(300);
    const leader = await cluster.leader(3);
    expect(leader.term).toBeGreaterThan(before.term);
    await hasCaughtUp(lost, leader.id);
    await waitFor("it votes again", async () => (await hardState(lost)).abstainsThrough === undefined);

    // Only with its vote and its disk do the last two make a majority.
    await cluster.signal(leader.id, "SIGKILL");
    await puts.more(300);
    await puts.stop();
    for (const key of puts.acknowledged) expect(await cluster.get(key)).toBe(key);
    expect((await cluster.leader(3)).id).not.toBe(leader.id);
  });

  test("P4, P9: it refuses a damaged log, is replaced with its old files kept, and is then a server like any other", async () => {
    const puts = (writing = new Writing());
    await puts.more(100);
    const { id: leaderId } = await cluster.leader(3);
    const lost = follower(leaderId);
    await cluster.signal(lost, "SIGKILL");
    const stateFile = join(cluster.stateDirectory, `server_${lost}.json`);
    await Bun.write(stateFile, "garbage");
    expect((await cluster.startServer(lost)).error).toContain(`server_${lost}.json`);
    expect((await replace(leaderId)).says).toContain(`server ${leaderId} runs: stop it first`);

    const { code, says } = await replace(lost);
    expect([code, says]).toEqual([0, expect.stringContaining("its old files are in ")]);
    const aside = (await readdir(cluster.stateDirectory)).find((name) => name.includes(".replaced-")) ?? "";
    expect(await Bun.file(join(cluster.stateDirectory, aside, `server_${lost}.json`)).text()).toBe("garbage");
    expect(await readdir(join(cluster.stateDirectory, aside, `server_${lost}`))).not.toEqual([]);

    // Killed as soon as it serves: what is on disk is enough to go on from.
    await cluster.signal(lost, "SIGKILL");
    expect((await cluster.startServer(lost)).error).toBe("");
    await waitFor("it votes again", async () => (await hardState(lost)).abstainsThrough === undefined);
    await puts.stop();
    await hasCaughtUp(lost, (await cluster.leader(3)).id);
    for (const key of puts.acknowledged) expect(await cluster.getOn(lost, key)).toBe(key);
  });

  test("P9: replaced one right after the other, each waits until the one before votes again; nothing is lost", async () => {
    const puts = (writing = new Writing());
    await puts.more(300);
    for (const id of [0, 1, 2]) {
      await cluster.signal(id, "SIGKILL");
      let answer = await replace(id);
      if (answer.code !== 0) {
        expect(answer.says).toContain(
          `server ${id - 1} was replaced and has not caught up yet: wait, then try again`,
        );
        // Without it there may be no leader to catch up with: the one before cannot vote for one.
        expect((await cluster.startServer(id)).error).toBe("");
        await waitFor(`server ${id - 1} votes again`, async () => !(await cluster.status(id - 1)).abstains);
        await cluster.signal(id, "SIGKILL");
        answer = await replace(id);
      }
      expect(answer).toEqual({ code: 0, says: expect.stringContaining("its old files are in ") });
    }
    await puts.more(300);
    await puts.stop();
    for (const key of puts.acknowledged) expect(await cluster.get(key)).toBe(key);
    await waitFor("server 2 votes again", async () => !(await cluster.status(2)).abstains);
  });

  test("P9: without all the others it is not replaced, and nothing is changed", async () => {
    const { id: leaderId } = await cluster.leader(3);
    const [lost, other] = [follower(leaderId), (leaderId + 2) % 3];
    await cluster.signal(lost, "SIGKILL");
    await cluster.signal(other, "SIGKILL");
    const { code, says } = await replace(lost);
    expect([code, says]).toEqual([
      1,
      expect.stringContaining(`server ${other} does not answer: nothing was changed`),
    ]);
    expect((await cluster.startServer(lost)).error).toBe("");
    expect((await cluster.startServer(other)).error).toBe("");
    await cluster.put("k", "v");
  });
});
