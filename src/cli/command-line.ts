import { renderUsage } from "citty";
import { RaftKvError } from "../base/errors.ts";
import { hasOption } from "./argument-check.ts";
import type { Command } from "./command.ts";
import { failureOf } from "./failure.ts";
import { getCommand } from "./get.ts";
import { modeCommand } from "./mode.ts";
import { putCommand } from "./put.ts";
import { answered, type CommandResult } from "./result.ts";
import { simulateWorkerCommand } from "./simulate-worker.ts";
import { simulateCommand } from "./simulate.ts";
import { WORKER_COMMAND } from "./simulation/protocol.ts";
import { startServerCommand } from "./start-server.ts";
import { startCommand } from "./start.ts";
import { statusCommand } from "./status.ts";
import { UsageError } from "./usage-error.ts";
import { versionCommand } from "./version.ts";

const SUBCOMMANDS: ReadonlyMap<string, Command> = new Map([
  ["put", putCommand],
  ["get", getCommand],
  ["status", statusCommand],
  ["start", startCommand],
  ["start-server", startServerCommand],
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

/** A subcommand is the first word; its options come after it. */
function choose(rawArgs: readonly string[]): { readonly command: Command; readonly rest: readonly string[] } {
  const [first] = rawArgs;
  if (first === undefined || first.startsWith("-")) return { command: modeCommand, rest: rawArgs };
  if (first === "help") return { command: choose(rawArgs.slice(1)).command, rest: ["--help"] };
  const command = SUBCOMMANDS.get(first);
  if (command !== undefined) return { command, rest: rawArgs.slice(1) };
  const names = [...SUBCOMMANDS].flatMap(([name, { meta }]) => (meta.hidden === true ? [] : [name]));
  throw new UsageError(`unknown subcommand ${JSON.stringify(first)}: there are ${names.join(", ")}`);
}

async function usage(command: Command): Promise<string> {
  const { meta, args } = command;
  if (command !== modeCommand) return trimLines(await renderUsage({ meta, args }));
  const subCommands = Object.fromEntries([...SUBCOMMANDS].map(([name, { meta }]) => [name, { meta }]));
  return trimLines(await renderUsage({ meta, args, subCommands }));
}

function trimLines(text: string): string {
  return text.replaceAll(/[ \t]+$/gm, "").trimEnd();
}
