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
  cli: ["base", "observability", "config", "rpc", "server", "frontend", "sim"],
  "main.ts": ["base", "observability", "cli"],
};

/** In the core the same inputs give the same outputs: no clock, no chance, no I/O, nothing that comes later. */
const IMPURE =
  /\bDate\b|\bperformance\b|\bMath\.random\b|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bBun\b|\bprocess\b|\bconsole\b|\bfetch\b|\basync\b|\bawait\b|\bPromise\b|\bimport\(/;

/** The modules from outside that the core may use. */
const PURE_MODULES: Readonly<Record<string, readonly string[]>> = { raft: [], kv: ["node:crypto"] };

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
