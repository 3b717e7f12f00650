import { command, JSON_OPTION } from "./command.ts";
import { answered, type Answer } from "./result.ts";

/** Set by the build; there is none when the program runs from its source. */
declare const BUILD_VERSION: string | undefined;

export const VERSION = typeof BUILD_VERSION === "string" ? BUILD_VERSION : "dev";

export const versionCommand = command(
  { name: "raftkv version", description: "Print the version of this executable" },
  JSON_OPTION,
  async () => versionAnswer(),
);

export function versionAnswer(): Answer {
  return answered(`raftkv ${VERSION}`, { version: VERSION });
}
