import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { runCommandLine } from "../../src/cli/command-line.ts";
import type { Answer } from "../../src/cli/result.ts";
import { raftkv } from "./raftkv-process.ts";
import { workingDirectory } from "./working-directory.ts";

setDefaultTimeout(30_000);

const SUBCOMMANDS = [
  "put",
  "get",
  "import",
  "export",
  "status",
  "start",
  "start-server",
  "replace",
  "transfer",
  "bench",
  "simulate",
  "version",
];
const MEMBER_SUBCOMMANDS = ["list", "add", "promote", "remove"];

/** A command line that is wrong, and what the one line about it must hold. */
const WRONG: readonly (readonly [args: string, says: string])[] = [
  ["--frobnicate", "unknown option --frobnicate"],
  ["-x", "unknown option -x"],
  ["--no-json", "unknown option --no-json"],
  ["--toString", "unknown option --toString"],
  ["--stateDir /tmp", "unknown option --stateDir"],
  ["frobnicate", 'unknown subcommand "frobnicate"'],
  ["toString", 'unknown subcommand "toString"'],
  ["--json extra", 'unexpected argument "extra"'],
  ["-- put k v", 'unexpected argument "put"'],
  ["--mode foo", '--mode must be frontend or server, not "foo"'],
  ["--mode", "--mode needs a value: frontend or server"],
  ["--mode= ", "--mode needs a value"],
  ["--config --json", "--config needs a value"],
  ["--json=yes", "--json takes no value"],
  ["--mode frontend --id 1", "--id is for --mode server only"],
  ["--rejoin 3", "--rejoin is for --mode server only"],
  ["--cluster-id x", "--cluster-id is for --mode server only"],
  ["--start 0", "--start must be a whole number from 1 to"],
  ["--start three", "--start must be a whole number from 1 to"],
  ["--mode server", "--mode server needs --id"],
  ["--mode server --id -1", '--id must be a whole number from 0 to 65534, not "-1"'],
  ["--mode server --id=-1", "--id must be a whole number"],
  ["--mode server --id 1.5", "--id must be a whole number"],
  ["--mode server --id 1e2", "--id must be a whole number"],
  ["--mode server --id 99999999999999999999", "--id must be a whole number"],
  ["--mode server --id 65000", "--id must be at most 56534"],
  ["--mode server --id 0 --id 1", "--id is given twice"],
  ["--mode server --id 0 --start 3", "--start is for --mode frontend only"],
  ["--mode server --id 0 --bootstrap 3", "--bootstrap and --cluster-id are given together"],
  ["--mode server --id 0 --bootstrap 3 --cluster-id a/b", "--cluster-id must be 1 to 64 letters"],
  ["--mode server --id 3 --bootstrap 3 --cluster-id a", "--id must be below --bootstrap"],
  ["--mode server --id 0 --rejoin 3", "--rejoin and --cluster-id are given together"],
  [
    "--mode server --id 0 --rejoin 3 --bootstrap 3 --cluster-id a",
    "--bootstrap and --rejoin contradict each other",
  ],
  ["--mode server --id 3 --rejoin 3 --cluster-id a", "--id must be below --rejoin"],
  ["--servers 127.0.0.1:9001 --start 3", "--servers are started by others, and --start starts them here"],
  ["--servers 127.0.0.1", "--servers must be the addresses of servers, as 10.0.0.1:9001,"],
  ["--servers 0=127.0.0.1:9001,0=127.0.0.1:9002", "--servers must be the addresses of servers"],
  ["--servers 0=127.0.0.1:9001,127.0.0.1:9002", "--servers must be the addresses of servers"],
  ["--mode server --id 0 --servers 127.0.0.1:9001", "--servers is for --mode frontend only"],
  ["put", "KEY is missing: raftkv put KEY VALUE"],
  ["put k", "VALUE is missing: raftkv put KEY VALUE"],
  ["put k v w", 'unexpected argument "w": raftkv put KEY VALUE'],
  ["put k -5", 'unknown option -5: "raftkv put --help" lists the options; write "--" before'],
  ["get", "KEY is missing: raftkv get KEY"],
  ["import", "FILE is missing: raftkv import FILE"],
  ["import a b", 'unexpected argument "b": raftkv import FILE'],
  ["export", "FILE is missing: raftkv export FILE"],
  ["export - --json", "--json and the keys would share stdout: name a file"],
  ["export - --force", "--force is for a file, and - is stdout"],
  ["get k --timeout abc", '--timeout must be seconds, above 0 and up to 3600, not "abc"'],
  ["get k --timeout -5", "--timeout must be seconds"],
  ["get k --timeout 0", "--timeout must be seconds"],
  ["get k --timeout 1e9", "--timeout must be seconds"],
  ["get k --timeout", "--timeout needs a value: --timeout SECONDS"],
  ["get k --address localhost", "--address must be host:port"],
  ["get k --address localhost:0", "--address must be host:port"],
  ["get k --address ::1:8001", "--address must be host:port"],
  ["get k --port 8001", "unknown option --port"],
  ["get k --consistency weak", '--consistency must be linearizable or local, not "weak"'],
  ["member", "no such subcommand of member: there are raftkv member list, add ID, promote ID and remove ID"],
  ["member frob", "no such subcommand of member"],
  ["member list extra", 'unexpected argument "extra": raftkv member list'],
  ["member add", "ID is missing: raftkv member add ID"],
  ["member add x", "ID must be a whole number from 0 to 65534"],
  ["member add 3 --at 10.0.0.1", "--at must be host:port where others reach it, such as 10.0.0.1:9001"],
  ["member add 3 --at 0.0.0.0:9001", "--at must be host:port where others reach it"],
  ["member promote", "ID is missing: raftkv member promote ID"],
  ["member remove -- -1", "ID must be a whole number from 0 to"],
  ["transfer 2", 'unexpected argument "2": raftkv transfer'],
  ["transfer --to two", "--to must be a whole number from 0 to"],
  ["status extra", 'unexpected argument "extra": raftkv status'],
  ["start", "SERVERS is missing: raftkv start SERVERS"],
  ["start 0", "SERVERS must be a whole number from 1 to"],
  ["start -1", "unknown option -1"],
  ["start -- -1", "SERVERS must be a whole number from 1 to"],
  ["start-server x", "ID must be a whole number from 0 to"],
  ["replace", "ID is missing: raftkv replace ID"],
  ["replace -- -1", "ID must be a whole number from 0 to"],
  ["bench 5", 'unexpected argument "5": raftkv bench'],
  ["bench --workload scan", '--workload must be put or get or mixed, not "scan"'],
  ["bench --reads 0.5", "--reads is for --workload mixed only"],
  ["bench --workload mixed --reads 1.5", '--reads must be a share from 0 to 1, as 0.9, not "1.5"'],
  ["bench --workload mixed --reads half", "--reads must be a share from 0 to 1"],
  ["bench --consistency local", "--consistency is for gets: add --workload get or --workload mixed"],
  ["bench --workload get --consistency weak", "--consistency must be linearizable or local"],
  ["bench --clients 0", "--clients must be a whole number from 1 to 100000"],
  ["bench --clients 4 --jobs 5", "--jobs must be at most --clients, which is 4, not 5"],
  ["bench --clients 4 --connections 5", "--connections must be at most --clients, which is 4, not 5"],
  ["bench --jobs 3 --connections 2", "--connections must be at least --jobs, which is 3"],
  ["bench --keys none", "--keys must be a whole number from 1 to"],
  ["bench --value-size 4194305", "--value-size must be a whole number from 0 to 4194304"],
  ["bench --duration 0", "--duration must be seconds, above 0 and up to 3600"],
  ["bench --duration 5 --count 10", "--count and --duration: give one, which ends the run"],
  ["bench --count 0", "--count must be a whole number from 1 to"],
  ["bench --warm-up -1", '--warm-up must be seconds, from 0 to 3600, not "-1"'],
  ["bench --rate 0", "--rate must be a whole number from 1 to"],
  ["bench --rate 1.5", "--rate must be a whole number from 1 to"],
  ["bench --seed x", "--seed must be a whole number from 0 to"],
  ["bench --timeout 0", "--timeout must be seconds, above 0"],
  ["bench --address 127.0.0.1", "--address must be host:port"],
  ["bench --servers 127.0.0.1", "--servers must be the addresses of servers"],
  ["bench --servers a:1 --address b:2", "--address is of a frontend, and --servers asks none"],
  ["simulate --seeds 0", "--seeds must be a whole number from 1 to"],
  ["simulate --jobs none", "--jobs must be a whole number from 1 to 256"],
  ["simulate --from -1", "--from must be a whole number from 0 to"],
  ["simulate --trace", "--trace needs --seed"],
  ["simulate --seed 1 --seeds 5", "--seeds does not go with --seed"],
  ["simulate --seed 1 --swarm 3", "--swarm must be a JSON object"],
  ["simulate --seed 1 --swarm {}x", "--swarm must be a JSON object"],
  ['simulate --seed 1 --swarm {"server":3}', "--swarm: "],
  ['simulate --seed 1 --swarm {"servers":0}', "--swarm: servers: "],
  ['simulate --seed 1 --swarm {"network":{"loss":2}}', "--swarm: network.loss: "],
  ['simulate --seed 1 --swarm {"network":null}', "--swarm: network: "],
  ["simulate 5", 'unexpected argument "5": raftkv simulate'],
  ["version --address 127.0.0.1:8001", "unknown option --address"],
];

