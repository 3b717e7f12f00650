import { parseArgs, type ArgsDef, type ParsedArgs } from "citty";
import { checkArguments } from "./argument-check.ts";
import type { CommandResult } from "./result.ts";

/** For every command. */
export const JSON_OPTION = {
  json: { type: "boolean", description: "Print one JSON document, also for errors" },
} as const satisfies ArgsDef;

/** How a command is called: its words, as "raftkv put", and what it is for. */
export interface CommandMeta {
  readonly name: string;
  readonly description: string;
  /** What its own --help says beyond that, in whole sentences. */
  readonly details?: string;
  /** Not for people: no list of commands names it. */
  readonly hidden?: true;
}

/** One command. It has its arguments strictly checked before it sees them. */
export interface Command {
  readonly meta: CommandMeta;
  readonly args: ArgsDef;
  /** `rawArgs` follow the command's name. Throws UsageError, and RaftKvError when the command fails. */
  run(rawArgs: readonly string[]): Promise<CommandResult>;
}

/** `run` gets the arguments as citty types them, and as they were written. */
export function command<const Args extends ArgsDef>(
  meta: CommandMeta,
  args: Args,
  run: (args: ParsedArgs<Args>, rawArgs: readonly string[]) => Promise<CommandResult>,
): Command {
  return {
    meta,
    args,
    async run(rawArgs) {
      checkArguments(meta.name, rawArgs, args);
      return run(parseArgs<Args>([...rawArgs], args), rawArgs);
    },
  };
}
