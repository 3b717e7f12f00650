import { defined } from "../base/assert.ts";
import type { RaftKvError } from "../base/errors.ts";
import { badSetting, missingSetting, type IniSetting } from "./ini-file.ts";
import type { ValueReader } from "./value-reader.ts";

/** The settings of one file, taken one by one. All errors are RaftKvError "invalidArgument", one line each. */
export class Settings {
  readonly #path: string;
  /** null: there is no file. */
  readonly #given: readonly IniSetting[] | null;
  /** What was asked for, as it is written or, where it is not, as its default would be. */
  readonly #taken: IniSetting[] = [];

  /** @param path is only named in errors. @param given null when there is no file: all is default then. */
  constructor(path: string, given: readonly IniSetting[] | null) {
    this.#path = path;
    this.#given = given;
  }

  /** The value of a key that every file must hold. Without a file, the fallback. */
  required<T>(section: string, key: string, fallback: T, reader: ValueReader<T>): T {
    if (this.#given !== null && find(this.#given, section, key) === undefined) {
      throw missingSetting(this.#path, section, key, reader.expected);
    }
    return this.optional(section, key, fallback, reader);
  }

  /** The value of a key; the fallback where it is not set. */
  optional<T>(section: string, key: string, fallback: T, reader: ValueReader<T>): T {
    const written = find(this.#given ?? [], section, key);
    this.#taken.push(written ?? { section, key, value: String(fallback) });
    if (written === undefined) return fallback;
    const value = reader.read(written.value);
    if (value === undefined) throw badSetting(this.#path, written, reader.expected);
    return value;
  }

  /** The error for a value that was taken and does not go with the others. */
  misfit(section: string, key: string, expected: string): RaftKvError {
    const taken = defined(find(this.#taken, section, key), `[${section}] ${key} was not taken`);
    return badSetting(this.#path, taken, expected);
  }

  /** Refuses what the file holds and nobody took: a misspelled key would be a silent default. */
  refuseOthers(): void {
    for (const setting of this.#given ?? []) {
      const { section, key } = setting;
      if (find(this.#taken, section, key) !== undefined) continue;
      const keys = this.#taken.filter((taken) => taken.section === section).map((taken) => taken.key);
      const sections = new Set(this.#taken.map((taken) => `[${taken.section}]`));
      const expected =
        keys.length > 0
          ? `one of the keys ${keys.join(", ")}`
          : `a key in one of ${[...sections].join(", ")}`;
      throw badSetting(this.#path, setting, expected);
    }
  }
}

function find(settings: readonly IniSetting[], section: string, key: string): IniSetting | undefined {
  return settings.find((setting) => setting.section === section && setting.key === key);
}
