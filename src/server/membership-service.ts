/**
 * Changes of who belongs to the cluster and who leads it, as the leader is asked for them (dissertation §3.10,
 * chapter 4). Each call is answered before its caller's deadline, and says what state it leaves.
 *
 *   AddMember   checked -> asked whether it is there -> added as a non-voter -> it has caught up -> promoted
 */
import { ADDRESS_EXPECTED, parseAddress } from "../config/peers.ts";
import { MAX_SERVER_ID } from "../config/value-reader.ts";
import { RaftKvError } from "../base/errors.ts";
import type { Clock } from "../node/clock.ts";
import type { Node } from "../node/node.ts";
import type { ChangeOutcome } from "../node/waiting-clients.ts";
import { MAX_MEMBERS, memberOf, type ConfigurationChange } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { CallContext, Handlers } from "../rpc/rpc-server.ts";
import type { AddMemberArgs, GenericResponse, TransferArgs, WireCode } from "../rpc/wire.ts";
import type { Identity } from "../storage/store.ts";
import type { Addresses } from "./addresses.ts";
import { changeRefusal, refusedChange, transferRefusal } from "./change-refusal.ts";
import { pause } from "./pause.ts";
import type { probe } from "./probe.ts";
import { notLeader, type Refusal } from "./refusal.ts";

export interface MembershipContext {
  readonly node: Pick<Node, "status" | "followers" | "changeConfiguration" | "transferLeadership">;
  readonly identity: Identity;
  readonly addresses: Addresses;
  readonly clock: Clock;
  readonly probe: typeof probe;
}

type Answer = Promise<Partial<GenericResponse>>;

/** Of a caller that sets no deadline. */
const DEFAULT_TIMEOUT_MS = 30_000;
/** An answer is on its way so long before the caller's deadline; a tenth of it, when that is less. */
const ANSWER_MARGIN_MS = 500;
const PROBE_TIMEOUT_MS = 2000;
/** How often the core is asked whether a new member has caught up, or whether it is ready for a change. */
const POLL_MS = 20;

export function membershipHandlers(
  context: MembershipContext,
): Pick<Handlers<"KeyValueStore">, "AddMember" | "PromoteMember" | "RemoveMember" | "TransferLeadership"> {
  return {
    AddMember: (args, call) => refusing(() => new Addition(context, args, deadlineOf(context, call)).run()),
    PromoteMember: ({ arg: id }, call) => refusing(() => change(context, { kind: "promote", id }, call)),
    RemoveMember: ({ arg: id }, call) => refusing(() => change(context, { kind: "remove", id }, call)),
    TransferLeadership: (args) => refusing(() => transfer(context, args)),
  };
}

/** Arguments that can never be served are an answer like any other. */
async function refusing(serve: () => Answer): Answer {
  try {
    return await serve();
  } catch (error) {
    if (!(error instanceof RaftKvError) || error.code !== "invalidArgument") throw error;
    return { error: error.message, code: "INVALID_ARGUMENT" };
  }
}

async function change(context: MembershipContext, wanted: ConfigurationChange, call: CallContext): Answer {
  checkId(wanted.id);
  const outcome = await changed(context, wanted, deadlineOf(context, call));
  return changeRefusal(wanted.id, outcome) ?? { success: true };
}

async function transfer({ node }: MembershipContext, args: TransferArgs): Answer {
  const to = args.to ?? null;
  if (to !== null) checkId(to);
  const outcome = await node.transferLeadership(to);
  if (outcome.kind === "done") return { success: true, leaderId: outcome.leaderId };
  return transferRefusal(to, outcome) ?? { success: true };
}

/** One AddMember under way. */
class Addition {
  readonly #context: MembershipContext;
  readonly #id: ServerId;
  /** As the configuration gets it; "": where config.ini says. */
  readonly #address: string;
  readonly #nonVoter: boolean;
  readonly #deadlineMs: number;

  /** `deadlineMs` is a time of the context's clock. Throws RaftKvError "invalidArgument". */
  constructor(context: MembershipContext, { id, address, nonVoter }: AddMemberArgs, deadlineMs: number) {
    checkId(id);
    const parsed = address === "" ? "" : parseAddress(address);
    if (parsed === null) {
      throw invalid(`the address must be ${ADDRESS_EXPECTED}, not ${JSON.stringify(address.slice(0, 100))}`);
    }
    this.#context = context;
    this.#id = id;
    // Not what means the same in other words: addresses are compared as they are told.
    this.#address = parsed;
    this.#nonVoter = nonVoter;
    this.#deadlineMs = deadlineMs;
  }

