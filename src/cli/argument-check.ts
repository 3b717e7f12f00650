/**
 * The strictness that citty leaves out: it accepts unknown options in silence, drops superfluous arguments
 * and takes `--timeout` without a value for an empty one. What passes here, citty reads as it was meant.
 *
 * Options come in any order, as `--name value` or `--name=value`; `--` ends them, so that a key or a value
 * may begin with "-".
 */
import { parseArgs, type ParseArgsConfig } from "node:util";
import type { ArgDef, ArgsDef, EnumArgDef } from "citty";
import { UsageError } from "./usage-error.ts";

type Token = NonNullable<ReturnType<typeof tokenize>>[number];
type OptionToken = Extract<Token, { kind: "option" }>;

/** Throws UsageError unless `rawArgs` are exactly what `args` declare. `command` is how to call it: "raftkv put". */
export function checkArguments(command: string, rawArgs: readonly string[], args: ArgsDef): void {
  const seen = new Set<string>();
  const tokens = tokenize(rawArgs, args);
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    checkOption(command, token, args);
    if (seen.has(token.name)) throw new UsageError(`${token.rawName} is given twice`);
    seen.add(token.name);
  }
  checkPositionals(
    command,
    tokens.flatMap((token) => (token.kind === "positional" ? [token.value] : [])),
    args,
  );
}

/** Whether the option is among `rawArgs`, before a `--`. For what must be known before they are checked. */
export function hasOption(rawArgs: readonly string[], ...spellings: readonly string[]): boolean {
  const end = rawArgs.indexOf("--");
  return rawArgs.slice(0, end === -1 ? rawArgs.length : end).some((arg) => spellings.includes(arg));
}

/** "raftkv put KEY VALUE": how the command wants to be called. */
function synopsis(command: string, args: ArgsDef): string {
  return [command, ...positionalsOf(args)].join(" ");
}

function tokenize(rawArgs: readonly string[], args: ArgsDef) {
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const [name, definition] of Object.entries(args)) {
    if (definition.type === "positional") continue;
    options[name] = { type: definition.type === "boolean" ? "boolean" : "string" };
  }
  return parseArgs({ args: [...rawArgs], options, strict: false, allowPositionals: true, tokens: true })
    .tokens;
}

function checkOption(command: string, token: OptionToken, args: ArgsDef): void {
  const definition = Object.hasOwn(args, token.name) ? args[token.name] : undefined;
  if (definition === undefined || definition.type === "positional") {
    throw new UsageError(`unknown option ${token.rawName}: ${unknownOptionHint(command, token, args)}`);
  }
  if (definition.type === "boolean") {
    if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`);
    return;
  }
  // `--config --json` is a forgotten value; `--config=--json` and `--id -1` say what they mean.
  const forgotten = !token.inlineValue && token.value?.startsWith("--") === true;
  if (token.value === undefined || token.value === "" || forgotten) {
    const expected =
      definition.type === "enum" ? choicesOf(definition) : `${token.rawName} ${valueHint(definition)}`;
    throw new UsageError(`${token.rawName} needs a value: ${expected}`);
  }
  if (definition.type === "enum" && definition.options?.includes(token.value) !== true) {
    throw new UsageError(
      `${token.rawName} must be ${choicesOf(definition)}, not ${JSON.stringify(token.value)}`,
    );
  }
}

function unknownOptionHint(command: string, token: OptionToken, args: ArgsDef): string {
  const list = `"${command} --help" lists the options`;
  if (token.rawName.startsWith("--") || positionalsOf(args).length === 0) return list;
  return `${list}; write "--" before an argument that begins with "-"`;
}

function checkPositionals(command: string, given: readonly string[], args: ArgsDef): void {
  const wanted = positionalsOf(args);
  const missing = wanted[given.length];
  if (missing !== undefined) throw new UsageError(`${missing} is missing: ${synopsis(command, args)}`);
  const extra = given[wanted.length];
  if (extra === undefined) return;
  throw new UsageError(`unexpected argument ${JSON.stringify(extra)}: ${synopsis(command, args)}`);
}

function positionalsOf(args: ArgsDef): readonly string[] {
  return Object.entries(args).flatMap(([name, definition]) =>
    definition.type === "positional" ? [name.toUpperCase()] : [],
  );
}

function choicesOf({ options }: EnumArgDef): string {
  return options?.join(" or ") ?? "";
}

function valueHint(definition: ArgDef): string {
  return (definition.valueHint ?? "value").toUpperCase();
}
