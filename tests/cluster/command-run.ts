import { EXECUTABLE, type Deployment } from "./deployment.ts";

/** How a command ended, and what it said. */
export interface CommandRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `raftkv` with these arguments, and the address of the deployment's frontend, to its end. */
export async function runRaftkv(
  { directory, frontendAddress }: Deployment,
  ...args: readonly string[]
): Promise<CommandRun> {
  const child = Bun.spawn([EXECUTABLE, ...args, "--address", frontendAddress], {
    cwd: directory,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, stdout, stderr };
}
