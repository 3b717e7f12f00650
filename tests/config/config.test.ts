import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RaftKvError } from "../../src/base/errors.ts";
import { type Config, loadConfig, parseConfig, serverAddress, serverPort } from "../../src/config/config.ts";

const DEFAULTS: Config = {
  baseAddress: "127.0.0.1",
  basePort: 9001,
  stateDirectory: "raft_state",
  active: [0, 1, 2, 3, 4],
  raft: { tickMs: 10, heartbeatMs: 50, electionTimeoutMinMs: 150, electionTimeoutMaxMs: 300 },
  limits: {
    maxKeyBytes: 4096,
    maxValueBytes: 1_048_576,
    maxPendingProposals: 4096,
    maxPendingBytes: 67_108_864,
  },
  snapshot: { entries: 100_000, bytes: 16_777_216, keepEntries: 4096, transferBytesPerSecond: 67_108_864 },
  frontEnd: { port: 8001, requestTimeoutMs: 5000 },
  logLevel: "info",
};

/** The six keys, with other values for some of them (undefined: the key is left out), and more lines. */
function file(other: Readonly<Record<string, string | undefined>> = {}, more = ""): string {
  const values: Record<string, string | undefined> = {
    base_port: "9001",
    base_source_port: "7001",
    max_workers: "10",
    persistent_state_path: "raft_state",
    active: "0,1,2,3,4",
    ...other,
  };
  const { base_address = "127.0.0.1", ...servers } = values;
  const lines = Object.entries(servers).flatMap(([key, value]) =>
    value === undefined ? [] : `${key} = ${value}`,
  );
  return ["[Global]", `base_address = ${base_address}`, "[Servers]", ...lines, more].join("\n");
}

/** The message of the error that the text ends in. */
function refusal(text: string): string {
  try {
    parseConfig(text, "some/config.ini");
  } catch (error) {
    if (error instanceof RaftKvError && error.code === "invalidArgument") return error.message;
    throw error;
  }
  throw new Error("it was accepted");
}

describe("a valid file", () => {
  test("with the six keys alone it means the defaults", () => {
    expect(parseConfig(file(), "config.ini")).toEqual(DEFAULTS);
  });

  test("the file that comes with the program means the defaults", async () => {
    expect(await loadConfig(join(import.meta.dir, "../../config.ini"))).toEqual(DEFAULTS);
  });

  test("every key is read", () => {
    const more = `
      [Raft]
      tick_ms = 5
      heartbeat_ms = 25
      election_timeout_min_ms = 500
      election_timeout_max_ms = 1000
      [Limits]
      max_key_bytes = 65536
      max_value_bytes = 4194304
      max_pending_proposals = 1
      max_pending_bytes = 5000000
      [Snapshot]
      entries = 500
      bytes = 65536
      keep_entries = 0
      transfer_bytes_per_second = 65536
      [FrontEnd]
      port = 65535
      request_timeout_ms = 1
      [Log]
      level = debug`;
    const six = {
      base_address: "::1",
      base_port: "1",
      base_source_port: "2",
      persistent_state_path: "/x y",
      active: "7, 0",
    };
    expect(parseConfig(file(six, more), "config.ini")).toEqual({
      baseAddress: "::1",
      basePort: 1,
      stateDirectory: "/x y",
      active: [7, 0],
      raft: { tickMs: 5, heartbeatMs: 25, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 1000 },
      limits: {
        maxKeyBytes: 65_536,
        maxValueBytes: 4_194_304,
        maxPendingProposals: 1,
        maxPendingBytes: 5_000_000,
      },
      snapshot: { entries: 500, bytes: 65_536, keepEntries: 0, transferBytesPerSecond: 65_536 },
      frontEnd: { port: 65_535, requestTimeoutMs: 1 },
      logLevel: "debug",
    });
  });

  test("a state path of memory means the usual directory", () => {
    expect(parseConfig(file({ persistent_state_path: "memory" }), "config.ini").stateDirectory).toBe(
      "raft_state",
    );
  });

  test("addresses of either family are taken, and localhost", () => {
    for (const address of ["10.0.0.1", "0.0.0.0", "::1", "2001:db8::1", "::ffff:127.0.0.1", "localhost"]) {
      expect(parseConfig(file({ base_address: address }), "config.ini").baseAddress).toBe(address);
    }
  });
});

