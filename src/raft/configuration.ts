/**
 * Who belongs to the cluster (dissertation chapter 4). A configuration is an entry of the log, and each server
 * uses the latest one that its log holds, committed or not. Changes go one server at a time, so that any
 * majority of the voters before a change meets any majority after it.
 */
import type { ServerId } from "./entry.ts";

/** A server of the cluster. */
export interface Member {
  readonly id: ServerId;
  /** Where the others reach it, "host:port". The core only compares it; "": where the configuration file says. */
  readonly address: string;
  /** It counts in elections and commits; otherwise it only receives the log (dissertation §4.2.1). */
  readonly voter: boolean;
}

/** Ascending by id. Empty: this server does not know the cluster yet, as one that waits to be added to it. */
export type Configuration = readonly Member[];

/** One server at a time, so that two majorities always meet. */
export type ConfigurationChange =
  /** As a non-voter, which catches up. */
  | { readonly kind: "add"; readonly id: ServerId; readonly address: string }
  /** A non-voter that has caught up becomes a voter. */
  | { readonly kind: "promote"; readonly id: ServerId }
  | { readonly kind: "remove"; readonly id: ServerId };

/** Why a change is not made; the cluster is what it was. */
export type ChangeRefusal =
  /** M1: this leader's no-op is not committed yet, or too few of the voters that there would be know so; soon. */
  | "notReady"
  /** M2: the change before is not committed yet. */
  | "underWay"
  /** Leadership is being handed over. */
  | "transferring"
  /** Of "add": it is a member already. */
  | "member"
  /** Of "add": another member has that address. */
  | "addressTaken"
  /** Of "add": there are MAX_MEMBERS. */
  | "tooMany"
  /** Of "promote" and "remove". */
  | "unknownMember"
  /** Of "promote": it is a voter already. */
  | "voter"
  /** Of "promote": it lacks more of the log than it can get in an election timeout, or is silent. */
  | "notCaughtUp"
  /** Of "remove": nobody would be left to vote. */
  | "lastVoter"
  /** No majority of the voters that there would be is there: nothing would be committed any more. */
  | "noQuorum";

/** More servers than this make a cluster slower and no safer; and a typing error must not start a thousand. */
export const MAX_MEMBERS = 15;

export function votersOf(configuration: Configuration): readonly ServerId[] {
  return configuration.filter(({ voter }) => voter).map(({ id }) => id);
}

/** null: it is none. */
export function memberOf(configuration: Configuration, id: ServerId): Member | null {
  return configuration.find((member) => member.id === id) ?? null;
}

/** Of a new cluster: every one of them votes. `addressOf` as Member.address; left out: "". */
export function initialConfiguration(
  servers: readonly ServerId[],
  addressOf: (id: ServerId) => string = () => "",
): Configuration {
  return servers.toSorted((a, b) => a - b).map((id) => ({ id, address: addressOf(id), voter: true }));
}

/** Whether two say the same of the same servers. */
export function isSameConfiguration(left: Configuration, right: Configuration): boolean {
  return (
    left.length === right.length &&
    left.every((member, at) => {
      const other = right[at];
      return other?.id === member.id && other.address === member.address && other.voter === member.voter;
    })
  );
}
