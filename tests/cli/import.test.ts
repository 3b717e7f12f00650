import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { pairLine } from "../../src/cli/bulk/pair-line.ts";
import type { PutManyArgs, WireReply } from "../../src/rpc/wire.ts";
import { decodeWrite, spanOf } from "../../src/rpc/write-codec.ts";
import { answerOf, failureLine } from "./command-answer.ts";
import { fakeFrontend, freePort } from "./fake-frontend.ts";
import { fakeServer } from "./fake-server.ts";
import { raftkv, spawnRaftkv } from "./raftkv-process.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

setDefaultTimeout(30_000);

/** A frontend that keeps what it gets, but for what `refuse` refuses. */
async function keeper(refuse: (args: PutManyArgs) => Promise<Partial<WireReply> | null> = async () => null) {
  const store = new Map<string, string>();
  const frontend = await fakeFrontend({
    async PutMany(args) {
      const refusal = await refuse(args);
      if (refusal !== null) return refusal;
      for (const bytes of args.writes) {
        const write = decodeWrite(bytes, spanOf(bytes));
        if (write !== null) store.set(write.key, write.value);
      }
      return { code: "OK" };
    },
  });
  return { store, ...frontend };
}

function lines(count: number, keys = count): string {
  return Array.from({ length: count }, (_, n) => pairLine(`k${n % keys}`, `v${n}`.padEnd(100, "."))).join("");
}

async function fileOf(directory: string, text: string | Uint8Array): Promise<string> {
  const file = join(directory, "data.jsonl");
  await Bun.write(file, text);
  return file;
}

test("every line takes effect, and of several with one key the last one counts", async () => {
  await using directory = await temporaryDirectory();
  await using frontend = await keeper();
  const file = await fileOf(directory.path, lines(20_000, 3000));
  const { exitCode, output } = await answerOf(["import", file, "--address", frontend.address]);
  expect(exitCode).toBe(0);
  expect(output.stdout).toMatch(
    new RegExp(`^imported 20,000 entries from ${file} in \\d+\\.\\d s, [\\d,]+ /s$`),
  );
  expect(output.json).toMatchObject({ ok: true, file, entries: 20_000 });
  expect(frontend.store.size).toBe(3000);
  for (const n of [0, 1999, 2000, 2999]) {
    const last = n < 2000 ? n + 18_000 : n + 15_000;
    expect(frontend.store.get(`k${n}`)).toBe(`v${last}`.padEnd(100, "."));
  }
});

test("I1: awkward keys and values arrive as they are, from stdin as well", async () => {
  await using frontend = await keeper();
  const texts = ["__proto__", "\0", "\n", '"', "\ud800", "🙂", "\u2028", "x".repeat(300_000)];
  const stdin = `${texts.map((text) => pairLine(text, text)).join("\n")}\r\n{"value":"","key":"empty"}`;
  const { exitCode, stdout, stderr } = await raftkv(
    ["import", "-", "--address", frontend.address, "--json"],
    { stdin },
  );
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, file: "-", entries: texts.length + 1 });
  expect(frontend.store).toEqual(new Map([...texts.map((text) => [text, text] as const), ["empty", ""]]));
});

test("an empty file is imported", async () => {
  await using directory = await temporaryDirectory();
  await using frontend = await keeper();
  const file = await fileOf(directory.path, "\n\n");
  expect(await answerOf(["import", file, "--address", frontend.address])).toMatchObject({
    exitCode: 0,
    output: { json: { ok: true, entries: 0 } },
  });
});

test("I2: a line that is wrong stops the import after all before it, and is named with what was expected", async () => {
  await using directory = await temporaryDirectory();
  await using frontend = await keeper();
  const file = await fileOf(directory.path, `${lines(5000)}\n{"key":"k"}\n${lines(10)}`);
  const expected = `${file}:5002: expected {"key":"…","value":"…"}, but "value" is missing; 5,000 entries were acknowledged, all before it`;
  const { exitCode, output } = await answerOf(["import", file, "--address", frontend.address]);
  expect([exitCode, output.stderr]).toEqual([1, `raftkv: ${expected}`]);
  expect(output.json).toEqual({ error: { code: "invalidArgument", message: expected }, entries: 5000 });
  expect([frontend.store.size, frontend.store.get("k9")]).toEqual([5000, "v9".padEnd(100, ".")]);

  await fileOf(directory.path, Buffer.concat([Buffer.from(lines(1)), Buffer.from([0xff, 0x0a])]));
  expect(await failureLine(["import", file, "--address", frontend.address])).toBe(
    `${file}:2: expected {"key":"…","value":"…"}, but it is not UTF-8 text; 1 entry was acknowledged, all before it`,
  );
});

