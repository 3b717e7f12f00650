/**
 * Who belongs to the cluster, and who leads it, between the core's types and the wire. What comes in is checked
 * here, as in codec.ts.
 */
import type { ReadIndexReply } from "../node/peer-message.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { TimeoutNow, TimeoutNowReply } from "../raft/message.ts";
import { counter, invalid } from "./counter.ts";
import type { TimeoutNowArgs, WireMember, WireReadIndexReply, WireTimeoutNowReply } from "./wire.ts";

/** Above every name and port that there can be. */
const MAX_ADDRESS_LENGTH = 300;

const ADDRESS = /^[\x21-\x7e]*$/;

export function configurationToWire(configuration: Configuration): readonly WireMember[] {
  return configuration.map(({ id, address, voter }) => ({ id, address, voter }));
}

/** Throws RaftKvError "invalidArgument" for what no leader puts into its log. */
export function configurationFromWire(members: readonly WireMember[]): Configuration {
  if (!members.some(({ voter }) => voter)) throw invalid("a configuration in which nobody votes");
  return members.map(({ id, address, voter }, position) => {
    const before = members[position - 1];
    if (before !== undefined && before.id >= id) throw invalid("a configuration's ids do not ascend");
    if (address.length > MAX_ADDRESS_LENGTH || !ADDRESS.test(address)) {
      throw invalid(
        `member ${id} has no address but ${JSON.stringify(address.slice(0, MAX_ADDRESS_LENGTH))}`,
      );
    }
    return { id: counter("member id", id), address, voter };
  });
}

export function timeoutNowToWire({ term, leaderId }: TimeoutNow, clusterId: string): TimeoutNowArgs {
  return { term, leaderId, clusterId };
}

/** Throws RaftKvError "invalidArgument". */
export function timeoutNowFromWire({ term, leaderId }: TimeoutNowArgs): TimeoutNow {
  return { kind: "timeoutNow", term: counter("term", term), leaderId: counter("leaderId", leaderId) };
}

export function timeoutNowReplyToWire({ term, success }: TimeoutNowReply): WireTimeoutNowReply {
  return { term, success };
}

/** Throws RaftKvError "invalidArgument". */
export function timeoutNowReplyFromWire({ term, success }: WireTimeoutNowReply): TimeoutNowReply {
  return { kind: "timeoutNowReply", term: counter("term", term), success };
}

/** A read index counts only without an error. Throws RaftKvError "invalidArgument". */
export function readIndexReplyFromWire({ index, code }: WireReadIndexReply): ReadIndexReply {
  return { kind: "readIndexReply", readIndex: code === "OK" ? counter("read index", index) : null };
}
