import type { ServerId } from "../../src/raft/entry.ts";
import type { Random } from "../../src/sim/random.ts";
import type { ChaosCluster } from "./chaos-cluster.ts";
import { ChaosMembership } from "./chaos-membership.ts";
import { describeFault, type Fault, type PlannedFault, type Shape, type Victim } from "./chaos-plan.ts";
import { PASS, type Treatment } from "./link-proxy.ts";

/** A leader that is away for less may still lead afterwards. */
const LEADER_LOST_MS = 1000;

/** Says what is done, as it is done. */
export type Tell = (line: string) => void;

/** Does to the cluster what is planned. One server's process is in the hands of one fault at a time. */
export class ChaosFaults {
  readonly #cluster: ChaosCluster;
  readonly #random: Random;
  readonly #tell: Tell;
  readonly #membership: ChaosMembership;
  readonly #busy = new Set<ServerId | "frontend">();
  /** How many were begun. */
  count = 0;
  /** When leaders were taken away whose majority may go on. */
  readonly losses: number[] = [];

  constructor(cluster: ChaosCluster, random: Random, tell: Tell) {
    this.#cluster = cluster;
    this.#random = random;
    this.#tell = tell;
    this.#membership = new ChaosMembership(cluster, random);
  }

  /** Resolves when the fault is over; rejects when a process does not start or end in time. */
  async run({ fault, afterMs, forMs }: PlannedFault): Promise<void> {
    await Bun.sleep(afterMs);
    switch (fault.kind) {
      case "kill":
        return this.#withProcesses(fault, await this.#victims(fault.victim), (ids) => this.#kill(ids, forMs));
      case "stop":
        return this.#withProcesses(fault, await this.#victims(fault.victim), (ids) => this.#stop(ids, forMs));
      case "killAll":
        return this.#withProcesses(fault, this.#free(), (ids) => this.#kill(ids, forMs));
      case "rollingRestart":
        return this.#withProcesses(fault, this.#free(), (ids) => this.#roll(ids, forMs));
      case "link":
        return this.#link(fault, forMs);
      case "reset":
        return this.#reset(fault);
      case "partition":
        return this.#partition(fault, forMs);
      case "add":
        return this.#change(fault, (claim) => this.#membership.add(claim));
      case "remove":
        return this.#change(fault, async () => this.#membership.remove(await this.#victim(fault.victim)));
      case "transfer":
        return this.#change(fault, () => this.#membership.transfer());
      case "killFrontend":
        return this.#killFrontend(fault, forMs);
    }
  }

