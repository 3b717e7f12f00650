import { renderUsage } from "citty";
import { RaftKvError } from "../base/errors.ts";
import { hasOption } from "./argument-check.ts";
import { benchWorkerCommand } from "./bench-worker.ts";
import { benchCommand } from "./bench.ts";
import { BENCH_WORKER_COMMAND } from "./bench/protocol.ts";
import type { Command } from "./command.ts";
import { exportCommand } from "./export.ts";
import { failureOf } from "./failure.ts";
import { getCommand } from "./get.ts";
import { importCommand } from "./import.ts";
import { inspectCommand } from "./inspect.ts";
import { memberAddCommand } from "./member-add.ts";
import { memberListCommand } from "./member-list.ts";
import { memberPromoteCommand } from "./member-promote.ts";
import { memberRemoveCommand } from "./member-remove.ts";
import { memberCommand } from "./member.ts";
import { modeCommand } from "./mode.ts";
import { putCommand } from "./put.ts";
import { replaceCommand } from "./replace.ts";
import { answered, type CommandResult } from "./result.ts";
import { simulateWorkerCommand } from "./simulate-worker.ts";
import { simulateCommand } from "./simulate.ts";
import { WORKER_COMMAND } from "./simulation/protocol.ts";
import { snapshotRestoreCommand } from "./snapshot-restore.ts";
import { snapshotSaveCommand } from "./snapshot-save.ts";
import { snapshotCommand } from "./snapshot.ts";
import { startServerCommand } from "./start-server.ts";
import { startCommand } from "./start.ts";
import { statusCommand } from "./status.ts";
import { transferCommand } from "./transfer.ts";
import { UsageError } from "./usage-error.ts";
import { versionCommand } from "./version.ts";

/** By the words that call it. */
const SUBCOMMANDS: ReadonlyMap<string, Command> = new Map([
  ["put", putCommand],
  ["get", getCommand],
  ["import", importCommand],
  ["export", exportCommand],
  ["status", statusCommand],
  ["start", startCommand],
  ["start-server", startServerCommand],
  ["replace", replaceCommand],
  ["member", memberCommand],
  ["member list", memberListCommand],
  ["member add", memberAddCommand],
  ["member promote", memberPromoteCommand],
  ["member remove", memberRemoveCommand],
  ["transfer", transferCommand],
  ["snapshot", snapshotCommand],
  ["snapshot save", snapshotSaveCommand],
  ["snapshot restore", snapshotRestoreCommand],
  ["inspect", inspectCommand],
  ["bench", benchCommand],
  [BENCH_WORKER_COMMAND, benchWorkerCommand],
  ["simulate", simulateCommand],
  [WORKER_COMMAND, simulateWorkerCommand],
  ["version", versionCommand],
]);

/**
 * Runs what the arguments ask for. A wrong command line and an operating error are answers too; only a
 * bug is thrown.
 */
export async function runCommandLine(rawArgs: readonly string[]): Promise<CommandResult> {
  try {
    const { command, rest } = choose(rawArgs);
    if (hasOption(rest, "--help", "-h"))
      return answered(await usage(command), { usage: await usage(command) });
    return await command.run(rest);
  } catch (error) {
    if (error instanceof UsageError || error instanceof RaftKvError) return failureOf(error);
    throw error;
  }
}

/** A subcommand is the first word or two; its options come after it. */
function choose(rawArgs: readonly string[]): { readonly command: Command; readonly rest: readonly string[] } {
  const [first] = rawArgs;
  if (first === undefined || first.startsWith("-")) return { command: modeCommand, rest: rawArgs };
  if (first === "help") return { command: choose(rawArgs.slice(1)).command, rest: ["--help"] };
  for (const words of [2, 1]) {
    const command = SUBCOMMANDS.get(rawArgs.slice(0, words).join(" "));
    if (command !== undefined) return { command, rest: rawArgs.slice(words) };
  }
  const names = [...SUBCOMMANDS].flatMap(([name, { meta }]) => (meta.hidden === true ? [] : [name]));
  throw new UsageError(`unknown subcommand ${JSON.stringify(first)}: there are ${names.join(", ")}`);
}

async function usage(command: Command): Promise<string> {
  const { meta, args } = command;
  const prefix = command === modeCommand ? "" : `${meta.name.slice("raftkv ".length)} `;
  const subCommands = Object.fromEntries(
    [...SUBCOMMANDS]
      .filter(([words]) => words.startsWith(prefix))
      .map(([words, { meta: ofSubCommand }]) => [words.slice(prefix.length), { meta: ofSubCommand }]),
  );
  const hasNone = Object.keys(subCommands).length === 0;
  const text = await renderUsage({ meta, args, ...(hasNone ? {} : { subCommands }) });
  return trimLines(meta.details === undefined ? text : `${text.trimEnd()}\n\n${meta.details}`);
}

function trimLines(text: string): string {
  return text.replaceAll(/[ \t]+$/gm, "").trimEnd();
}
