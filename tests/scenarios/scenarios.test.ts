/** One test a scenario; UPDATE_SCENARIOS=1 writes what comes of each into its file, to be read before it is kept. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readScenario, runScenario } from "./scenario.ts";

const mayUpdate = process.env["UPDATE_SCENARIOS"] === "1";

const files = readdirSync(import.meta.dir)
  .filter((file) => file.endsWith(".txt"))
  .toSorted();

for (const file of files) {
  const path = join(import.meta.dir, file);
  const scenario = readScenario(readFileSync(path, "utf8"));
  const name = `${scenario.covers}: ${scenario.title} (${file})`;
  if (scenario.pending !== null) {
    test.todo(`${name}, pending: ${scenario.pending}`);
    continue;
  }
  test(name, () => {
    const actual = runScenario(scenario);
    if (mayUpdate) writeFileSync(path, actual);
    else expect(actual).toBe(scenario.text);
  });
}
