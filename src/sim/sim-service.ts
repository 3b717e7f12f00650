/** What a server does with a client's call, and what the checks are told of it. */
import { unreachable } from "../base/assert.ts";
import type { Command } from "../kv/command.ts";
import type { Node } from "../node/node.ts";
import type { ServerId } from "../raft/entry.ts";
import type { Safety } from "./safety.ts";
import type { SimServer } from "./sim-server.ts";

export type Call =
  { readonly kind: "put"; readonly command: Command } | { readonly kind: "get"; readonly key: string };

export type Served =
  /** `read`: what a get found; null: no such key. */
  | { readonly kind: "done"; readonly read: string | null }
  /** Nothing was done, and another server may do it. `leaderId` null: not known. */
  | { readonly kind: "refused"; readonly leaderId: ServerId | null }
  /** It may be done, now or later. */
  | { readonly kind: "unknown" }
  /** As unknown, and it is of no use to ask again. */
  | { readonly kind: "expired" };

export const REFUSED: Served = { kind: "refused", leaderId: null };

/** Rejects only with a Violation. */
export function serve(server: SimServer, node: Node, call: Call, safety: Safety): Promise<Served> {
  switch (call.kind) {
    case "put":
      return servePut(server, node, call.command, safety);
    case "get":
      return serveGet(server, node, call.key, safety);
    default:
      return unreachable(call);
  }
}

async function servePut(server: SimServer, node: Node, command: Command, safety: Safety): Promise<Served> {
  const outcome = await node.put(command).finally(server.clientWaits("put"));
  switch (outcome.kind) {
    case "done":
      if (outcome.result.kind === "expired") return { kind: "expired" };
      safety.acknowledging(command);
      return { kind: "done", read: null };
    case "unknown":
      return { kind: "unknown" };
    case "notLeader":
      return { kind: "refused", leaderId: outcome.leaderId };
    case "transferring":
      return { kind: "refused", leaderId: outcome.to };
    default:
      return REFUSED;
  }
}

/** The value is read in the very moment in which it may be. */
async function serveGet(server: SimServer, node: Node, key: string, safety: Safety): Promise<Served> {
  const asked = safety.acknowledged;
  const read = node.read();
  // A follower's readers wait for the leader's answer; a leader's are told at once when it leads no more.
  const leads = node.status().role === "leader";
  const outcome = await (leads ? read.finally(server.clientWaits("get")) : read);
  if (outcome.kind === "notLeader") return { kind: "refused", leaderId: outcome.leaderId };
  if (outcome.kind !== "ready") return REFUSED;
  safety.readServed(server.id, asked, node.appliedIndex);
  return { kind: "done", read: node.get(key) ?? null };
}