  #begins(fault: Fault, whom: string): void {
    this.count += 1;
    this.#tell(`${describeFault(fault)}: ${whom}`);
  }

  /** Members whose process nobody has in hand. */
  #free(): readonly ServerId[] {
    return this.#cluster.members.map(({ id }) => id).filter((id) => !this.#busy.has(id));
  }

  async #victim(victim: Victim): Promise<ServerId | null> {
    const leaderId = (await this.#cluster.look()).leader?.id ?? null;
    const ids = this.#cluster.members.map(({ id }) => id);
    if (victim === "leader" && leaderId !== null) return leaderId;
    const [first, ...others] = victim === "follower" ? ids.filter((id) => id !== leaderId) : ids;
    return first === undefined ? null : this.#random.pick([first, ...others]);
  }

  /** As a list: one, or none when it is in other hands. */
  async #victims(victim: Victim): Promise<readonly ServerId[]> {
    const id = await this.#victim(victim);
    return id === null || this.#busy.has(id) ? this.#free().slice(0, 1) : [id];
  }

  /** Has these processes to itself meanwhile. */
  async #withProcesses(
    fault: Fault,
    ids: readonly ServerId[],
    run: (ids: readonly ServerId[]) => Promise<void>,
  ): Promise<void> {
    if (ids.length === 0) return;
    for (const id of ids) this.#busy.add(id);
    try {
      this.#begins(fault, `server ${ids.join(", ")}`);
      await run(ids);
    } finally {
      for (const id of ids) this.#busy.delete(id);
    }
  }

  async #kill(ids: readonly ServerId[], forMs: number): Promise<void> {
    await this.#noteLoss(ids);
    await Promise.all(ids.map((id) => this.#cluster.endServer(id, "SIGKILL")));
    await Bun.sleep(forMs);
    await Promise.all(ids.map((id) => this.#cluster.startServer(id)));
  }

  async #stop(ids: readonly ServerId[], forMs: number): Promise<void> {
    if (forMs >= LEADER_LOST_MS) await this.#noteLoss(ids);
    for (const id of ids) this.#cluster.stop(id);
    await Bun.sleep(forMs);
    for (const id of ids) this.#cluster.resume(id);
  }

  async #roll(ids: readonly ServerId[], forMs: number): Promise<void> {
    for (const id of ids) {
      await this.#cluster.endServer(id, "SIGTERM");
      await this.#cluster.startServer(id);
      await Bun.sleep(forMs);
    }
  }

  /** If the leader is one of those that are taken away now. */
  async #noteLoss(ids: readonly ServerId[]): Promise<void> {
    const { leader } = await this.#cluster.look();
    if (leader !== null && ids.includes(leader.id)) this.losses.push(performance.now());
  }

  async #link(fault: Extract<Fault, { kind: "link" }>, forMs: number): Promise<void> {
    const id = await this.#victim(fault.victim);
    if (id === null) return;
    const others = this.#random.shuffle(this.#cluster.members.map((member) => member.id));
    const all = others.filter((other) => other !== id);
    const far = fault.breadth === "all" ? all : all.slice(0, 1);
    const arcs = far.flatMap((other): (readonly [ServerId, ServerId])[] => [
      ...(fault.way === "in" ? [] : [[id, other] as const]),
      ...(fault.way === "out" ? [] : [[other, id] as const]),
    ]);
    this.#begins(fault, `server ${id} and ${far.join(", ")}`);
    await this.#treat(arcs, fault.treatment, forMs);
  }

  async #reset(fault: Extract<Fault, { kind: "reset" }>): Promise<void> {
    const id = await this.#victim(fault.victim);
    if (id === null) return;
    this.#begins(fault, `server ${id}`);
    for (const other of this.#cluster.ids) if (other !== id) this.#cluster.network.reset(id, other);
  }

  async #partition(fault: Extract<Fault, { kind: "partition" }>, forMs: number): Promise<void> {
    const { leader } = await this.#cluster.look();
    const ids = this.#random.shuffle(this.#cluster.members.map(({ id }) => id));
    const leaderId = leader?.id ?? ids[0];
    if (leaderId === undefined) return;
    const followers = ids.filter((id) => id !== leaderId);
    const [one, other] = sides(fault.shape, leaderId, followers);
    this.#begins(fault, `servers ${one.join(", ")} | ${other.join(", ")}`);
    const isLoss = fault.shape === "leaderAlone" || fault.shape === "leaderInMinority";
    if (leader !== null && isLoss) this.losses.push(performance.now());
    const arcs = one.flatMap((a) => other.flatMap((b) => [[a, b] as const, [b, a] as const]));
    await this.#treat(arcs, fault.treatment, forMs);
  }

  async #treat(
    arcs: readonly (readonly [ServerId, ServerId])[],
    treatment: Treatment,
    forMs: number,
  ): Promise<void> {
    for (const [from, to] of arcs) this.#cluster.treat(from, to, treatment);
    await Bun.sleep(forMs);
    for (const [from, to] of arcs) this.#cluster.treat(from, to, PASS);
  }

  /** `change` tells what became of it. It may ask for a server's process, and gets it unless it is in other hands. */
  async #change(fault: Fault, change: (claim: (id: ServerId) => boolean) => Promise<string>): Promise<void> {
    this.#begins(fault, "begins");
    const claimed: ServerId[] = [];
    const claim = (id: ServerId): boolean => {
      if (this.#busy.has(id)) return false;
      this.#busy.add(id);
      claimed.push(id);
      return true;
    };
    try {
      this.#tell(`${describeFault(fault)}: ${await change(claim)}`);
    } finally {
      for (const id of claimed) this.#busy.delete(id);
    }
  }

  async #killFrontend(fault: Fault, forMs: number): Promise<void> {
    if (this.#busy.has("frontend")) return;
    this.#busy.add("frontend");
    try {
      this.#begins(fault, "the frontend");
      await this.#cluster.endFrontend("SIGKILL");
      await Bun.sleep(forMs);
      await this.#cluster.startFrontend();
    } finally {
      this.#busy.delete("frontend");
    }
  }
}

/** Two groups between which nothing passes; who is in neither reaches both. */
function sides(
  shape: Shape,
  leader: ServerId,
  followers: readonly ServerId[],
): readonly [readonly ServerId[], readonly ServerId[]] {
  const minority = Math.ceil((followers.length + 1) / 2) - 1;
  switch (shape) {
    case "leaderAlone":
      return [[leader], followers];
    case "leaderInMinority":
      return [
        [leader, ...followers.slice(1, minority)],
        [...followers.slice(0, 1), ...followers.slice(Math.max(1, minority))],
      ];
    case "leaderInMajority":
      return [[leader, ...followers.slice(minority)], followers.slice(0, minority)];
    case "bridge": {
      const half = Math.ceil((followers.length - 1) / 2);
      return [[leader, ...followers.slice(1, half)], followers.slice(Math.max(1, half))];
    }
  }
}
