/** What commands hand back. They compute and ask; main.ts prints, waits and exits. */

export type CommandResult = Answer | Job | Service;

/** What there is to say. With `--json`, `json` alone is printed. */
export interface Output {
  /** For people and pipes: printed as it is and ended by one newline; null prints nothing. */
  readonly stdout: string | Uint8Array | null;
  /** One line for people beside the answer; null prints nothing. */
  readonly stderr: string | null;
  /** The same for programs: one JSON document on stdout. */
  readonly json: object;
}

/** The command is done. */
export interface Answer {
  readonly kind: "answer";
  /** 0: done; 1: it failed, or what was asked for is not there; 2: the command line was wrong. */
  readonly exitCode: 0 | 1 | 2;
  readonly output: Output;
}

/** Work that takes long, and that somebody may want to cut short. */
export interface Job {
  readonly kind: "job";
  /** Aborted, it ends soon, with the answer as far as it got. Rejects with RaftKvError. */
  run(signal: AbortSignal): Promise<Answer>;
}

/** The process is to go on until a signal comes, or until it has to end by itself. */
export interface Service {
  readonly kind: "service";
  /** Who speaks in its log lines: "frontend" or "server". */
  readonly name: string;
  /**
   * Resolves once it serves; rejects with RaftKvError when it cannot, and soon after `stop` is aborted
   * where starting takes long.
   */
  start(stop: AbortSignal): Promise<RunningService>;
}

interface RunningService {
  /** What to say once it serves; null says nothing. */
  readonly announcement: Output | null;
  /** Settles only when the service has ended by itself; rejects with the RaftKvError that made it. */
  readonly stopped: Promise<void>;
  stop(): Promise<void>;
}

/** The ordinary outcome: it worked, and here is what to say. */
export function answered(stdout: string | Uint8Array, json: object): Answer {
  return { kind: "answer", exitCode: 0, output: { stdout, stderr: null, json } };
}
