/** `raftkv bench` in processes of its own, against services in this one. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { defined } from "../../src/base/assert.ts";
import { RaftKvError } from "../../src/base/errors.ts";
import type { Handlers } from "../../src/rpc/rpc-server.ts";
import type { ClusterStatus, ServerStatus } from "../../src/rpc/wire.ts";
import { waitFor } from "../cluster/waiting.ts";
import { failureLine } from "./command-answer.ts";
import { fakeFrontend, freePort } from "./fake-frontend.ts";
import { fakeServer, serverStatus } from "./fake-server.ts";
import { childrenOf, isAlive } from "./process-family.ts";
import { raftkv, spawnRaftkv } from "./raftkv-process.ts";

setDefaultTimeout(60_000);

/** Nothing that is not measured, little that is. */
const SHORT = ["--warm-up", "0", "--clients", "8", "--keys", "50", "--timeout", "2"];

type FrontEndHandlers = Handlers<"FrontEnd">;

function clusterOf(servers: readonly ServerStatus[]): ClusterStatus {
  const members = servers.map((server) => ({
    id: server.id,
    address: "127.0.0.1:1",
    reachable: true,
    voter: true,
    server,
  }));
  return { clusterId: "cluster-a", members, version: "dev", error: "", code: "OK" };
}

/** A frontend that keeps what is put, and what it was asked. */
function storingFrontend(parts: Partial<FrontEndHandlers> = {}) {
  const store = new Map<string, string>();
  const puts: { readonly key: string; readonly value: string }[] = [];
  const handlers: Partial<FrontEndHandlers> = {
    Status: async () => clusterOf([serverStatus()]),
    Put: async ({ key, value }) => {
      store.set(key.toString(), value.toString());
      puts.push({ key: key.toString(), value: value.toString() });
      return {};
    },
    Get: async ({ key }) => {
      const value = store.get(key.toString());
      return value === undefined ? {} : { value: Buffer.from(value), found: true };
    },
    ...parts,
  };
  return { store, puts, handlers };
}

async function benchJson(...args: readonly string[]) {
  const { exitCode, stdout, stderr } = await raftkv(["bench", ...SHORT, "--json", ...args]);
  expect(stderr).toBe("");
  const json: Record<string, unknown> = JSON.parse(stdout);
  return { exitCode, json };
}

test("puts through a frontend: counted to the last, over all processes, keys and values as asked for", async () => {
  const { puts, handlers } = storingFrontend();
  await using frontend = await fakeFrontend(handlers);
  const args = ["--count", "301", "--jobs", "2", "--value-size", "32", "--address", frontend.address];
  const { exitCode, json } = await benchJson(...args);
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({
    settings: { workload: "put", jobs: 2, connections: 2, clients: 8, count: 301, durationMs: null },
    interrupted: false,
    operations: { answered: 301, failed: 0, puts: 301, gets: 0 },
    found: null,
    rate: null,
    errors: [],
    elections: { count: 0, leaders: [{ term: 2, leaderId: 1 }] },
    latency: { all: { count: 301 }, gets: null },
  });
  expect(puts).toHaveLength(301);
  expect(puts.every(({ key, value }) => /^bench\/\d{1,2}$/.test(key) && value.length === 32)).toBe(true);
  expect(new Set(puts.map(({ value }) => value)).size).toBeGreaterThan(250);
});

test("gets read keys that exist: they are written first", async () => {
  const consistencies = new Set<string>();
  const { store, puts, handlers } = storingFrontend();
  const Get: FrontEndHandlers["Get"] = async (request, context) => {
    consistencies.add(request.consistency);
    return defined(handlers.Get, "a Get")(request, context);
  };
  await using frontend = await fakeFrontend({ ...handlers, Get });
  const args = ["--workload", "get", "--consistency", "local", "--count", "200", "--jobs", "2"];
  const { exitCode, json } = await benchJson(...args, "--address", frontend.address);
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({ operations: { answered: 200, puts: 0, gets: 200 }, found: 1 });
  expect([store.size, puts.length]).toEqual([50, 50]);
  expect([...consistencies]).toEqual(["LOCAL"]);
});

test("a mixed run for a time, as text: both kinds have their row, and nothing is on stderr", async () => {
  const { handlers } = storingFrontend();
  await using frontend = await fakeFrontend(handlers);
  const args = ["--workload", "mixed", "--reads", "0.8", "--duration", "0.5", "--rate", "200"];
  const { exitCode, stdout, stderr } = await raftkv([
    "bench",
    ...SHORT,
    ...args,
    "--address",
    frontend.address,
  ]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout).toStartWith("80 % linearizable gets, the rest puts, through the frontend at 127.0.0.1:");
  expect(stdout).toMatch(/^throughput {3}\d+ \/s: \d+ operations in 0\.5 s$/m);
  expect(stdout).toMatch(/^schedule {5}asked 200 \/s, achieved \d+ \/s, at most \d/m);
  expect(stdout).toMatch(/^found {8}100 %/m);
  expect(stdout).toMatch(/^puts {2,}\d/m);
  expect(stdout).toMatch(/^gets {2,}\d/m);
});

