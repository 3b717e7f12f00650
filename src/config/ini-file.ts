/**
 * The form of config.ini: lines, each of them one of
 *
 *   [Section]
 *   key = value      ; comment
 *   ; comment, or # comment
 *
 * A value that holds ";" or "#", or begins or ends with a space, is quoted whole: "a;b".
 *
 * The `ini` package reads the values. The lines are read here, for it drops those it does not
 * understand, lets the last of two equal keys win, forgets `__proto__`, and makes lists of `a[]`,
 * booleans of `true` and numbers of '1'; here every line counts and every value is text.
 */
import { unsafe } from "ini";
import { RaftKvError } from "../base/errors.ts";

/** One `key = value`, as it is written. */
export interface IniSetting {
  /** "" before the first section. */
  readonly section: string;
  readonly key: string;
  readonly value: string;
}

const BLANK = /^\s*(?:[;#]|$)/;
const SECTION = /^\s*\[([^[\]]*)\]\s*(?:[;#].*)?$/;
const SETTING = /^([^=]*)=(.*)$/;
const MAX_SHOWN_LENGTH = 100;

/**
 * The settings of the file, in their order; no section holds one key twice.
 *
 * @param path is only named in errors.
 * @throws RaftKvError "invalidArgument": one line that names the place.
 */
export function readIni(text: string, path: string): readonly IniSetting[] {
  const settings: IniSetting[] = [];
  const names = new Set<string>();
  let section = "";
  for (const line of text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/)) {
    if (BLANK.test(line)) continue;
    const header = SECTION.exec(line)?.[1];
    if (header !== undefined) {
      section = header.trim();
      continue;
    }
    const setting = readSetting(line, section, path);
    const name = JSON.stringify([section, setting.key]);
    if (names.has(name)) throw badSetting(path, setting, "every key once");
    names.add(name);
    settings.push(setting);
  }
  return settings;
}

/** What every bad value ends in: one line that names the file, section, key, value, and what was expected. */
export function badSetting(path: string, setting: IniSetting, expected: string): RaftKvError {
  return badLine(path, `${placeOf(setting.section, setting.key)} = ${shown(setting.value)}`, expected);
}

/** The same for a key that must be there and is not. */
export function missingSetting(path: string, section: string, key: string, expected: string): RaftKvError {
  return badLine(path, `${placeOf(section, key)} is missing`, expected);
}

function badLine(path: string, what: string, expected: string): RaftKvError {
  const line = `${path}: ${what}: expected ${expected}`;
  return new RaftKvError("invalidArgument", line.replaceAll(/[\p{Cc}\u2028\u2029]/gu, " "));
}

function placeOf(section: string, key: string): string {
  return section === "" ? key : `[${section}] ${key}`;
}

function shown(value: string): string {
  return JSON.stringify(value.length > MAX_SHOWN_LENGTH ? `${value.slice(0, MAX_SHOWN_LENGTH)}…` : value);
}

function readSetting(line: string, section: string, path: string): IniSetting {
  const [, key = "", rawValue = ""] = SETTING.exec(line)?.map((part) => part.trim()) ?? [];
  if (key === "") throw badLine(path, placeOf(section, shown(line.trim())), '"key = value" or "[Section]"');
  const value = readValue(rawValue);
  if (value !== null) return { section, key, value };
  throw badSetting(path, { section, key, value: rawValue }, "a value quoted whole or not at all");
}

/** The text of the value, without its quotes or a comment; null when the quotes are not around all of it. */
function readValue(raw: string): string | null {
  const value: unknown = unsafe(raw);
  // Between single quotes the package reads any JSON.
  if (typeof value !== "string") return raw.slice(1, -1);
  const quote = /^["']/.exec(raw)?.[0];
  const whole = quote === undefined || (raw.length > 1 && raw.endsWith(quote) && value !== raw);
  return whole ? value : null;
}
