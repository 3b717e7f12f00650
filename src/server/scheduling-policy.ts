/** How the kernel is to run this process beside others: sched(7). Linux; elsewhere it stays as it is. */
import { FFIType, ptr } from "bun:ffi";
import { readdirSync, readFileSync } from "node:fs";
import { openCLibrary } from "./c-library.ts";

/**
 * "normal" (SCHED_OTHER): when something comes, it interrupts whoever computes. "batch" (SCHED_BATCH): it waits until
 * those who compute have had their slice, some milliseconds each.
 */
export type SchedulingPolicy = "normal" | "batch";

const NUMBERS: Readonly<Record<SchedulingPolicy, number>> = { normal: 0, batch: 3 };

/**
 * What sets the policy of all threads of this process, and tells whether it could. null where that cannot be done, as
 * with musl; where whoever started the process chose another policy than "normal" for it; and where a filter judges
 * its system calls (seccomp(2)), which may end who asks for what it does not like.
 */
export function schedulingSwitch(): ((policy: SchedulingPolicy) => boolean) | null {
  if (process.platform !== "linux") return null;
  try {
    if (!/^Seccomp:\s*0$/m.test(readFileSync("/proc/self/status", "utf8"))) return null;
    const library = openCLibrary({
      sched_getscheduler: { args: [FFIType.i32], returns: FFIType.i32 },
      sched_setscheduler: { args: [FFIType.i32, FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
    });
    if (library.sched_getscheduler(0) !== NUMBERS.normal) return null;
    // struct sched_param: the priority, which for these policies is 0.
    const parameters = new Int32Array(1);
    const set = (thread: number, policy: SchedulingPolicy): boolean =>
      library.sched_setscheduler(thread, NUMBERS[policy], ptr(parameters)) === 0;
    if (!set(0, "normal")) return null;
    // Later threads have the policy of the one that starts them.
    return (policy) => {
      const threads = threadsOfThis();
      for (const thread of threads) set(thread, policy);
      return threads.length > 0;
    };
  } catch {
    return null;
  }
}

/** Their ids; none when no file can be opened to list them. */
function threadsOfThis(): readonly number[] {
  try {
    return readdirSync("/proc/self/task").map(Number);
  } catch {
    return [];
  }
}