test("I3: errors are counted by what the wire calls them, and the rest is measured", async () => {
  let call = 0;
  const { handlers } = storingFrontend({
    Put: async () => {
      call += 1;
      if (call % 4 === 0) return { error: "too many", code: "OVERLOADED" };
      if (call % 10 === 1) throw new RaftKvError("unknownOutcome", "lost");
      return {};
    },
  });
  await using frontend = await fakeFrontend(handlers);
  const { exitCode, json } = await benchJson("--count", "200", "--address", frontend.address);
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({
    operations: { answered: 130, failed: 70 },
    errors: [
      { error: "OVERLOADED", count: 50, example: "too many" },
      { error: "grpc:DEADLINE_EXCEEDED", count: 20 },
    ],
  });
});

test("a run in which nothing succeeds says so and exits with 1", async () => {
  const { handlers } = storingFrontend({ Put: async () => ({ wrongLeader: true, error: "no leader" }) });
  await using frontend = await fakeFrontend(handlers);
  const { exitCode, json } = await benchJson("--count", "20", "--address", frontend.address);
  expect(exitCode).toBe(1);
  expect(json).toMatchObject({
    operations: { answered: 0, failed: 20 },
    perSecond: 0,
    latency: { all: null },
    errors: [{ error: "UNAVAILABLE", count: 20, example: "no leader" }],
  });
});

test("an election during the run is seen", async () => {
  const { handlers, puts } = storingFrontend({
    Status: async () => clusterOf([serverStatus(puts.length > 20 ? { id: 2, term: 4 } : {})]),
  });
  await using frontend = await fakeFrontend(handlers);
  const { json } = await benchJson("--duration", "4", "--rate", "20", "--address", frontend.address);
  expect(json["elections"]).toMatchObject({
    count: 2,
    leaders: [
      { term: 2, leaderId: 1 },
      { term: 4, leaderId: 2 },
    ],
  });
});

test("Ctrl-C: what was measured by then is told, the exit code is 130, and no worker is left", async () => {
  const { puts, handlers } = storingFrontend();
  await using frontend = await fakeFrontend(handlers);
  const args = ["--duration", "600", "--jobs", "2", "--rate", "500"];
  const child = spawnRaftkv(["bench", ...SHORT, ...args, "--address", frontend.address]);
  await waitFor("puts", () => puts.length > 50);
  const workers = await childrenOf(child.pid);
  expect(workers).toHaveLength(2);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await child.stdout.text()).toMatch(/^interrupted: [^]*^throughput +\d+ \/s: [1-9]\d* operations/m);
  await waitFor("the workers to be gone", () => !workers.some(isAlive));
});

test("Ctrl-C while keys are written: nothing was measured, and that is told with what was under way", async () => {
  let asked = 0;
  const Put: FrontEndHandlers["Put"] = () => {
    asked += 1;
    return new Promise(() => {});
  };
  const { handlers } = storingFrontend({ Put });
  await using frontend = await fakeFrontend(handlers);
  const args = ["--workload", "get", "--clients", "8", "--keys", "8", "--timeout", "600", "--json"];
  const child = spawnRaftkv(["bench", ...args, "--address", frontend.address]);
  await waitFor("puts", () => asked === 8);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  const json = JSON.parse(await child.stdout.text());
  expect(json).toMatchObject({
    interrupted: true,
    operations: { answered: 0, failed: 0 },
    unanswered: { calls: 8 },
  });
});

test("Ctrl-C while the cluster is looked for: nothing is waited for", async () => {
  let asked = false;
  const Status: FrontEndHandlers["Status"] = () => {
    asked = true;
    return new Promise(() => {});
  };
  await using frontend = await fakeFrontend({ Status });
  const child = spawnRaftkv(["bench", "--timeout", "600", "--address", frontend.address]);
  await waitFor("a question", () => asked);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await child.stdout.text()).toMatch(/^interrupted: [^]*^throughput +0 \/s: 0 operations/m);
});

