/** Loaded before the program (`bun --preload`), this plants a bug: a vote for a candidate whose log is behind. */
import { plugin } from "bun";
import { readFileSync } from "node:fs";

const RIGHT = "isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {";

plugin({
  name: "planted bug",
  setup(build) {
    build.onLoad({ filter: /src\/raft\/log\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      if (!text.includes(RIGHT)) throw new Error(`${path} is not what the planted bug was made for`);
      return {
        contents: text.replace(RIGHT, `${RIGHT}\n    if (lastIndex >= 0) return true;`),
        loader: "ts",
      };
    });
  },
});
