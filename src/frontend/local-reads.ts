/**
 * Reads of what any one server has applied: for whoever would rather have an old answer than none, or wants
 * the load spread. They need no leader. Servers take turns; one that does not answer is left out for a moment.
 *
 * A server must have said lately that it is ours, because a read names no cluster: another one's server may
 * listen at the address by now (F5).
 */
import { getOutcome, type AttemptOutcome } from "./attempt-outcome.ts";
import type { CallBudget } from "./call-budget.ts";
import type { ClusterLink } from "./cluster-link.ts";
import { idsOf } from "./cluster.ts";
import type { CallResult } from "./leader-call.ts";
import type { ServerClient } from "./server-clients.ts";
import { remainingMs, type Deadline } from "./waiting.ts";

/** How long a server's word, or its silence, counts. */
const OPINION_MS = 1000;
/** How long one server may take before the next is asked. */
const TURN_MS = 500;
/** Between rounds in which nobody answered. */
const PAUSE_MS = 50;

/** What is thought of a server, until a moment on the clock of `performance.now()`. */
interface Opinion {
  readonly isGood: boolean;
  readonly until: Deadline;
}

export class LocalReads {
  #turn = 0;
  readonly #opinions = new WeakMap<ServerClient, Opinion>();

  async read(link: ClusterLink, key: Buffer, { ms, deadline }: CallBudget): Promise<CallResult> {
    while (remainingMs(deadline) > 0 && !link.closed) {
      for (const client of this.#inTurn(link)) {
        if (remainingMs(deadline) === 0) break;
        const outcome = await this.#ask(link, client, key, Math.min(TURN_MS, remainingMs(deadline)));
        if (outcome?.kind === "answered") return outcome;
      }
      await Bun.sleep(Math.min(PAUSE_MS, remainingMs(deadline)));
    }
    const why = link.closed
      ? "the cluster was replaced or stopped"
      : `no server answered within ${Math.round(ms)} ms`;
    return { kind: "unserved", doubtful: false, why, reason: null };
  }

  /** Every server of the cluster, another one first each time; those that lately did not answer last. */
  #inTurn(link: ClusterLink): readonly ServerClient[] {
    const clients = idsOf(link.cluster).flatMap((id) => link.client(id) ?? []);
    this.#turn = (this.#turn + 1) % Math.max(1, clients.length);
    const rotated = [...clients.slice(this.#turn), ...clients.slice(0, this.#turn)];
    const isBad = (client: ServerClient): boolean => this.#opinionOf(client)?.isGood === false;
    return [...rotated.filter((client) => !isBad(client)), ...rotated.filter(isBad)];
  }

  /** null: it is not known to be ours. */
  async #ask(
    link: ClusterLink,
    client: ServerClient,
    key: Buffer,
    timeoutMs: number,
  ): Promise<AttemptOutcome | null> {
    if (this.#opinionOf(client)?.isGood !== true) {
      const id = idsOf(link.cluster).find((member) => link.client(member) === client);
      const isGood = id !== undefined && (await link.status(id, timeoutMs)) !== null;
      this.#opinions.set(client, { isGood, until: performance.now() + OPINION_MS });
      if (!isGood) return null;
    }
    const outcome = await new Promise<AttemptOutcome>((resolve) => {
      client.send("Get", { arg: key, consistency: "LOCAL" }, timeoutMs, (result) =>
        resolve(getOutcome(result)),
      );
    });
    if (outcome.kind !== "answered") {
      this.#opinions.set(client, { isGood: false, until: performance.now() + OPINION_MS });
    }
    return outcome;
  }

  #opinionOf(client: ServerClient): Opinion | undefined {
    const opinion = this.#opinions.get(client);
    return opinion === undefined || remainingMs(opinion.until) === 0 ? undefined : opinion;
  }
}