  async run(): Answer {
    const add = { kind: "add", id: this.#id, address: this.#address } as const;
    const refusal = this.#contradiction() ?? (await this.#absence()) ?? this.#contradiction();
    if (refusal !== null) return refusal;
    const added = changeRefusal(this.#id, await changed(this.#context, add, this.#deadlineMs));
    if (added !== null) return added;
    return this.#nonVoter ? { success: true } : this.#promote();
  }

  /** What in the configuration of this moment speaks against it. */
  #contradiction(): Refusal | null {
    const { node, addresses } = this.#context;
    const { role, leaderId, configuration } = node.status();
    if (role !== "leader") return notLeader(leaderId);
    const id = this.#id;
    const member = memberOf(configuration, id);
    if (member !== null) {
      const hint = member.voter ? "" : `, as a non-voter: promote it (raftkv member promote ${id})`;
      return { error: `server ${id} is a member already${hint}`, code: "FAILED_PRECONDITION" };
    }
    const address = addresses.told({ id, address: this.#address });
    const holder = configuration.find((other) => addresses.told(other) === address);
    if (holder !== undefined) {
      return { error: `${address} is the address of server ${holder.id}`, code: "FAILED_PRECONDITION" };
    }
    return configuration.length < MAX_MEMBERS ? null : refusedChange(id, "tooMany");
  }

  /** Why the server cannot be added that is, or is not, at the address. */
  async #absence(): Promise<Refusal | null> {
    const { identity, addresses, clock } = this.#context;
    const [id, address] = [this.#id, addresses.reached({ id: this.#id, address: this.#address })];
    const timeoutMs = Math.min(PROBE_TIMEOUT_MS, Math.max(1, this.#deadlineMs - clock.nowMs()));
    const found = await this.#context.probe(address, id, identity.clusterId, timeoutMs);
    if (found.kind === "answered") return null;
    const error =
      found.kind === "other"
        ? `at ${address} there is ${found.who}, not server ${id} of cluster ${identity.clusterId}`
        : `server ${id} does not answer at ${address}: start it first (raftkv --mode server --id ${id} --join ADDRESS)`;
    return { error, code: "FAILED_PRECONDITION" };
  }

  /** Waits until the new member has caught up, and makes it a voter (M5). */
  async #promote(): Answer {
    const { node, clock } = this.#context;
    const id = this.#id;
    for (;;) {
      const caughtUp = node.followers()?.some((follower) => follower.id === id && follower.caughtUp) ?? true;
      const refusal = caughtUp
        ? await this.#tryPromote()
        : { kind: "later" as const, why: "it has not caught up" };
      if (refusal === null) return { success: true };
      if (refusal.kind === "final") return refusal.answer;
      if (clock.nowMs() + POLL_MS >= this.#deadlineMs) {
        return this.#leftBehind(`in time: ${refusal.why}`, "FAILED_PRECONDITION");
      }
      await pause(clock, POLL_MS);
    }
  }

  /** null: it votes. "later": nothing was done, and it can be tried again soon. */
  async #tryPromote(): Promise<
    { kind: "final"; answer: Partial<GenericResponse> } | { kind: "later"; why: string } | null
  > {
    const id = this.#id;
    const outcome = await changed(this.#context, { kind: "promote", id }, this.#deadlineMs);
    const why = changeRefusal(id, outcome)?.error ?? "";
    switch (outcome.kind) {
      case "done":
        return null;
      case "refused":
        // Somebody else has promoted it meanwhile.
        if (outcome.why === "voter") return null;
        if (outcome.why === "unknownMember") {
          const error = `server ${id} was removed while it caught up`;
          return { kind: "final", answer: { error, code: "FAILED_PRECONDITION" } };
        }
        return { kind: "later", why };
      case "diskFull":
        return { kind: "later", why };
      case "unknown": {
        const error = `server ${id} is a member; whether it votes is not known: ${outcome.why}`;
        return { kind: "final", answer: { error, code: "UNKNOWN_OUTCOME" } };
      }
      default:
        return { kind: "final", answer: this.#leftBehind(`because of this: ${why}`, "UNKNOWN_OUTCOME") };
    }
  }

  /** Added it is, and this call makes no voter of it any more. */
  #leftBehind(why: string, code: WireCode): Refusal {
    const how = `promote it later (raftkv member promote ${this.#id})`;
    const error = `server ${this.#id} was added and stays a non-voter: it was not promoted ${why}; ${how}`;
    return { error, code };
  }
}

/** The change, which a leader that is not ready yet is asked for again, until `deadlineMs`. */
async function changed(
  context: MembershipContext,
  wanted: ConfigurationChange,
  deadlineMs: number,
): Promise<ChangeOutcome> {
  for (;;) {
    const outcome = await changedOnce(context, wanted, deadlineMs);
    const again = outcome.kind === "refused" && outcome.why === "notReady";
    if (!again || context.clock.nowMs() + POLL_MS >= deadlineMs) return outcome;
    await pause(context.clock, POLL_MS);
  }
}

/** The change, or that it was not committed by `deadlineMs`. */
async function changedOnce(
  { node, clock }: MembershipContext,
  wanted: ConfigurationChange,
  deadlineMs: number,
): Promise<ChangeOutcome> {
  const late = Promise.withResolvers<ChangeOutcome>();
  const timer = clock.setTimer(Math.max(0, deadlineMs - clock.nowMs()), () =>
    late.resolve({ kind: "unknown", why: "it was not committed in time" }),
  );
  try {
    return await Promise.race([node.changeConfiguration(wanted), late.promise]);
  } finally {
    timer.cancel();
  }
}

/** When the call should have its answer, as a time of the context's clock. */
function deadlineOf({ clock }: MembershipContext, { remainingMs }: CallContext): number {
  const totalMs = remainingMs ?? DEFAULT_TIMEOUT_MS;
  return clock.nowMs() + totalMs - Math.min(ANSWER_MARGIN_MS, totalMs / 10);
}

function checkId(id: ServerId): void {
  if (Number.isSafeInteger(id) && id >= 0 && id <= MAX_SERVER_ID) return;
  throw invalid(`the server's id is ${id}: expected a whole number from 0 to ${MAX_SERVER_ID}`);
}

function invalid(message: string): RaftKvError {
  return new RaftKvError("invalidArgument", message);
}
