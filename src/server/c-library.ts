/** The machine's C library, for the few calls that Bun has no words for. */
import { dlopen, type FFIFunction, type Library } from "bun:ffi";
import { describeError } from "../base/errors.ts";

/** Where it may be: glibc, musl, macOS. */
const C_LIBRARIES: readonly string[] =
  process.platform === "darwin"
    ? ["libSystem.dylib"]
    : ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`, "libc.so"];

/** Its `functions`. Throws Error with the reasons when there is no library that has them. */
export function openCLibrary<Functions extends Record<string, FFIFunction>>(
  functions: Functions,
): Library<Functions>["symbols"] {
  const reasons: string[] = [];
  for (const library of C_LIBRARIES) {
    try {
      return dlopen(library, functions).symbols;
    } catch (error) {
      reasons.push(describeError(error));
    }
  }
  throw new Error(reasons.join("; "));
}
