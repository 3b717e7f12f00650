/**
 * How a configuration stands in a server's files. Mostly all of its members vote and are where the configuration
 * file says; then their ids are enough, which is also all that versions without membership changes wrote and read:
 *
 *   "servers":[0,1,2]
 *   "members":[{"id":0,"address":"10.0.0.1:9001","voter":true}]     any other
 *
 * There is one way to write each: ids ascend, and what can be said as "servers" is not said as "members".
 */
import { z } from "zod";

import { initialConfiguration, type Configuration } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";

/** The id of a server. */
export const serverIdShape = z.int().min(0);

/** "servers". */
export const serversShape = z
  .array(serverIdShape)
  .min(1)
  .refine((ids) => ascend(ids), { message: "the ids do not ascend" });

/** "members", none of them included. The log has it also for a configuration that "servers" could say. */
export const membersShape = z
  .array(z.strictObject({ id: serverIdShape, address: z.string(), voter: z.boolean() }))
  .refine((members) => isOrdered(members), { message: "the ids do not ascend" });

/** Whether the ids are distinct and ascend, as in every configuration. */
export function isOrdered(members: Configuration): boolean {
  return ascend(members.map(({ id }) => id));
}

/** One of the two fields. */
export interface MembersField {
  readonly servers?: readonly ServerId[] | undefined;
  readonly members?: Configuration | undefined;
}

/** The field as it is written. */
export function encodeMembers(configuration: Configuration): MembersField {
  return isPlain(configuration)
    ? { servers: configuration.map(({ id }) => id) }
    : { members: configuration.map(({ id, address, voter }) => ({ id, address, voter })) };
}

/** The configuration that the field says; null: both are there, or none, or "members" for want of need. */
export function decodeMembers({ servers, members }: MembersField): Configuration | null {
  if (servers !== undefined) return members === undefined ? initialConfiguration(servers) : null;
  return members === undefined || isPlain(members) ? null : members;
}

/** Whether the ids say all that there is to say. */
function isPlain(members: Configuration): boolean {
  return members.length > 0 && members.every(({ address, voter }) => voter && address === "");
}

function ascend(ids: readonly ServerId[]): boolean {
  return ids.every((id, at) => at === 0 || id > (ids[at - 1] ?? id));
}