test("I2: a write that the cluster refuses is named by its line", async () => {
  await using directory = await temporaryDirectory();
  await using frontend = await keeper(async () => ({
    code: "INVALID_ARGUMENT",
    error: "write 2 of the batch: the key has 9 bytes: at most 8 are allowed",
  }));
  const file = await fileOf(directory.path, `\n${pairLine("k", "1")}\n${pairLine("k", "2")}`);
  expect(await failureLine(["import", file, "--address", frontend.address])).toBe(
    `${file}:4: the key has 9 bytes: at most 8 are allowed; 0 entries were acknowledged`,
  );
});

test("C2: a batch of which nobody knows what became ends the import, which says so and how much was done", async () => {
  await using directory = await temporaryDirectory();
  let batches = 0;
  await using frontend = await keeper(async () =>
    ++batches > 3
      ? { wrongLeader: true, code: "UNKNOWN_OUTCOME", error: "outcome unknown: no answer" }
      : null,
  );
  const file = await fileOf(directory.path, lines(40_000));
  const { exitCode, output } = await answerOf(["import", file, "--address", frontend.address]);
  expect(exitCode).toBe(1);
  const { entries } = output.json as { readonly entries: number };
  expect(entries).toBe(frontend.store.size);
  expect(output.stderr).toBe(
    `raftkv: ${file}: outcome unknown: no answer; ${entries.toLocaleString("en")} entries were acknowledged; to be sure of the others import it again`,
  );
  expect(output.json).toMatchObject({ error: { code: "unknownOutcome" } });
});

test("C2: a refusal does not hide that nobody knows what became of another batch", async () => {
  await using directory = await temporaryDirectory();
  const refused = Promise.withResolvers<void>();
  let batches = 0;
  await using frontend = await keeper(async () => {
    batches += 1;
    if (batches === 1) {
      await refused.promise;
      return { wrongLeader: true, code: "UNKNOWN_OUTCOME", error: "outcome unknown: no answer" };
    }
    // The refusal is there before the other answer.
    setTimeout(refused.resolve, 200);
    return { code: "FAILED_PRECONDITION", error: "it is not served" };
  });
  const file = await fileOf(directory.path, lines(100));
  expect(await failureLine(["import", file, "--address", frontend.address])).toBe(
    `${file}: it is not served; 0 entries were acknowledged; to be sure of the others import it again`,
  );
});

test("I3: a batch that finds the cluster overloaded is sent again after a while, and given up in time", async () => {
  await using directory = await temporaryDirectory();
  let refusals = 3;
  await using frontend = await keeper(async () =>
    refusals-- > 0 ? { code: "OVERLOADED", error: "try again later" } : null,
  );
  const file = await fileOf(directory.path, lines(10));
  const args = ["import", file, "--address", frontend.address];
  expect((await answerOf(args)).exitCode).toBe(0);
  expect(frontend.store.size).toBe(10);
  refusals = Infinity;
  expect(await failureLine([...args, "--timeout", "0.3"])).toContain(
    "try again later; 0 entries were acknowledged",
  );
});

test("what cannot be read, and who does not answer, is one line each", async () => {
  await using directory = await temporaryDirectory();
  const nobody = ["--address", `127.0.0.1:${await freePort()}`];
  const none = join(directory.path, "none");
  expect(await failureLine(["import", none, ...nobody])).toBe(`${none}: there is no such file`);
  expect(await failureLine(["import", directory.path, ...nobody])).toContain("is a directory: name a file");
  const file = await fileOf(directory.path, lines(1));
  expect(await failureLine(["import", file, ...nobody])).toContain("no frontend answers at");
  await using server = await fakeServer({});
  expect(await failureLine(["import", file, "--address", server.address])).toContain(
    "is not a frontend, or one of an older version",
  );
});

test("an import that is interrupted says how much was done, and the exit code that it was", async () => {
  const got = Promise.withResolvers<void>();
  await using frontend = await keeper(async () => {
    got.resolve();
    return new Promise(() => {});
  });
  const child = spawnRaftkv(["import", "-", "--address", frontend.address], { stdin: lines(10) });
  await got.promise;
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await child.stderr.text()).toBe(
    "raftkv: stdin: interrupted; 0 entries were acknowledged; to be sure of the others import it again\n",
  );
});
