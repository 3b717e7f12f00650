/**
 * Breaks real processes and real files for a long time: `bun tests/cluster/torture.ts [PART…] [--rounds N]
 * [--seed N]`, or `make torture`. It prints what is asked and what was measured, and exits with 1 when an
 * acknowledged write is lost, an answer is wrong, or a number falls short.
 */
import { parseArgs } from "node:util";
import { Random } from "../../src/sim/random.ts";
import { NumberTable } from "../bench/number-table.ts";
import { crashPoints } from "./crash-points.ts";
import { damageFiles } from "./damage.ts";
import { fillDisks } from "./disk-full.ts";
import { killAll } from "./kill-all.ts";
import { CAN_MOUNT } from "./small-disk.ts";

type Part = (table: NumberTable, rounds: number, random: Random) => Promise<void>;

const PARTS: Readonly<Record<string, { readonly rounds: number; readonly run: Part }>> = {
  "kill-all": { rounds: 200, run: measureKillAll },
  damage: { rounds: 500, run: measureDamage },
  "disk-full": { rounds: 20, run: measureDiskFull },
  "crash-points": { rounds: 100, run: measureCrashPoints },
};

async function measureKillAll(table: NumberTable, rounds: number, random: Random): Promise<void> {
  const result = await killAll(rounds, random);
  const { acknowledged, unknown, reads, complaints } = result;
  const counts = `${acknowledged} acknowledged, ${unknown} unknown, ${reads} reads`;
  table.add({
    what: `kill -9 of all servers under load, ${result.rounds} times`,
    asked: "0 lost or wrong",
    measured: `${complaints.length} lost or wrong; ${counts}`,
    holds: complaints.length === 0 && result.rounds === rounds,
  });
  tell(complaints);
}

async function measureDamage(table: NumberTable, rounds: number, random: Random): Promise<void> {
  const result = await damageFiles(rounds, random);
  const { rejoined, refused, acknowledged, reads, complaints } = result;
  const counts = `${rejoined} rejoined, ${refused} refused; ${acknowledged} acknowledged, ${reads} reads`;
  table.add({
    what: `a stopped server's file damaged, ${result.rounds} times`,
    asked: "0 lost or wrong",
    measured: `${complaints.length} lost, wrong or unclear; ${counts}`,
    holds: complaints.length === 0 && result.rounds === rounds,
  });
  tell(complaints);
}

async function measureDiskFull(table: NumberTable, rounds: number, random: Random): Promise<void> {
  if (!CAN_MOUNT) {
    process.stdout.write("SKIPPED: full disks: only root on Linux can mount a small one\n");
    return;
  }
  const result = await fillDisks(rounds, random, ["followersFirst", "together"]);
  const { acknowledged, recoveryMs, oneFullMs, complaints } = result;
  table.add({
    what: `one disk full, then all, ${result.rounds} times`,
    asked: "0 lost or wrong",
    measured: `${complaints.length} lost, wrong or ended; ${acknowledged} acknowledged`,
    holds: complaints.length === 0 && result.rounds === rounds,
  });
  table.addTime("one disk full to the next write", oneFullMs, 2000);
  table.addTime("room on all disks to the next write", recoveryMs, 2000);
  tell(complaints);
}

async function measureCrashPoints(table: NumberTable, rounds: number, random: Random): Promise<void> {
  const result = await crashPoints(rounds, random);
  const { after, acknowledged, complaints } = result;
  const where = Object.entries(after).map(([kind, count]) => `${count} after a ${kind} file's change`);
  table.add({
    what: `kill -9 of a lone server at changes to its files, ${result.rounds} times`,
    asked: "0 lost or wrong",
    measured: `${complaints.length} lost or wrong; ${where.join(", ")}; ${acknowledged} acknowledged`,
    holds: complaints.length === 0 && result.rounds === rounds,
  });
  tell(complaints);
}

function tell(complaints: readonly string[]): void {
  for (const complaint of complaints) process.stdout.write(`      ${complaint}\n`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string" }, seed: { type: "string" } },
});
const unknown = positionals.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  process.stderr.write(`no such part: ${unknown.join(", ")}; there are ${Object.keys(PARTS).join(", ")}\n`);
  process.exit(2);
}
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
process.stdout.write(`seed ${seed}\n`);
const table = new NumberTable();
for (const [name, { rounds, run }] of Object.entries(PARTS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  await run(table, Number(values.rounds ?? rounds), new Random(seed));
}
table.print();
process.exit(table.holds ? 0 : 1);
