import { JSON_OPTION, type Command } from "./command.ts";
import { UsageError } from "./usage-error.ts";

/** `raftkv snapshot` without one of its subcommands: there is nothing to do, but help to give. */
export const snapshotCommand: Command = {
  meta: { name: "raftkv snapshot", description: "Save all data to a file, and restore it", hidden: true },
  args: JSON_OPTION,
  async run() {
    const known = "raftkv snapshot save FILE, or raftkv snapshot restore FILE --dir DIRECTORY";
    throw new UsageError(`no such subcommand of snapshot: there are ${known}`);
  },
};