async function answer(args: readonly string[]): Promise<Answer> {
  const result = await runCommandLine(args);
  if (result.kind !== "answer") throw new Error("the command line was accepted");
  return result;
}

test.each(WRONG)("I2: `raftkv %s` is refused with exit code 2 and one line", async (args, says) => {
  const { exitCode, output } = await answer(args.split(" "));
  expect(output.stderr).toContain(says);
  expect(output.stderr).toStartWith("raftkv: ");
  expect(output.stderr).not.toContain("\n");
  expect(output.stdout).toBeNull();
  expect(exitCode).toBe(2);
});

test("I2: an empty key is refused before anything is asked", async () => {
  for (const args of [
    ["get", ""],
    ["put", "", "v"],
  ]) {
    expect(await answer(args)).toMatchObject({
      exitCode: 2,
      output: { stderr: "raftkv: KEY must not be empty" },
    });
  }
});

test("a usage error leaves stdout empty and exits with 2; with --json it is one document on stdout", async () => {
  const plain = await raftkv(["get", "--frob", "k"]);
  expect(plain).toEqual({
    exitCode: 2,
    stdout: "",
    stderr: 'raftkv: unknown option --frob: "raftkv get --help" lists the options\n',
  });
  const json = await raftkv(["get", "--json"]);
  expect(json).toEqual({
    exitCode: 2,
    stdout: '{"error":{"code":"usage","message":"KEY is missing: raftkv get KEY"}}\n',
    stderr: "",
  });
});

