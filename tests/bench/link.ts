import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { defined } from "../../src/base/assert.ts";
import { CHANNEL_OPTIONS } from "../../src/rpc/rpc-client.ts";
import type { Answer, Target, Turn } from "./target.ts";

const METADATA = new Metadata();

/**
 * One HTTP/2 connection to a target, with as little around a call as can be, whoever serves it: what the client
 * costs is measured with it.
 */
export class Link {
  readonly #target: Target;
  readonly #client: Client;

  constructor(target: Target) {
    this.#target = target;
    this.#client = new Client(target.address, credentials.createInsecure(), CHANNEL_OPTIONS);
  }

  /** Rejects when nobody is there within the time. */
  connect(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(Date.now() + timeoutMs, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  /** Why it failed, or the answer does not count; null: all is well. */
  call(turn: Turn, timeoutMs: number): Promise<string | null> {
    const { path, write, read } = this.#target;
    return new Promise((resolve) => {
      const done = (error: Error | null, answer?: Answer): void => {
        if (error !== null) resolve(error.message);
        else resolve(defined(answer, "neither answer nor error").refusal);
      };
      const options = { deadline: Date.now() + timeoutMs };
      this.#client.makeUnaryRequest(path, write, read, turn, METADATA, options, done);
    });
  }

  close(): void {
    this.#client.close();
  }
}
