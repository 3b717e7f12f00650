/** Preloaded into a process of its own, it plants the bug that RAFTKV_MUTANT names. */
import { relative, resolve } from "node:path";
import { filesOf, mutate } from "./mutant.ts";
import { mutantNamed } from "./mutants.ts";

const mutant = mutantNamed(Bun.env["RAFTKV_MUTANT"] ?? "");
const root = resolve(import.meta.dir, "../..");
const files = new Set(filesOf(mutant));

Bun.plugin({
  name: "planted bug",
  setup(build) {
    build.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      const source = await Bun.file(path).text();
      const file = relative(root, path);
      return { contents: files.has(file) ? mutate(mutant, file, source) : source, loader: "ts" };
    });
  },
});
