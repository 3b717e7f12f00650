import { RaftKvError } from "../base/errors.ts";

/** Lets work that cannot be called back be left alone as soon as somebody wants the command to end. */
export class Interruption {
  readonly signal: AbortSignal;
  readonly #interrupted = Promise.withResolvers<never>();
  readonly #interrupt: () => void;

  /** `message`: what is said then, as RaftKvError "unavailable". */
  constructor(signal: AbortSignal, message: string) {
    this.signal = signal;
    this.#interrupted.promise.catch(() => {});
    this.#interrupt = () => this.#interrupted.reject(new RaftKvError("unavailable", message));
    if (signal.aborted) this.#interrupt();
    signal.addEventListener("abort", this.#interrupt);
  }

  /** What becomes of the promise, unless the signal is aborted before that, or was. */
  or<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([this.#interrupted.promise, promise]);
  }

  /** The command ends by itself. */
  end(): void {
    this.signal.removeEventListener("abort", this.#interrupt);
  }
}
