/** Batches of writes, imports and exports against real servers, by the compiled executable. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { pairLine } from "../../src/cli/bulk/pair-line.ts";
import type { PutManyArgs } from "../../src/rpc/wire.ts";
import { encodeParts, encodeWrite } from "../../src/rpc/write-codec.ts";
import { Deployment, EXECUTABLE } from "./deployment.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(90_000);

const TIMEOUT_MS = 10_000;
const deployments: Deployment[] = [];

afterAll(async () => {
  for (const deployment of deployments) await deployment.close();
});

async function deploy(servers: number, extraConfig = ""): Promise<Deployment> {
  const deployment = await Deployment.create(extraConfig);
  deployments.push(deployment);
  await deployment.startFrontend("--start", String(servers));
  await deployment.leader(servers);
  return deployment;
}

/** Runs the executable in the deployment's directory; its JSON answer. */
async function run(deployment: Deployment, ...args: readonly string[]) {
  const child = Bun.spawn([EXECUTABLE, ...args, "--address", deployment.frontendAddress, "--json"], {
    cwd: deployment.directory,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, stdout] = await Promise.all([child.exited, child.stdout.text()]);
  const json: unknown = JSON.parse(stdout);
  return { exitCode, json };
}

function batch(
  writes: readonly (readonly [key: string, value: string])[],
  fields: Partial<PutManyArgs> = {},
) {
  return { writes: writes.map(([key, value]) => encodeWrite({ key, value })), ...fields };
}

const SERVED = { error: "", code: "OK" };

test("C1: a PutMany takes effect as a whole and once, through the frontend and at the leader itself", async () => {
  const cluster = await deploy(3);
  const { id: leaderId } = await cluster.leader(3);
  const follower = leaderId === 0 ? 1 : 0;
  const first = batch(
    [
      ["a", "1"],
      ["b", "1"],
      ["a", "2"],
    ],
    { clientId: 7, requestId: 1 },
  );
  expect(await cluster.frontend.call("PutMany", first, TIMEOUT_MS)).toMatchObject(SERVED);
  const direct = batch(
    [
      ["c", "3"],
      ["b", "3"],
    ],
    { clientId: 7, requestId: 2 },
  );
  expect(await cluster.server(leaderId).call("PutMany", direct, TIMEOUT_MS)).toMatchObject({ success: true });
  expect(await cluster.server(follower).call("PutMany", direct, TIMEOUT_MS)).toMatchObject({
    success: false,
    code: "NOT_LEADER",
    leaderId,
  });
  await cluster.put("b", "4");

  // Across a restart of all of them, at which the log is read back.
  await cluster.kill([0, 1, 2]);
  for (const id of [0, 1, 2]) expect((await cluster.startServer(id)).error).toBe("");
  const next = await cluster.leader(3);
  expect(await cluster.server(next.id).call("PutMany", direct, TIMEOUT_MS)).toMatchObject({ success: true });
  expect(await cluster.frontend.call("PutMany", first, TIMEOUT_MS)).toMatchObject(SERVED);
  for (const id of [0, 1, 2]) {
    await waitFor(`server ${id} has applied all of it`, async () => {
      const { lastApplied } = await cluster.status(id);
      return lastApplied === (await cluster.status(next.id)).lastApplied;
    });
    expect([
      await cluster.getOn(id, "a"),
      await cluster.getOn(id, "b"),
      await cluster.getOn(id, "c"),
    ]).toEqual(["2", "4", "3"]);
  }
});

test("I2: a batch that can never be served is refused by frontend and server, and nothing of it is done", async () => {
  const cluster = await deploy(1, "[Limits]\nmax_key_bytes = 8\nmax_value_bytes = 16");
  const good = encodeWrite({ key: "good", value: "v" });
  const wrong: readonly (readonly Buffer[])[] = [
    [],
    [good, encodeWrite({ key: "", value: "v" })],
    [good, encodeWrite({ key: "k".repeat(9), value: "v" })],
    [good, encodeWrite({ key: "k", value: "v".repeat(17) })],
    [good, encodeParts(Buffer.from("k"), Buffer.from([0xff]))],
    [good, Buffer.from([0x0a, 99])],
    Array.from({ length: 4097 }, () => good),
  ];
  const { lastLogIndex } = await cluster.status(0);
  for (const writes of wrong) {
    const routed = await cluster.frontend.call("PutMany", { writes }, TIMEOUT_MS);
    expect([routed.wrongLeader, routed.code, routed.error !== ""]).toEqual([false, "INVALID_ARGUMENT", true]);
    const { success, code, error } = await cluster.server(0).call("PutMany", { writes }, TIMEOUT_MS);
    expect([success, code, error !== ""]).toEqual([false, "INVALID_ARGUMENT", true]);
  }
  expect((await cluster.status(0)).lastLogIndex).toBe(lastLogIndex);
  expect(await cluster.get("good")).toBeNull();
});

/** What trips programs up, and the largest key and value. */
const AWKWARD: readonly (readonly [key: string, value: string])[] = [
  ["__proto__", "constructor"],
  ["constructor", ""],
  ["\0", "\n\r\n"],
  ["\n", '"quotes" and \\ backslashes'],
  ["\ud800", "\udc00\ud800"],
  ["🙂", "é 漢 \u2028\u2029\ufeff"],
  ["k".repeat(4096), "\u0001".repeat(1 << 20)],
];

test("I1: an export imported elsewhere is the same data, exactly, whatever it is", async () => {
  const cluster = await deploy(3);
  const plain = Array.from({ length: 5000 }, (_, n) => [`key ${n}`, `${n}`.padEnd(256, "v")] as const);
  const lines = [...AWKWARD, ...plain].map(([key, value]) => pairLine(key, value)).join("");
  await Bun.write(join(cluster.directory, "in.jsonl"), lines);
  const entries = AWKWARD.length + plain.length;
  expect(await run(cluster, "import", "in.jsonl")).toMatchObject({
    exitCode: 0,
    json: { ok: true, entries },
  });
  for (const [key, value] of AWKWARD) expect((await cluster.get(key)) === value).toBe(true);
  expect(await run(cluster, "export", "out.jsonl")).toMatchObject({
    exitCode: 0,
    json: { ok: true, entries },
  });
  const exported = await Bun.file(join(cluster.directory, "out.jsonl")).text();
  expect(exported.split("\n").toSorted()).toEqual(lines.split("\n").toSorted());

  const other = await deploy(1);
  await Bun.write(join(other.directory, "in.jsonl"), exported);
  expect(await run(other, "import", "in.jsonl")).toMatchObject({ exitCode: 0, json: { entries } });
  expect(await run(other, "export", "again.jsonl")).toMatchObject({ exitCode: 0, json: { entries } });
  const again = await Bun.file(join(other.directory, "again.jsonl")).text();
  expect(again.split("\n").toSorted()).toEqual(exported.split("\n").toSorted());
});

test("F7: an import goes on when the leader is killed, and the last line of each key wins", async () => {
  const cluster = await deploy(3);
  const keys = 300;
  const count = 60_000;
  const lines = Array.from({ length: count }, (_, n) =>
    pairLine(`k${(n * 7919) % keys}`, `${n}`.padEnd(200, ".")),
  );
  await Bun.write(join(cluster.directory, "in.jsonl"), lines.join(""));
  const importing = run(cluster, "import", "in.jsonl");
  await waitFor("it is under way", async () => (await cluster.get("k0")) !== null);
  const { id } = await cluster.leader(3);
  await cluster.kill([id]);
  expect(await importing).toMatchObject({ exitCode: 0, json: { ok: true, entries: count } });
  expect(await run(cluster, "export", "out.jsonl")).toMatchObject({ exitCode: 0, json: { entries: keys } });
  const exported = await Bun.file(join(cluster.directory, "out.jsonl")).text();
  const expected = lines.slice(-keys).map((line) => line.trimEnd());
  expect(exported.trimEnd().split("\n").toSorted()).toEqual(expected.toSorted());
});