test("--help of the program and of every subcommand prints its usage on stdout", async () => {
  const root = await raftkv(["--help"]);
  expect(root).toMatchObject({ exitCode: 0, stderr: "" });
  for (const name of SUBCOMMANDS) expect(root.stdout).toContain(`${name} `);
  expect(root.stdout).not.toContain("\u001B");
  expect(root.stdout).not.toContain("-worker");
  for (const name of SUBCOMMANDS) {
    for (const option of ["--help", "-h"]) {
      const { exitCode, output } = await answer([name, option]);
      expect(exitCode).toBe(0);
      expect(output.stdout).toContain(`raftkv ${name}`);
      expect(output.stdout).toContain("--json");
    }
  }
});

test("--help of member leads on to its subcommands", async () => {
  const { exitCode, output } = await answer(["member", "--help"]);
  expect(exitCode).toBe(0);
  for (const name of MEMBER_SUBCOMMANDS) {
    expect(Bun.stripANSI(String(output.stdout))).toContain(` ${name} `);
    const own = await answer(["member", name, "--help"]);
    expect(own.output.stdout).toContain(`raftkv member ${name}`);
  }
});

test("`help` is --help, also of a subcommand", async () => {
  expect(await answer(["help"])).toEqual(await answer(["--help"]));
  expect(await answer(["help", "put"])).toEqual(await answer(["put", "--help"]));
  expect((await answer(["help", "frobnicate"])).exitCode).toBe(2);
});

test("the version is one line, or one document", async () => {
  expect(await raftkv(["--version"])).toEqual({ exitCode: 0, stdout: "raftkv dev\n", stderr: "" });
  expect((await answer(["version"])).output.stdout).toBe("raftkv dev");
  expect((await answer(["version", "--json"])).output.json).toEqual({ version: "dev" });
});

test("a wrong config.ini is one line and exit code 1", async () => {
  const file = `${import.meta.dir}/raftkv-process.ts`;
  const { exitCode, stdout, stderr } = await raftkv(["--config", file]);
  expect([exitCode, stdout]).toEqual([1, ""]);
  expect(stderr).toStartWith(`raftkv: ${file}: `);
  expect(stderr.trimEnd()).not.toContain("\n");
});

test("without a config.ini the defaults hold; a named file that is not there is one line and exit code 1", async () => {
  const { directory, remove } = await workingDirectory();
  try {
    await rm(join(directory, "config.ini"));
    const byDefault = await raftkv(["--mode", "server", "--id", "65000"], { cwd: directory });
    expect(byDefault.stderr).toStartWith("raftkv: --id must be at most 56534");
    const named = await raftkv(["--config", "config.ini"], { cwd: directory });
    expect(named).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: "raftkv: config.ini: there is no such file: expected the settings\n",
    });
  } finally {
    await remove();
  }
});

/** How the program ends and what it says when its last argument is `arg` as printf(1) writes it. */
async function withBytes(words: readonly string[], arg: string): Promise<[number, string]> {
  const script = 'printed=$(printf "$1"); shift; exec "$@" "$printed" --address 127.0.0.1:1 --timeout 1';
  const main = resolve(import.meta.dir, "../../src/main.ts");
  const child = Bun.spawn(["sh", "-c", script, "sh", arg, process.execPath, main, ...words], {
    stdout: "ignore",
    stderr: "pipe",
  });
  const stderr = await child.stderr.text();
  return [await child.exited, stderr];
}

describe.if(process.platform === "linux")("arguments that are not UTF-8", () => {
  test.each(["\\377", "a\\303(", "\\355\\240\\200", "\\357\\277\\275\\200"])(
    "I1: %s is refused, never altered",
    async (arg) => {
      const says = "is not UTF-8 text: encode it, for example with base64\n";
      expect(await withBytes(["get"], arg)).toEqual([2, `raftkv: KEY ${says}`]);
      expect(await withBytes(["put", "k\uFFFD"], arg)).toEqual([2, `raftkv: VALUE ${says}`]);
    },
  );

  test("I1: a replacement character that was meant is text like any other", async () => {
    const [exitCode, stderr] = await withBytes(["put", "k\uFFFD"], "\uFFFD");
    expect(exitCode).toBe(1);
    expect(stderr).toContain("127.0.0.1:1");
  });
});
