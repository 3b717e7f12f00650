/** The house rules that a reader relies on: which layer may know which, and what the pure core must not touch. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const SOURCE = join(import.meta.dir, "../src");

const MAX_LINES = 500;

/** What each folder of src/ may import beside itself. A folder that is not here fails the test: give it its place. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  observability: ["base"],
  config: ["base", "observability"],
  raft: ["base"],
  kv: ["base"],
  storage: ["base", "raft", "kv"],
  node: ["base", "raft", "kv", "storage"],
  // The driver says what a transport is; rpc/ is the one over gRPC.
  rpc: ["base", "raft", "kv", "node"],
  server: ["base", "observability", "config", "raft", "kv", "storage", "node", "rpc"],
  frontend: ["base", "observability", "config", "raft", "kv", "storage", "rpc"],
  sim: ["base", "raft", "kv", "storage", "node"],
  cli: ["base", "observability", "config", "raft", "kv", "storage", "rpc", "server", "frontend", "sim"],
  "main.ts": ["base", "observability", "cli"],
};

/** In the core the same inputs give the same outputs: no clock, no chance, no I/O, nothing that comes later. */
const IMPURE =
  /\bDate\b|\bperformance\b|\bMath\.random\b|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bBun\b|\bprocess\b|\bconsole\b|\bfetch\b|\basync\b|\bawait\b|\bPromise\b|\bimport\(/;

/** The modules from outside that the core may use. */
const PURE_MODULES: Readonly<Record<string, readonly string[]>> = { raft: [], kv: ["node:crypto"] };

/** What time, chance and the machine are read with. Who does without them can be simulated. */
const TIME_OR_CHANCE =
  /\bDate\b|\bperformance\b|\bMath\.random\b|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bnextTick\b|\bBun\.(?:sleep|sleepSync|nanoseconds|randomUUIDv7)\b|\bcrypto\b|\brandom(?:Bytes|UUID|FillSync)\b|\bgetRandomValues\b/;

/** Where the world begins: these files and folders may read a clock or a random number, or set a timer. */
const EDGES: Readonly<Record<string, string>> = {
  "server/system-clock.ts": "the clock and the timers of a real server",
  "server/system-random.ts": "the chance of a real server: its election timeouts",
  "storage/os-file-system.ts": "real files",
  "rpc/": "deadlines of calls",
  "frontend/": "supervises real processes, routes within the caller's deadline, names clusters and calls",
  "cli/": "progress and speed of a campaign, a first seed at random",
  "observability/": "log lines tell the time",
  "main.ts": "the process and its signals",
};

/** These run in virtual time, so that one seed decides everything. */
const SIMULATED: ReadonlySet<string> = new Set(["base", "raft", "kv", "storage", "node", "sim"]);

/** The machine, which is not the same everywhere: what runs in virtual time reaches it through its edges. */
const MACHINE =
  /\bBun\b|(?<![.#])\bprocess\.(?!input\b|setTimer\b|kill\(\))|\bconsole\b|\bfetch\b|\bWorker\b/;

/** The modules from outside that may be used in virtual time: the same input, the same answer. */
const TIMELESS_MODULES: Readonly<Record<string, string>> = {
  "node:crypto": "hash alone; chance is looked for by name",
  "node:zlib": "crc32",
  zod: "checks shapes",
  "bun:jsc": "drainMicrotasks makes what was promised happen within the event that is simulated",
};

interface Module {
  /** Relative to src/. */
  readonly path: string;
  /** Its folder, or its own name at the top. */
  readonly layer: string;
  readonly text: string;
  readonly imports: readonly string[];
}

function readModules(): readonly Module[] {
  const paths = Array.from(new Bun.Glob("**/*.ts").scanSync(SOURCE)).toSorted();
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  return paths.map((path) => {
    const text = readFileSync(join(SOURCE, path), "utf8");
    // Types are imports too: the transpiler drops them, so they are looked for in the text.
    const written = Array.from(text.matchAll(/\bfrom\s+"([^"]+)"/g), ([, specifier]) => specifier ?? "");
    const scanned = transpiler.scanImports(text).map((found) => found.path);
    return { path, layer: layerOf(path), text, imports: [...new Set([...written, ...scanned])] };
  });
}

function layerOf(path: string): string {
  return path.split("/", 1)[0] ?? path;
}

/** The layer that a relative import reaches, or null for what lies outside src/. */
function targetLayer({ path }: Module, specifier: string): string | null {
  if (!specifier.startsWith(".")) return null;
  const target = join(path, "..", specifier);
  return target.startsWith("..") ? null : layerOf(target);
}

/** The code alone: words in comments and in texts are free. */
function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*|"(?:[^"\\\n]|\\.)*"/g, "");
}