describe("a server's address", () => {
  test("is the base address and the base port plus the id", () => {
    const config = parseConfig(file({ base_port: "9101" }), "config.ini");
    expect(serverPort(config, 3)).toBe(9104);
    expect(serverAddress(config, 3)).toBe("127.0.0.1:9104");
    expect(serverAddress(parseConfig(file({ base_address: "localhost" }), "config.ini"), 0)).toBe(
      "localhost:9001",
    );
  });

  test("has brackets around an IPv6 address", () => {
    expect(serverAddress(parseConfig(file({ base_address: "::1" }), "config.ini"), 0)).toBe("[::1]:9001");
  });
});

describe("a bad value", () => {
  test("the line names the file, the section, the key, the value and what was expected", () => {
    expect(refusal(file({ base_port: "90o1" }))).toBe(
      'some/config.ini: [Servers] base_port = "90o1": expected an integer from 1 to 65535',
    );
  });

  test.each(["base_port", "base_source_port"])("%s is a port", (key) => {
    for (const value of [
      "",
      "0",
      "65536",
      "-1",
      "+1",
      "1.5",
      "1e3",
      "0x1F",
      "09001",
      "9001 9002",
      "true",
      "NaN",
    ]) {
      expect(refusal(file({ [key]: value }))).toStartWith(
        `some/config.ini: [Servers] ${key} = "${value}": expected an integer from 1 to 65535`,
      );
    }
  });

  test.each(["", "0", "-1", "ten", "1.5"])("max_workers is not %p", (value) => {
    expect(refusal(file({ max_workers: value }))).toContain(
      `[Servers] max_workers = "${value}": expected an integer`,
    );
  });

  test.each([
    "",
    ",",
    "0,",
    "0,,1",
    "0 1",
    "0,0",
    "0,1,0",
    "-1",
    "a",
    "1.5",
    "01",
    "65535",
    "99999999999999999999",
  ])("active is not %p", (value) => {
    expect(refusal(file({ active: value }))).toStartWith(
      `some/config.ini: [Servers] active = "${value}": expected distinct ids`,
    );
  });

  test.each([
    "",
    "[::1]",
    "127.0.0",
    "127.0.0.256",
    "1",
    "example.org",
    "127.0.0.1:9001",
    "http://127.0.0.1",
    "LOCALHOST",
  ])("base_address is not %p", (value) => {
    expect(refusal(file({ base_address: value }))).toStartWith(
      `some/config.ini: [Global] base_address = "${value}": expected an IPv4 address`,
    );
  });

  test("persistent_state_path is neither empty nor more than a line", () => {
    for (const value of ["", '"a\\nb"', '"a\\u0000"']) {
      expect(refusal(file({ persistent_state_path: value }))).toEndWith(": expected the path of a directory");
    }
  });

  test("none of the six keys may be missing", () => {
    for (const key of ["base_port", "base_source_port", "max_workers", "persistent_state_path", "active"]) {
      expect(refusal(file({ [key]: undefined }))).toStartWith(
        `some/config.ini: [Servers] ${key} is missing: expected `,
      );
    }
    const text = file().replace(/^base_address.*$/m, "");
    expect(refusal(text)).toStartWith(
      "some/config.ini: [Global] base_address is missing: expected an IPv4 address",
    );
    expect(refusal("")).toStartWith("some/config.ini: [Global] base_address is missing");
  });

  test("a key or section that nobody knows is refused", () => {
    expect(refusal(file({}, "[Raft]\ntick = 1"))).toBe(
      'some/config.ini: [Raft] tick = "1": expected one of the keys ' +
        "tick_ms, heartbeat_ms, election_timeout_min_ms, election_timeout_max_ms",
    );
    const sections = "[Global], [Servers], [Raft], [Limits], [Snapshot], [FrontEnd], [Log]";
    for (const [lines, place] of [
      ["[raft]\ntick_ms = 10", '[raft] tick_ms = "10"'],
      ["[Log.x]\nlevel = info", '[Log.x] level = "info"'],
      ["[__proto__]\nlevel = info", '[__proto__] level = "info"'],
    ] as const) {
      expect(refusal(file({}, lines))).toBe(
        `some/config.ini: ${place}: expected a key in one of ${sections}`,
      );
    }
    expect(refusal(`base_port = 1\n${file()}`)).toBe(
      `some/config.ini: base_port = "1": expected a key in one of ${sections}`,
    );
    expect(refusal(file({}, "active[] = 1"))).toContain(
      '[Servers] active[] = "1": expected one of the keys ',
    );
    expect(refusal(file({}, "__proto__ = 1"))).toContain(
      '[Servers] __proto__ = "1": expected one of the keys ',
    );
  });

  test("a key that stands twice is refused", () => {
    expect(refusal(file({}, "base_port = 9002"))).toBe(
      'some/config.ini: [Servers] base_port = "9002": expected every key once',
    );
  });

  test.each([
    ["Raft", "tick_ms", "0"],
    ["Raft", "tick_ms", "7"],
    ["Raft", "heartbeat_ms", "101"],
    ["Raft", "heartbeat_ms", "55"],
    ["Raft", "election_timeout_min_ms", "50"],
    ["Raft", "election_timeout_min_ms", "300"],
    ["Raft", "election_timeout_max_ms", "150"],
    ["Raft", "election_timeout_max_ms", "305"],
    ["Limits", "max_key_bytes", "65537"],
    ["Limits", "max_value_bytes", "4194305"],
    ["Limits", "max_pending_proposals", "0"],
    ["Limits", "max_pending_bytes", "1048576"],
    ["FrontEnd", "port", "65536"],
    ["FrontEnd", "request_timeout_ms", "0"],
    ["Log", "level", "INFO"],
    ["Log", "level", ""],
  ])("[%s] %s is not %p", (section, key, value) => {
    const message = refusal(file({}, `[${section}]\n${key} = ${value}`));
    expect(message).toStartWith(`some/config.ini: [${section}] `);
    expect(message).toContain(key);
    expect(message).toContain(value);
    expect(message).toContain(": expected ");
  });
});

