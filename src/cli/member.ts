import { JSON_OPTION, type Command } from "./command.ts";
import { UsageError } from "./usage-error.ts";

/** `raftkv member` without one of its subcommands: there is nothing to do, but help to give. */
export const memberCommand: Command = {
  meta: { name: "raftkv member", description: "Show and change who belongs to the cluster", hidden: true },
  args: JSON_OPTION,
  async run() {
    const known = "raftkv member list, add ID, promote ID and remove ID";
    throw new UsageError(`no such subcommand of member: there are ${known}`);
  },
};
