/** The pids of the processes whose parent is `pid`. */
export async function childrenOf(pid: number): Promise<readonly number[]> {
  const ps = Bun.spawn(["ps", "-A", "-o", "pid=,ppid="]);
  const rows = (await ps.stdout.text()).trim().split("\n");
  const pairs = rows.map((row) => row.trim().split(/\s+/).map(Number));
  return pairs.flatMap(([child = 0, parent]) => (parent === pid && child !== ps.pid ? [child] : []));
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