function isEdge(path: string): boolean {
  return Object.keys(EDGES).some((edge) => path.startsWith(edge));
}

const modules = readModules();

test("imports go one way: base <- raft, kv <- storage <- node <- server, frontend <- cli", () => {
  const wrong = modules.flatMap((module) =>
    module.imports.flatMap((specifier) => {
      const target = targetLayer(module, specifier);
      const allowed =
        target === null || target === module.layer || MAY_IMPORT[module.layer]?.includes(target);
      return allowed === true ? [] : [`${module.path} imports ${specifier}`];
    }),
  );
  expect(wrong).toEqual([]);
});

test("every folder of src/ has its place among the layers", () => {
  const unknown = new Set(
    modules.map(({ layer }) => layer).filter((layer) => !Object.hasOwn(MAY_IMPORT, layer)),
  );
  expect([...unknown]).toEqual([]);
});

test("raft/ and kv/ are pure: no I/O, no clock, no chance, nothing asynchronous", () => {
  const wrong = modules.flatMap(({ path, layer, text, imports }) => {
    const pureModules = PURE_MODULES[layer];
    if (pureModules === undefined) return [];
    const outside = imports.filter((name) => !name.startsWith(".") && !pureModules.includes(name));
    const impure = IMPURE.exec(codeOf(text))?.[0];
    return [
      ...outside.map((name) => `${path} imports ${name}`),
      ...(impure === undefined ? [] : [`${path} uses ${impure}`]),
    ];
  });
  expect(wrong).toEqual([]);
});

test("only the edges read a clock or a random number, or set a timer", () => {
  const wrong = modules.flatMap(({ path, text }) => {
    if (isEdge(path)) return [];
    const found = TIME_OR_CHANCE.exec(codeOf(text))?.[0];
    return found === undefined ? [] : [`${path} uses ${found}`];
  });
  expect(wrong).toEqual([]);
});

test("what runs in virtual time reaches the machine only through its edges", () => {
  const simulated = modules.filter(({ path, layer }) => SIMULATED.has(layer) && !isEdge(path));
  const reached = simulated.flatMap(({ path, text }) => {
    const found = MACHINE.exec(codeOf(text))?.[0];
    return found === undefined ? [] : [`${path} uses ${found}`];
  });
  const imported = simulated.flatMap(({ path, imports }) =>
    imports
      .filter((name) => !name.startsWith(".") && !Object.hasOwn(TIMELESS_MODULES, name))
      .map((name) => `${path} imports ${name}`),
  );
  expect([...reached, ...imported]).toEqual([]);
});

test("every edge is there, and reads time, chance or the machine", () => {
  const idle = Object.keys(EDGES).filter(
    (edge) =>
      !modules.some(({ path, text }) => {
        const code = codeOf(text);
        return path.startsWith(edge) && (TIME_OR_CHANCE.test(code) || MACHINE.test(code));
      }),
  );
  expect(idle).toEqual([]);
});

test("relative imports name their file, and nothing is exported by default", () => {
  const wrong = modules.flatMap(({ path, text, imports }) => [
    ...imports
      .filter((name) => name.startsWith(".") && !/\.(ts|proto)$/.test(name))
      .map((name) => `${path}: ${name}`),
    ...(/^export default\b/m.test(text) ? [`${path}: export default`] : []),
  ]);
  expect(wrong).toEqual([]);
});

test(`no file is longer than ${MAX_LINES} lines`, () => {
  const long = modules.filter(({ text }) => text.split("\n").length - 1 > MAX_LINES).map(({ path }) => path);
  expect(long).toEqual([]);
});

test("only main.ts ends the process", () => {
  const others = modules.filter(
    ({ path, text }) => path !== "main.ts" && /\bprocess\.exit\b/.test(codeOf(text)),
  );
  expect(others.map(({ path }) => path)).toEqual([]);
});