describe("ports that collide", () => {
  test("an active server has no port above 65535", () => {
    expect(parseConfig(file({ base_port: "65531" }), "config.ini").basePort).toBe(65_531);
    expect(refusal(file({ base_port: "65532" }))).toBe(
      'some/config.ini: [Servers] base_port = "65532": ' +
        "expected at most 65531, so that every id in active (0,1,2,3,4) has a port",
    );
  });

  test("no server has the frontend's port", () => {
    for (const base of ["7997", "8000", "8001"]) {
      expect(refusal(file({ base_port: base }))).toStartWith(
        `some/config.ini: [Servers] base_port = "${base}": expected`,
      );
    }
    expect(refusal(file({ base_port: "8001", active: "3" }))).toContain("off 8001, the port of [FrontEnd]");
    expect(refusal(file({}, "[FrontEnd]\nport = 9003"))).toContain("off 9003, the port of [FrontEnd]");
    expect(parseConfig(file({ base_port: "8000", active: "0,2" }), "config.ini").basePort).toBe(8000);
  });

  test("the source port is nobody else's", () => {
    for (const value of ["9001", "9005", "8001"]) {
      expect(refusal(file({ base_source_port: value }))).toBe(
        `some/config.ini: [Servers] base_source_port = "${value}": ` +
          "expected a port other than the frontend's, 8001, and the servers', from 9001 on",
      );
    }
    expect(refusal(file({ base_source_port: "9001", active: "3" }))).toContain("base_source_port");
  });
});

describe("loading", () => {
  let directory = "";
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "raftkv-config-"));
  });
  afterAll(() => rm(directory, { recursive: true }));

  test("I2: a file that was named and is not there is refused in one line", async () => {
    const path = join(directory, "absent.ini");
    await expect(loadConfig(path)).rejects.toMatchObject({
      code: "io",
      message: `${path}: there is no such file: expected the settings`,
    });
  });

  test("a file is read", async () => {
    const path = join(directory, "read.ini");
    await writeFile(path, `\uFEFF${file({ base_port: "9101" })}`);
    expect((await loadConfig(path)).basePort).toBe(9101);
    expect(await readFile(path, "utf8")).toContain("9101");
  });

  test("an empty file lacks its keys", async () => {
    const path = join(directory, "empty.ini");
    await writeFile(path, "");
    await expect(loadConfig(path)).rejects.toThrow(`${path}: [Global] base_address is missing`);
  });

  test("a file that is not UTF-8 is refused", async () => {
    const path = join(directory, "latin1.ini");
    await writeFile(path, Buffer.from(file({ persistent_state_path: "\u00e9" }), "latin1"));
    await expect(loadConfig(path)).rejects.toThrow(`${path}: is not text: expected UTF-8`);
  });

  test("a path that cannot be read is refused", async () => {
    const error = await loadConfig(directory).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(RaftKvError);
    expect(error).toMatchObject({
      code: "io",
      message: expect.stringContaining(`${directory}: cannot be read: `),
    });
  });
});
