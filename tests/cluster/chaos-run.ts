/**
 * One run: a cluster, its clients, faults for some time, and the verdict. Each episode of faults ends with the healing
 * of everything, and a write shows how soon the cluster is there again.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { Random } from "../../src/sim/random.ts";
import { ChaosClient, frontendRoute, serversRoute } from "./chaos-clients.ts";
import { ChaosCluster } from "./chaos-cluster.ts";
import { ChaosFaults } from "./chaos-faults.ts";
import { ChaosKeys } from "./chaos-keys.ts";
import { ChaosObserver } from "./chaos-observer.ts";
import { chaosPlan, type Episode } from "./chaos-plan.ts";
import { ChaosRecord, type OperationCounts } from "./chaos-record.ts";
import { ASKED, judge, type ChaosEvidence, type Least } from "./chaos-verdict.ts";
import { failoverGaps } from "./failover-gaps.ts";

export interface ChaosOptions {
  readonly seed: number;
  /** How long faults go on. */
  readonly forMs: number;
  readonly least: Least;
  /** Gets a line a minute. */
  readonly tell: (line: string) => void;
  /** Ends the run early, without a verdict. */
  readonly stop: AbortSignal;
}

export interface ChaosResult {
  readonly seed: number;
  readonly servers: number;
  readonly counts: OperationCounts;
  readonly faults: number;
  /** How long they went on. */
  readonly lastedMs: number;
  /** From the healing of everything to the first write, after each episode. */
  readonly recoveriesMs: readonly number[];
  /** From the last healing until every member has answered a linearizable read of a write after it. */
  readonly verificationMs: number;
  /** See failover-gaps.ts. */
  readonly failoversMs: readonly number[];
  /** What is wrong, one line each; none: the run holds. */
  readonly complaints: readonly string[];
  /** The files of a run that does not hold; "faults.log" says what was done when. */
  readonly directory: string;
}

const FRONTEND_CLIENTS = 8;
const DIRECT_CLIENTS = 4;
const KEYS_AT_ONCE = 4;
const USES_OF_A_KEY = 300;
const TELL_MS = 60_000;

/** Chance for each purpose, so that what one draws does not change the other. */
const STREAM = { servers: 1, plan: 2, faults: 3, clients: 100 } as const;

/** Never rejects: what breaks the run off is a complaint. */
export async function chaosRun(options: ChaosOptions): Promise<ChaosResult> {
  const cluster = await ChaosCluster.create(new Random(options.seed, STREAM.servers).int(3, 5));
  const run = new ChaosRun(cluster, options);
  try {
    await run.disturb();
    const evidence = await run.conclude();
    return run.result(judge(evidence, options.least));
  } catch (error) {
    return run.result([`broken off: ${String(error)}`, ...cluster.deaths]);
  } finally {
    await run.stopClients();
    await cluster.close(run.holds);
  }
}

class ChaosRun {
  readonly #cluster: ChaosCluster;
  readonly #options: ChaosOptions;
  readonly #record = new ChaosRecord();
  readonly #observer: ChaosObserver;
  readonly #faults: ChaosFaults;
  readonly #diary: (line: string) => void;
  readonly #recoveriesMs: number[] = [];
  #clients: readonly ChaosClient[] = [];
  #startMs = performance.now();
  #endMs = this.#startMs;
  #succeeded = 0;
  #verificationMs = 0;
  /** Known once there is a result. */
  holds = false;

  constructor(cluster: ChaosCluster, options: ChaosOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#observer = new ChaosObserver(cluster, this.#record);
    this.#diary = (line) =>
      appendFileSync(join(cluster.directory, "faults.log"), `${new Date().toISOString()} ${line}\n`);
    this.#faults = new ChaosFaults(cluster, new Random(options.seed, STREAM.faults), this.#diary);
  }

