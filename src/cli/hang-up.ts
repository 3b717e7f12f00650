import { readFileSync } from "node:fs";
import { constants } from "node:os";

/**
 * Whether this process was started to go on when its terminal closes, as nohup(1) does it: by SIGHUP being
 * ignored. Ask before anybody listens for it. False where the system does not tell.
 */
export function hangUpIsIgnored(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
    return ((BigInt(`0x${mask}`) >> BigInt(constants.signals.SIGHUP - 1)) & 1n) === 1n;
  } catch {
    return false;
  }
}
