import type { ServerId } from "../../src/raft/entry.ts";
import type { RpcClient } from "../../src/rpc/rpc-client.ts";
import { decodeText, encodeText } from "../../src/rpc/text.ts";
import type { Value } from "../../src/sim/history.ts";
import { read } from "./chaos-clients.ts";
import type { ChaosCluster } from "./chaos-cluster.ts";
import type { ChaosRecord, GetEnd } from "./chaos-record.ts";
import type { FinalState } from "./chaos-verdict.ts";
import { waitFor } from "./waiting.ts";

const ATTEMPT_MS = 500;
const PAUSE_MS = 10;
const RECOVERY_DEADLINE_MS = 60_000;
const READS_AT_ONCE = 16;
/** Above that of any other client. */
const CLIENT_ID = 1000;
const NAME = "observer";

/** Looks at the cluster when everything is healed. What it does stands in the record with all the rest. */
export class ChaosObserver {
  readonly #cluster: ChaosCluster;
  readonly #record: ChaosRecord;
  #writes = 0;

  constructor(cluster: ChaosCluster, record: ChaosRecord) {
    this.#cluster = cluster;
    this.#record = record;
  }

  /** Milliseconds until a write is acknowledged that every server is asked for, again and again. */
  async firstWrite(): Promise<number> {
    const fromMs = performance.now();
    await this.#write();
    return performance.now() - fromMs;
  }

  /** Milliseconds until a write is acknowledged and every member has answered a linearizable read of it. */
  async verify(): Promise<number> {
    const fromMs = performance.now();
    const key = await this.#write();
    await Promise.all(this.#members().map((id) => this.#readAt(id, key)));
    return performance.now() - fromMs;
  }

  /** Linearizable reads of every key of the record at every member; the last answer to each. */
  async readAll(): Promise<ReadonlyMap<string, Value>> {
    const values = new Map<string, Value>();
    for (const id of this.#members()) {
      await forEach(this.#record.keys(), async (key) => void values.set(key, await this.#readAt(id, key)));
    }
    return values;
  }

  /** What every member holds, once they have all applied the same and nothing moves. */
  async finalStates(): Promise<readonly (FinalState & { term: number })[]> {
    const [ids, keys] = [this.#members(), this.#record.keys()];
    return waitFor("all servers have applied the same", async () => {
      const before = await this.#applied(ids);
      if (new Set(before).size > 1) return null;
      const values = await Promise.all(ids.map((id) => this.#localValues(id, keys)));
      const after = await this.#applied(ids);
      if (before.join() !== after.join()) return null;
      return Promise.all(
        ids.map(async (id, at) => {
          const { lastApplied, commitIndex, term } = await this.#server(id).call("Status", {}, ATTEMPT_MS);
          return { id, lastApplied, commitIndex, term, values: values[at] ?? new Map<string, Value>() };
        }),
      );
    });
  }

  #members(): readonly ServerId[] {
    return this.#cluster.members.map(({ id }) => id);
  }

  #server(id: ServerId): RpcClient<"KeyValueStore"> {
    return this.#cluster.client(id);
  }

  #applied(ids: readonly ServerId[]): Promise<readonly number[]> {
    return Promise.all(
      ids.map(async (id) => (await this.#server(id).call("Status", {}, ATTEMPT_MS)).lastApplied),
    );
  }

  async #localValues(id: ServerId, keys: readonly string[]): Promise<ReadonlyMap<string, Value>> {
    const values = new Map<string, Value>();
    await forEach(keys, async (key) => {
      const reply = await this.#server(id).call("Get", { arg: encodeText(key), consistency: "LOCAL" }, 2000);
      values.set(key, reply.found ? decodeText(reply.value) : null);
    });
    return values;
  }

  /** The key. The name makes one write of all that is sent. */
  async #write(): Promise<string> {
    this.#writes += 1;
    const key = `healed-${this.#writes}`;
    const request = {
      key: encodeText(key),
      value: encodeText(key),
      clientId: CLIENT_ID,
      requestId: this.#writes,
    };
    const attempt = async (id: ServerId): Promise<boolean> => {
      const reply = await this.#server(id).call("Put", request, ATTEMPT_MS);
      if (!reply.success) throw new Error(reply.error);
      return true;
    };
    const deadline = performance.now() + RECOVERY_DEADLINE_MS;
    const end = await this.#record.put(NAME, key, key, async () => {
      while (performance.now() < deadline) {
        if (await Promise.any(this.#members().map(attempt)).catch(() => false)) return "ok";
        await Bun.sleep(PAUSE_MS);
      }
      return "unknown";
    });
    if (end === "ok") return key;
    throw new Error(`no write was acknowledged within ${RECOVERY_DEADLINE_MS} ms after healing`);
  }

  async #readAt(id: ServerId, key: string): Promise<Value> {
    const request = { arg: encodeText(key), consistency: "LINEARIZABLE" } as const;
    const send = async (): Promise<GetEnd> => {
      const reply = await this.#server(id)
        .call("Get", request, ATTEMPT_MS)
        .catch(() => null);
      return reply === null || reply.code !== "OK" ? null : read(reply);
    };
    const answer = await waitFor(`server ${id} answers a linearizable read`, () =>
      this.#record.get(NAME, key, send),
    );
    return answer.value;
  }
}

/** A few at a time. */
async function forEach(keys: readonly string[], look: (key: string) => Promise<void>): Promise<void> {
  const left = keys.values();
  const run = async (): Promise<void> => {
    for (const key of left) await look(key);
  };
  await Promise.all(Array.from({ length: READS_AT_ONCE }, run));
}