  /** Faults and clients, until the time is up. */
  async disturb(): Promise<void> {
    const { seed, forMs, stop } = this.#options;
    await this.#cluster.start();
    await this.#observer.firstWrite();
    this.#clients = this.#startClients();
    this.#startMs = performance.now();
    let tellAtMs = this.#startMs + TELL_MS;
    for (const episode of chaosPlan(new Random(seed, STREAM.plan))) {
      await this.#play(episode);
      this.#endMs = performance.now();
      if (this.#endMs - this.#startMs >= forMs) break;
      if (this.#endMs >= tellAtMs) {
        this.#options.tell(this.#progress());
        tellAtMs += TELL_MS;
      }
      if (stop.aborted) throw new Error("it was stopped");
      await Bun.sleep(episode.calmMs);
    }
    this.#succeeded = this.#record.counts.ok;
    await this.stopClients();
  }

  /** Looks at everything in peace, and stops it. */
  async conclude(): Promise<ChaosEvidence> {
    await this.#cluster.heal();
    this.#verificationMs = await this.#observer.verify();
    const lastValues = await this.#observer.readAll();
    const finalStates = await this.#observer.finalStates();
    await this.#cluster.shutDown();
    return {
      operations: this.#record.operations,
      lastValues,
      finalStates,
      deaths: this.#cluster.deaths,
      leftovers: await this.#cluster.leftovers(),
      succeeded: this.#succeeded,
      faults: this.#faults.count,
      lastedMs: this.#lastedMs,
    };
  }

  result(complaints: readonly string[]): ChaosResult {
    this.holds = complaints.length === 0;
    const { losses } = this.#faults;
    const { acknowledged, counts } = this.#record;
    const { connectivity } = this.#cluster;
    return {
      seed: this.#options.seed,
      servers: this.#cluster.ids.length - 1,
      counts,
      faults: this.#faults.count,
      lastedMs: this.#lastedMs,
      recoveriesMs: this.#recoveriesMs,
      verificationMs: this.#verificationMs,
      failoversMs: failoverGaps({ losses, acknowledged, connectivity, endMs: this.#endMs }, ASKED.recoveryMs),
      complaints,
      directory: this.#cluster.directory,
    };
  }

  get #lastedMs(): number {
    return this.#endMs - this.#startMs;
  }

  /** Rejects with the first reason when a process does not start or end, or died. */
  async #play({ faults }: Episode): Promise<void> {
    const ends = await Promise.allSettled(faults.map((fault) => this.#faults.run(fault)));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    await this.#cluster.heal();
    if (this.#cluster.deaths.length > 0) throw new Error("a process ended by itself");
    const recoveryMs = await this.#observer.firstWrite();
    this.#recoveriesMs.push(recoveryMs);
    this.#diary(`healed; a write after ${Math.round(recoveryMs)} ms`);
  }

  #startClients(): readonly ChaosClient[] {
    const keys = new ChaosKeys(KEYS_AT_ONCE, USES_OF_A_KEY);
    const { ids, frontendAddress } = this.#cluster;
    return Array.from({ length: FRONTEND_CLIENTS + DIRECT_CLIENTS }, (_, at) => {
      const random = new Random(this.#options.seed, STREAM.clients + at);
      const route =
        at < FRONTEND_CLIENTS
          ? frontendRoute(frontendAddress)
          : serversRoute(ids, (id) => this.#cluster.address(id), random);
      return new ChaosClient(at + 1, route, this.#record, keys, random);
    });
  }

  /** Each ends what it is doing. */
  async stopClients(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.stop()));
    this.#clients = [];
  }

  #progress(): string {
    const { ok, unknown, failed, unanswered } = this.#record.counts;
    const operations = `${ok} operations, ${unknown} unknown, ${failed} failed, ${unanswered} gets unanswered`;
    const worst = Math.round(Math.max(...this.#recoveriesMs));
    const seconds = Math.round(this.#lastedMs / 1000);
    return `${seconds} s: ${operations}; ${this.#faults.count} faults; slowest write after healing ${worst} ms`;
  }
}
