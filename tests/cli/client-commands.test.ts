import { expect, setDefaultTimeout, test } from "bun:test";
import { encodeText } from "../../src/rpc/text.ts";
import type { ClusterStatus, KeyValue, ServerStatus } from "../../src/rpc/wire.ts";
import { fakeFrontend, freePort } from "./fake-frontend.ts";
import { raftkv } from "./raftkv-process.ts";

setDefaultTimeout(30_000);

function server(id: number, role: string, term: number): ServerStatus {
  return {
    id,
    clusterId: "c1",
    role,
    term,
    commitIndex: 12,
    lastApplied: 12,
    lastLogIndex: 13,
    snapshotIndex: 5 * id,
    firstLogIndex: 1,
    diskFull: id === 0,
    abstains: id === 3,
    keys: 4,
    pid: 4000 + id,
    version: "dev",
    members: [],
    configurationIndex: 0,
  };
}

const CLUSTER: ClusterStatus = {
  clusterId: "c1",
  version: "dev",
  error: "",
  code: "OK",
  members: [
    { id: 0, address: "127.0.0.1:9001", voter: true, reachable: true, server: server(0, "leader", 2) },
    { id: 1, address: "127.0.0.1:9002", voter: true, reachable: true, server: server(1, "leader", 3) },
    { id: 2, address: "127.0.0.1:9003", voter: true, reachable: false, server: null },
    { id: 3, address: "127.0.0.1:9004", voter: false, reachable: true, server: server(3, "follower", 3) },
  ],
};

test("put sends exactly the key and the value, also those that begin with a dash", async () => {
  const puts: KeyValue[] = [];
  await using frontend = await fakeFrontend({
    async Put(request) {
      puts.push(request);
      return {};
    },
  });
  const at = ["--address", frontend.address];
  const plain = await raftkv(["put", "greeting", "hello wörld", ...at]);
  const dashed = await raftkv(["put", ...at, "--", "-k", "-"]);
  const empty = await raftkv(["put", "empty", "", ...at, "--json"]);

  expect(plain).toEqual({ exitCode: 0, stdout: "OK\n", stderr: "" });
  expect(dashed).toEqual({ exitCode: 0, stdout: "OK\n", stderr: "" });
  expect(empty.stdout).toBe('{"ok":true,"key":"empty"}\n');
  expect(puts.map(({ key, value }) => [key.toString(), value.toString()])).toEqual([
    ["greeting", "hello wörld"],
    ["-k", "-"],
    ["empty", ""],
  ]);
});

test("I1: put reads a value from stdin less one newline, and get prints a value and one newline", async () => {
  const values = new Map<string, Buffer>();
  await using frontend = await fakeFrontend({
    async Put({ key, value }) {
      values.set(key.toString(), Buffer.from(value));
      return {};
    },
    async Get({ key }) {
      return { found: true, value: values.get(key.toString()) ?? Buffer.of() };
    },
  });
  const at = ["--address", frontend.address];
  for (const text of ["", "a\nb\n", 'quote " and \0 and 🎉', "x".repeat(1_000_000)]) {
    expect((await raftkv(["put", "k", "-", ...at], { stdin: `${text}\n` })).exitCode).toBe(0);
    expect(values.get("k")?.toString()).toBe(text);
    expect((await raftkv(["get", "k", ...at])).stdout).toBe(`${text}\n`);
  }
  const binary = await raftkv(["put", "k", "-", ...at], { stdin: Uint8Array.of(0xff, 0xfe) });
  expect(binary.exitCode).toBe(1);
  expect(binary.stderr).toContain("not UTF-8");
});

test("I1: get --json is exact for every string", async () => {
  const value = '__proto__ "\n\0 🎉 \ud800';
  await using frontend = await fakeFrontend({ Get: async () => ({ found: true, value: encodeText(value) }) });
  const { stdout, exitCode } = await raftkv(["get", "k", "--json", "--address", frontend.address]);
  expect(JSON.parse(stdout)).toEqual({ key: "k", found: true, value });
  expect(exitCode).toBe(0);
});

test("C4: get of a missing key exits with 1 and prints nothing on stdout; an empty value exits with 0", async () => {
  await using frontend = await fakeFrontend({
    Get: async ({ key }) => ({ found: key.toString() === "empty" }),
  });
  const at = ["--address", frontend.address];
  const missing = await raftkv(["get", "nope", ...at]);
  expect(missing).toEqual({ exitCode: 1, stdout: "", stderr: 'no such key: "nope"\n' });
  const missingJson = await raftkv(["get", "nope", "--json", ...at]);
  expect(missingJson).toEqual({
    exitCode: 1,
    stdout: '{"key":"nope","found":false,"value":null}\n',
    stderr: "",
  });
  expect(await raftkv(["get", "empty", ...at])).toEqual({ exitCode: 0, stdout: "\n", stderr: "" });
});