test("a benchmark that is killed leaves no worker; a worker that is killed ends it with one clear line", async () => {
  const { puts, handlers } = storingFrontend();
  await using frontend = await fakeFrontend(handlers);
  const args = ["--duration", "600", "--rate", "100", "--address", frontend.address];
  for (const killed of ["the benchmark", "the worker"]) {
    puts.length = 0;
    const child = spawnRaftkv(["bench", ...SHORT, ...args]);
    await waitFor("puts", () => puts.length > 0);
    const [worker] = await childrenOf(child.pid);
    const pid = defined(worker, "a worker");
    process.kill(killed === "the worker" ? pid : child.pid, "SIGKILL");
    await child.exited;
    if (killed === "the worker") {
      expect(child.exitCode).toBe(1);
      expect(await child.stderr.text()).toBe("raftkv: a process that makes the load was ended by SIGKILL\n");
    }
    await waitFor("the worker to be gone", () => !isAlive(pid));
  }
});

test("without a cluster there is one clear line", async () => {
  const nobody = `127.0.0.1:${await freePort()}`;
  expect(await failureLine(["bench", "--address", nobody])).toBe(
    `no frontend answers at ${nobody}: start one with "raftkv"`,
  );
  expect(await failureLine(["bench", "--servers", nobody])).toBe(`no server answers at ${nobody}`);
  await using empty = await fakeFrontend({ Status: async () => ({ clusterId: "" }) });
  expect(await failureLine(["bench", "--address", empty.address])).toStartWith("no cluster:");
  expect(await failureLine(["bench", "--servers", empty.address])).toBe(
    `${empty.address} is not a server: give a frontend's address with --address`,
  );
});

/** Servers 0 and 1 of one cluster, which count what they are asked. The term says who leads: 0 in even ones. */
async function fakePair() {
  const asked = { puts: [0, 0], gets: [0, 0] };
  const state = { term: 2, handOverAfter: Infinity };
  const ports = [await freePort(), await freePort()];
  const members = ports.map((port, id) => ({ id, address: `127.0.0.1:${port}`, voter: true }));
  const serve = (id: 0 | 1) =>
    fakeServer(
      {
        Status: async () => {
          const role = state.term % 2 === id ? "leader" : "follower";
          return serverStatus({ id, role, term: state.term, members });
        },
        Put: async () => {
          asked.puts[id] = (asked.puts[id] ?? 0) + 1;
          if (state.term === 2 && (asked.puts[0] ?? 0) > state.handOverAfter) state.term = 3;
          const leaderId = state.term % 2;
          return leaderId === id
            ? { success: true }
            : { error: "not the leader", code: "NOT_LEADER", leaderId };
        },
        Get: async ({ arg }) => {
          asked.gets[id] = (asked.gets[id] ?? 0) + 1;
          return { key: arg, value: arg, found: true };
        },
      },
      ports[id],
    );
  const servers = [await serve(0), await serve(1)];
  return {
    asked,
    state,
    addresses: members.map(({ address }) => address),
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}

test("at the servers themselves, puts go to the leader whoever is named, and follow it", async () => {
  await using pair = await fakePair();
  pair.state.handOverAfter = 100;
  const { exitCode, json } = await benchJson("--count", "300", "--servers", defined(pair.addresses[1], "1"));
  expect(exitCode).toBe(0);
  const refused = (pair.asked.puts[0] ?? 0) - 100;
  expect(refused).toBeGreaterThan(0);
  expect(refused).toBeLessThanOrEqual(8);
  expect(pair.asked.puts[1]).toBe(200 - refused);
  expect(json).toMatchObject({
    operations: { answered: 300 - refused, failed: refused },
    errors: [{ error: "NOT_LEADER", count: refused, example: "not the leader" }],
    elections: { count: 1, leaders: [{ leaderId: 0 }, { leaderId: 1 }] },
  });
});

test("at the servers themselves, local gets go to all in turn, linearizable ones to the leader", async () => {
  await using pair = await fakePair();
  const args = ["--workload", "get", "--count", "200", "--servers", pair.addresses.join(",")];
  await benchJson(...args, "--consistency", "local");
  expect(pair.asked).toEqual({ puts: [50, 0], gets: [100, 100] });
  await benchJson(...args);
  expect(pair.asked).toEqual({ puts: [100, 0], gets: [300, 100] });
});

test("--servers that are not whom they are said to be are refused", async () => {
  await using pair = await fakePair();
  const [first, second] = pair.addresses;
  expect(await failureLine(["bench", "--servers", `0=${second},1=${first}`])).toBe(
    `at ${second} is server 1, not server 0`,
  );
  await using stranger = await fakeServer({ Status: async () => serverStatus({ id: 7, clusterId: "b" }) });
  expect(await failureLine(["bench", "--servers", `${first},${stranger.address}`])).toBe(
    "the servers are of different clusters: name those of one",
  );
});
