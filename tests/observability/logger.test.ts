import { describe, expect, test } from "bun:test";
import { join } from "node:path";

const LOGGER = join(import.meta.dir, "../../src/observability/logger.ts");

/** A process that imports the logger and then runs `code`. */
function script(code: string): string[] {
  return [
    process.execPath,
    "-e",
    `import { configureLogging, createLogger } from ${JSON.stringify(LOGGER)};\n${code}`,
  ];
}

/** What the process wrote to stderr, once it has ended as it should. */
async function stderrOf(code: string, exitCode = 0): Promise<string> {
  await using child = Bun.spawn(script(code), { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [errors, output] = await Promise.all([child.stderr.text(), child.stdout.text()]);
  expect(await child.exited).toBe(exitCode);
  expect(output).toBe("");
  return errors;
}

async function linesOf(code: string, exitCode = 0): Promise<Record<string, unknown>[]> {
  const lines = (await stderrOf(code, exitCode)).split("\n");
  expect(lines.pop()).toBe("");
  return lines.map((line) => JSON.parse(line));
}

describe("a process that logs", () => {
  test("writes one JSON object a line to stderr", async () => {
    const [line, ...more] = await linesOf(`
      configureLogging("info");
      createLogger("server", "storage").warn("torn {tail} cut off", { bytes: 17, tail: 1 });`);
    expect(more).toEqual([]);
    expect(line).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      level: "warn",
      logger: "server.storage",
      message: "torn {tail} cut off",
      fields: { bytes: 17, tail: 1 },
    });
  });

  test("loses nothing when it ends right after, even more than a pipe holds", async () => {
    const lines = await linesOf(
      `configureLogging("info");
      const logger = createLogger("test");
      for (let n = 0; n < 3000; n += 1) logger.info("x".repeat(100), { n });
      logger.error("y".repeat(200_000));
      process.exit(3);`,
      3,
    );
    expect(lines.length).toBe(3001);
    expect(lines.slice(0, 3000).map(({ fields }) => fields)).toEqual(
      Array.from({ length: 3000 }, (_, n) => ({ n })),
    );
    expect(lines.at(-1)).toMatchObject({ level: "error", message: "y".repeat(200_000) });
  });

  test("says what is at its level or above, and the last level set holds", async () => {
    const lines = await linesOf(`
      const logger = createLogger();
      const say = (when) => {
        for (const level of ["debug", "info", "warn", "error"]) logger[level](when + " " + level);
      };
      say("before");
      configureLogging("error");
      say("error:");
      configureLogging("debug");
      say("debug:");
      configureLogging("warn");
      say("warn:");`);
    expect(lines.map(({ message }) => message)).toEqual([
      "error: error",
      "debug: debug",
      "debug: info",
      "debug: warn",
      "debug: error",
      "warn: warn",
      "warn: error",
    ]);
    expect(new Set(lines.map(({ logger }) => logger))).toEqual(new Set(["raftkv"]));
  });

  test("goes on when nobody reads any more", async () => {
    await using child = Bun.spawn(
      script(`
        configureLogging("info");
        createLogger("test").info("first");
        for await (const _ of Bun.stdin.stream()) break;
        createLogger("test").info("second");
        process.stdout.write("alive");`),
      { stdin: "pipe", stdout: "pipe", stderr: "pipe" },
    );
    const reader = child.stderr.getReader();
    await reader.read();
    await reader.cancel();
    child.stdin.end();
    expect(await child.stdout.text()).toBe("alive");
    expect(await child.exited).toBe(0);
  });

  test("writes the short form to a terminal", async () => {
    const chunks: Uint8Array[] = [];
    const ended = Promise.withResolvers<void>();
    await using child = Bun.spawn(
      script(`configureLogging("info"); createLogger("test").info("hello", { n: 1 });`),
      {
        terminal: {
          data: (_terminal, chunk) => void chunks.push(chunk.slice()),
          exit: () => ended.resolve(),
        },
      },
    );
    expect(await child.exited).toBe(0);
    await ended.promise;
    expect(Buffer.concat(chunks).toString()).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} INFO {2}test {2}hello {2}n=1\r\n$/,
    );
  });
});
