/** The entry: runs one command and owns the process, its signals and its exit. */
import { constants } from "node:os";
import { hasOption } from "./cli/argument-check.ts";
import { runCommandLine } from "./cli/command-line.ts";
import { failureOf } from "./cli/failure.ts";
import { hangUpIsIgnored } from "./cli/hang-up.ts";
import type { Job, Service } from "./cli/result.ts";
import { print } from "./cli/terminal.ts";
import { createLogger } from "./observability/logger.ts";

// An async function, not top-level await, which some forms of the executable cannot have.
void main();

async function main(): Promise<void> {
  const rawArgs = process.argv.slice(2);
  const asJson = hasOption(rawArgs, "--json");
  try {
    const result = await runCommandLine(rawArgs);
    if (result.kind === "service") process.exit(await serve(result, asJson));
    if (result.kind === "job") process.exit(await carryOut(result, asJson));
    await print(result.output, asJson);
    process.exit(result.exitCode);
  } catch (error) {
    const failure = failureOf(error);
    // Where stdout is what failed, stderr may still work; where neither does, the exit code speaks.
    await print(failure.output, asJson)
      .catch(() => print(failure.output, false))
      .catch(() => {});
    process.exit(failure.exitCode);
  }
}

/** Does the work, or as much of it as there is time for until a signal comes. The exit code. */
async function carryOut(job: Job, asJson: boolean): Promise<number> {
  const signal = firstSignal();
  const { output, exitCode } = await job.run(signal);
  await print(output, asJson);
  return signal.aborted ? Number(signal.reason) : exitCode;
}

/** Runs the service until a signal comes or it ends by itself. The exit code. */
async function serve(service: Service, asJson: boolean): Promise<0 | 1> {
  const logger = createLogger(service.name);
  exitOnBugs((error) => logger.error("the process ends: a bug or something nobody thought of", { error }));
  const signal = firstSignal();
  let running;
  try {
    running = await service.start(signal);
  } catch (error) {
    if (signal.aborted) return 0;
    throw error;
  }
  if (running.announcement !== null && !signal.aborted) {
    await print(running.announcement, asJson).catch((error: unknown) =>
      logger.warn("not announced", { error }),
    );
  }
  try {
    await Promise.race([running.stopped, arrival(signal)]);
  } catch (error) {
    logger.error("the process ends: it cannot go on safely", { error });
    return 1;
  }
  await running.stop();
  return 0;
}

/**
 * SIGINT, SIGTERM and a terminal that closes (SIGHUP) ask for a clean end; whoever sends a second one wants
 * it at once. The reason is the exit code of who was cut short.
 */
function firstSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    if (name === "SIGHUP" && hangUpIsIgnored()) continue;
    process.on(name, () => {
      const exitCode = 128 + constants.signals[name];
      if (controller.signal.aborted) process.exit(exitCode);
      controller.abort(exitCode);
    });
  }
  return controller.signal;
}

/** Resolves when the signal has come. */
function arrival(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}

/** Nothing is known to be right after a bug: the process ends, and what is on disk counts. */
function exitOnBugs(log: (error: unknown) => void): void {
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error: unknown) => {
      log(error);
      process.exit(1);
    });
  }
}
