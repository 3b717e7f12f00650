/** How the kernel is to run this process beside others: sched(7). Linux; elsewhere it stays as it is. */
import { FFIType, ptr } from "bun:ffi";
import { readdirSync } from "node:fs";
import { openCLibrary } from "./c-library.ts";

/**
 * "normal" (SCHED_OTHER): when something comes, it interrupts whoever computes. "batch" (SCHED_BATCH): it waits until
 * the kernel has given the others their slice, some milliseconds at most.
 */
export type SchedulingPolicy = "normal" | "batch";

const NUMBERS: Readonly<Record<SchedulingPolicy, number>> = { normal: 0, batch: 3 };

/**
 * What sets the policy of all threads of this process; null where that cannot be done, and where whoever started the
 * process chose another than "normal" for it.
 */
export function schedulingSwitch(): ((policy: SchedulingPolicy) => void) | null {
  if (process.platform !== "linux") return null;
  try {
    const library = openCLibrary({
      sched_getscheduler: { args: [FFIType.i32], returns: FFIType.i32 },
      sched_setscheduler: { args: [FFIType.i32, FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
    });
    if (library.sched_getscheduler(0) !== NUMBERS.normal) return null;
    // struct sched_param: the priority, which for these policies is 0.
    const parameters = new Int32Array(1);
    return (policy) => {
      // Later threads have the policy of the one that starts them.
      for (const thread of readdirSync("/proc/self/task")) {
        library.sched_setscheduler(Number(thread), NUMBERS[policy], ptr(parameters));
      }
    };
  } catch {
    return null;
  }
}
