/**
 * A process can take another command line only by starting its program anew: execv(2) does that in place,
 * with the same pid, parent, working directory and open standard streams.
 */
import { FFIType, ptr } from "bun:ffi";
import { describeError } from "../base/errors.ts";
import { selfCommand } from "../frontend/launcher.ts";
import { openCLibrary } from "../server/c-library.ts";

/**
 * Starts this program anew in this process, called `argv0` and with `args`; `environment` is added to what is there,
 * and takes the place of nothing. It returns only when that cannot be done here, and then says why. Nothing may be
 * open that has to be closed in order.
 */
export function restartAs(
  argv0: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): string {
  try {
    const library = openCLibrary({
      execv: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i32 },
      setenv: { args: [FFIType.ptr, FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
    });
    for (const [name, value] of Object.entries(environment)) {
      library.setenv(ptr(cString(name)), ptr(cString(value)), 0);
    }
    const strings = [argv0, ...selfCommand().slice(1), ...args].map(cString);
    const pointers = new BigUint64Array([...strings.map((string) => BigInt(ptr(string))), 0n]);
    library.execv(ptr(cString(process.execPath)), ptr(pointers));
    return "execv failed";
  } catch (error) {
    return describeError(error);
  }
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