test("status shows who leads in the highest term, who cannot be reached, has no vote, or was replaced and is behind", async () => {
  await using frontend = await fakeFrontend({ Status: async () => CLUSTER });
  const table = await raftkv(["status", "--address", frontend.address]);
  expect(table.exitCode).toBe(0);
  expect(table.stdout).toBe(`cluster c1, leader 1

ID  ADDRESS         ROLE                              TERM  COMMIT  APPLIED  SNAPSHOT  KEYS   PID
 0  127.0.0.1:9001  leader, disk full                    2      12       12         -     4  4000
 1  127.0.0.1:9002  leader *                             3      12       12         5     4  4001
 2  127.0.0.1:9003  unreachable                          -       -        -         -     -     -
 3  127.0.0.1:9004  follower, non-voter, catching up     3      12       12        15     4  4003
`);
  const document: unknown = JSON.parse(
    (await raftkv(["status", "--json", "--address", frontend.address])).stdout,
  );
  expect(document).toMatchObject({
    clusterId: "c1",
    leaderId: 1,
    members: [
      { id: 0, reachable: true, role: "leader", term: 2, pid: 4000, snapshotIndex: 0, diskFull: true },
      { id: 1, reachable: true, role: "leader", term: 3, pid: 4001, snapshotIndex: 5, diskFull: false },
      { id: 2, reachable: false, role: null, term: null, pid: null, snapshotIndex: null, diskFull: null },
      { id: 3, reachable: true, voter: false, role: "follower", diskFull: false, abstains: true },
    ],
  });
});

test("status without a cluster fails and says how to start one", async () => {
  await using frontend = await fakeFrontend({ Status: async () => ({}) });
  const { exitCode, stdout, stderr } = await raftkv(["status", "--address", frontend.address]);
  expect([exitCode, stdout]).toEqual([1, ""]);
  expect(stderr).toBe('raftkv: no cluster: start one with "raftkv start 3"\n');
});

test("status while the cluster is looked for does not say to start one", async () => {
  const error = "the cluster is being started or looked for";
  await using frontend = await fakeFrontend({ Status: async () => ({ error, code: "UNAVAILABLE" }) });
  expect(await raftkv(["status", "--address", frontend.address])).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: `raftkv: ${error}\n`,
  });
});

test("start and start-server pass their number on and report the frontend's answer", async () => {
  const args: number[] = [];
  await using frontend = await fakeFrontend({
    async StartRaft({ arg }) {
      args.push(arg);
      return {};
    },
    StartServer: async ({ arg }) => ({
      error: `server ${arg} is not in the cluster`,
      code: "FAILED_PRECONDITION",
    }),
  });
  const at = ["--address", frontend.address];
  expect(await raftkv(["start", "5", ...at])).toMatchObject({
    exitCode: 0,
    stdout: "a cluster of 5 servers is serving\n",
  });
  expect(args).toEqual([5]);
  const refused = await raftkv(["start-server", "7", ...at]);
  expect(refused).toEqual({ exitCode: 1, stdout: "", stderr: "raftkv: server 7 is not in the cluster\n" });
  const json = await raftkv(["start-server", "7", "--json", ...at]);
  expect(json.exitCode).toBe(1);
  expect(json.stdout).toBe(
    '{"error":{"code":"failedPrecondition","message":"server 7 is not in the cluster"}}\n',
  );
  expect(json.stderr).toBe("");
});

test("replace says where the old files are, or why nothing was done", async () => {
  await using frontend = await fakeFrontend({
    ReplaceServer: async ({ arg }) => {
      if (arg === 2) return { error: "server 2 runs: stop it first", code: "FAILED_PRECONDITION" };
      return { value: encodeText(arg === 1 ? "/state/server_1.replaced-now" : "") };
    },
  });
  const at = ["--address", frontend.address];
  const kept =
    "server 1 has been replaced and catches up; its old files are in /state/server_1.replaced-now\n";
  expect(await raftkv(["replace", "1", ...at])).toEqual({ exitCode: 0, stdout: kept, stderr: "" });
  const without = await raftkv(["replace", "0", "--json", ...at]);
  expect(without).toEqual({ exitCode: 0, stdout: '{"ok":true,"id":0,"oldFiles":null}\n', stderr: "" });
  const refused = await raftkv(["replace", "2", ...at]);
  expect(refused).toEqual({ exitCode: 1, stdout: "", stderr: "raftkv: server 2 runs: stop it first\n" });
});

test("C2: a put whose outcome is unknown is not reported as failed for certain", async () => {
  const reply = {
    wrongLeader: true,
    error: "outcome unknown: it may still take effect",
    code: "UNKNOWN_OUTCOME",
  } as const;
  await using frontend = await fakeFrontend({ Put: async () => reply });
  const { exitCode, stdout } = await raftkv(["put", "k", "v", "--json", "--address", frontend.address]);
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toEqual({ error: { code: "unknownOutcome", message: reply.error } });
});

test("a frontend that knows no codes is understood by its error alone", async () => {
  await using frontend = await fakeFrontend({ Get: async () => ({ wrongLeader: true, error: "no leader" }) });
  const { exitCode, stdout } = await raftkv(["get", "k", "--json", "--address", frontend.address]);
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toEqual({ error: { code: "unavailable", message: "no leader" } });
});

