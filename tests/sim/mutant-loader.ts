/** Preloaded into a process of its own, it plants the bug that RAFTKV_MUTANT names. */
import { resolve } from "node:path";
import { mutate } from "./mutant.ts";
import { mutantNamed } from "./mutants.ts";

const mutant = mutantNamed(Bun.env["RAFTKV_MUTANT"] ?? "");
const path = resolve(import.meta.dir, "../..", mutant.file);

Bun.plugin({
  name: "planted bug",
  setup(build) {
    build.onLoad({ filter: /\/src\/.*\.ts$/ }, async (loaded) => {
      const source = await Bun.file(loaded.path).text();
      return { contents: loaded.path === path ? mutate(mutant, source) : source, loader: "ts" };
    });
  },
});
