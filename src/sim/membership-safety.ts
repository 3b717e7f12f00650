/** The rules of membership (dissertation chapter 4), checked of every server after each of its steps. */
import { isSameConfiguration, memberOf, type Configuration, type Member } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { RaftStatus } from "../raft/raft.ts";
import type { DurableModel } from "./durable-model.ts";
import type { KnownConfigurations } from "./known-configurations.ts";
import { require } from "./violation.ts";

export class MembershipSafety {
  readonly #known: KnownConfigurations;
  readonly #durable: (id: ServerId) => DurableModel;

  constructor(known: KnownConfigurations, durable: (id: ServerId) => DurableModel) {
    this.#known = known;
    this.#durable = durable;
  }

  /** Its log has been looked through. `before` undefined: it has just started. */
  stepped(before: RaftStatus | undefined, status: RaftStatus): void {
    this.#checkInForce(status);
    this.#checkStands(status);
    if (before === undefined) return;
    this.#checkTransfer(before, status);
    const { index } = this.#known.of(status.id);
    if (status.role === "leader" && index > before.lastLogIndex) this.#checkChange(status);
  }

  /** M3: it goes by the latest configuration in its log, and by no other (dissertation §4.1). */
  #checkInForce({ id, configuration }: RaftStatus): void {
    const latest = this.#known.of(id);
    require("Membership", isSameConfiguration(configuration, latest.configuration), () => {
      return `server ${id} goes by ${describe(configuration)}; the latest in its log, at ${latest.index}, is ${describe(latest.configuration)}`;
    });
  }

  /** M4: who is no voter stands for election only while its removal may be undone (dissertation §4.2.2). */
  #checkStands({ id, role, commitIndex }: RaftStatus): void {
    if (role !== "preCandidate" && role !== "candidate") return;
    const latest = this.#known.of(id);
    const former = this.#known.formerOf(id);
    const may =
      isVoter(latest.configuration, id) || (latest.index > commitIndex && isVoter(former.configuration, id));
    require("Membership", may, () => {
      return `server ${id} stands for election and is no voter of ${describe(latest.configuration)}`;
    });
  }

  /** While it hands over, a leader's log does not grow (dissertation §3.10). */
  #checkTransfer(before: RaftStatus, after: RaftStatus): void {
    const handsOver = before.transferTo !== null && before.transferTo === after.transferTo;
    const grew = after.lastLogIndex > before.lastLogIndex;
    require("Transfer", !(handsOver && before.currentTerm === after.currentTerm && grew), () => {
      return `server ${after.id} hands over to ${after.transferTo} and takes entry ${after.lastLogIndex}`;
    });
  }

  /** A leader has begun a change. */
  #checkChange({ id, commitIndex, noopIndex }: RaftStatus): void {
    const former = this.#known.formerOf(id);
    const latest = this.#known.of(id);
    const what = `server ${id} changes ${describe(former.configuration)} to ${describe(latest.configuration)}`;
    require("Membership", noopIndex !== null && commitIndex >= noopIndex, () => {
      return `${what} before its no-op is committed (M1)`;
    });
    require("Membership", former.index <= commitIndex, () => {
      return `${what}, and the change before it, at ${former.index}, is not committed (M2)`;
    });
    const changed = changedMembers(former.configuration, latest.configuration);
    require("Membership", changed.length === 1, () => `${what}: not one server`);
    for (const [before, after] of changed) {
      require("Membership", before !== null || after?.voter === false, () => {
        return `${what}: a new server votes at once (M5)`;
      });
      if (before?.voter === false && after?.voter === true) this.#checkPromoted(id, after.id);
    }
  }

  /** M5: who becomes a voter has at least the entry by which it was added. */
  #checkPromoted(leader: ServerId, id: ServerId): void {
    const addedAt = this.#known.addedAt(leader, id);
    const { lastIndex } = this.#durable(id);
    require("Membership", lastIndex >= addedAt, () => {
      return `server ${leader} promotes server ${id}, which was added by entry ${addedAt} and has ${lastIndex} entries (M5)`;
    });
  }
}

function isVoter(configuration: Configuration, id: ServerId): boolean {
  return memberOf(configuration, id)?.voter === true;
}

/** Before and after; null: it is no member. */
function changedMembers(
  from: Configuration,
  to: Configuration,
): readonly (readonly [Member | null, Member | null])[] {
  const ids = [...new Set([...from, ...to].map(({ id }) => id))];
  return ids
    .map((id) => [memberOf(from, id), memberOf(to, id)] as const)
    .filter(([a, b]) => !isSameConfiguration(a === null ? [] : [a], b === null ? [] : [b]));
}

/** "0 1 2 (3)": the voters, and in brackets who does not vote. */
export function describe(configuration: Configuration): string {
  const ids = configuration.map(({ id, voter }) => (voter ? `${id}` : `(${id})`));
  return `[${ids.join(" ")}]`;
}