test("no frontend, a frontend that does not answer, and one that is none: each says what to do next", async () => {
  const nobody = `127.0.0.1:${await freePort()}`;
  const refused = await raftkv(["get", "k", "--address", nobody]);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toBe(`raftkv: no frontend answers at ${nobody}: start one with "raftkv"\n`);

  await using frontend = await fakeFrontend({ Put: () => new Promise(() => {}) });
  const silent = await raftkv(["put", "k", "v", "--timeout", "0.3", "--address", frontend.address]);
  expect(silent.exitCode).toBe(1);
  expect(silent.stderr).toContain("within 0.3 s: the call may still take effect");
  expect(silent.stderr.trimEnd()).not.toContain("\n");

  const broken = await fakeFrontend({
    Put: () => {
      void broken[Symbol.asyncDispose]();
      return new Promise(() => {});
    },
  });
  const cut = await raftkv(["put", "k", "v", "--timeout", "20", "--address", broken.address]);
  expect(cut.stderr).toContain("broke before the answer came: the call may still take effect");
});

test("get reads linearizably unless it is told that an old value will do", async () => {
  const asked: string[] = [];
  await using frontend = await fakeFrontend({
    async Get({ consistency }) {
      asked.push(consistency);
      return { found: true };
    },
  });
  const at = ["--address", frontend.address];
  await raftkv(["get", "k", ...at]);
  await raftkv(["get", "k", "--consistency", "linearizable", ...at]);
  await raftkv(["get", "k", "--consistency=local", ...at]);
  expect(asked).toEqual(["LINEARIZABLE", "LINEARIZABLE", "LOCAL"]);
});

test("member list shows who belongs to the cluster and who of them votes", async () => {
  await using frontend = await fakeFrontend({ Status: async () => CLUSTER });
  const at = ["--address", frontend.address];
  const table = await raftkv(["member", "list", ...at]);
  expect(table).toEqual({
    exitCode: 0,
    stderr: "",
    stdout: `ID  ADDRESS         VOTER  STATE
 0  127.0.0.1:9001  yes    runs
 1  127.0.0.1:9002  yes    leads
 2  127.0.0.1:9003  yes    unreachable
 3  127.0.0.1:9004  no     runs
`,
  });
  const json: unknown = JSON.parse((await raftkv(["member", "list", "--json", ...at])).stdout);
  expect(json).toMatchObject({
    clusterId: "c1",
    leaderId: 1,
    members: [{ id: 0 }, { id: 1 }, { id: 2 }, { id: 3, voter: false, reachable: true }],
  });
});

test("member add, promote and remove pass on what they are told, and say what has become of it", async () => {
  const asked: unknown[] = [];
  const note = async (request: unknown) => {
    asked.push(request);
    return {};
  };
  await using frontend = await fakeFrontend({
    AddMember: note,
    PromoteMember: note,
    RemoveMember: async ({ arg }) => ({
      error: `server ${arg} is the only voter`,
      code: "FAILED_PRECONDITION",
    }),
  });
  const at = ["--address", frontend.address];
  expect(await raftkv(["member", "add", "3", ...at])).toEqual({
    exitCode: 0,
    stdout: "server 3 belongs to the cluster now, as a voter\n",
    stderr: "",
  });
  const nonVoter = await raftkv(["member", "add", "4", "--at", "db-5:9001", "--non-voter", "--json", ...at]);
  expect(nonVoter.stdout).toBe('{"ok":true,"id":4,"voter":false}\n');
  expect((await raftkv(["member", "promote", "4", ...at])).stdout).toBe("server 4 is a voter now\n");
  expect(await raftkv(["member", "remove", "0", ...at])).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: "raftkv: server 0 is the only voter\n",
  });
  expect(asked).toEqual([
    { id: 3, address: "", nonVoter: false },
    { id: 4, address: "db-5:9001", nonVoter: true },
    { arg: 4 },
  ]);
});

test("transfer says who leads then, server 0 being one like any other", async () => {
  const asked: (number | undefined)[] = [];
  await using frontend = await fakeFrontend({
    async TransferLeadership({ to }) {
      asked.push(to);
      return { value: Buffer.from(String(to ?? 2)) };
    },
  });
  const at = ["--address", frontend.address];
  expect((await raftkv(["transfer", ...at])).stdout).toBe("server 2 leads now\n");
  expect((await raftkv(["transfer", "--to", "0", "--json", ...at])).stdout).toBe(
    '{"ok":true,"leaderId":0}\n',
  );
  expect(asked).toEqual([undefined, 0]);
});

test("transfer --to fails when another server has won", async () => {
  await using frontend = await fakeFrontend({
    TransferLeadership: async () => ({ value: Buffer.from("1") }),
  });
  expect(await raftkv(["transfer", "--to", "2", "--address", frontend.address])).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: "raftkv: server 1 leads now, not server 2: retry\n",
  });
});
