/** Where exported lines go: to a file that is there only when it is whole, or to stdout. */
import { describeError, RaftKvError } from "../../base/errors.ts";
import type { FileSystem } from "../../storage/file-system.ts";
import { requireSavePath, WholeFile } from "../whole-file.ts";

export interface ExportTarget {
  append(lines: string): Promise<void>;
  /** Throws away what has come, to begin anew. Rejects with RaftKvError "unavailable" where it has been read already. */
  restart(why: string): Promise<void>;
  /** Everything has come. */
  commit(): Promise<void>;
  /** Nothing more will come; a file is as it was. Never rejects. */
  abandon(): Promise<void>;
}

/** Rejects as requireSavePath and WholeFile.create. */
export async function fileTarget(fs: FileSystem, path: string, force: boolean): Promise<ExportTarget> {
  await requireSavePath(path, force);
  const file = await WholeFile.create(fs, path);
  return {
    async append(lines) {
      if (lines !== "") await file.append(Buffer.from(lines));
    },
    restart: () => file.restart(),
    async commit() {
      await requireSavePath(path, force);
      await file.commit();
    },
    abandon: () => file.abandon(),
  };
}

export function stdoutTarget(): ExportTarget {
  let begun = false;
  return {
    async append(lines) {
      if (lines === "") return;
      begun = true;
      await Bun.write(Bun.stdout, lines).catch((cause: unknown) => {
        throw new RaftKvError("io", `stdout cannot be written: ${describeError(cause)}`, { cause });
      });
    },
    async restart(why) {
      if (begun) throw new RaftKvError("unavailable", `${why}; what was written is not complete`);
    },
    async commit() {},
    async abandon() {},
  };
}
