import { RaftKvError } from "../base/errors.ts";
import type { ClusterStatus, MemberStatus, ServerStatus } from "../rpc/wire.ts";
import { command } from "./command.ts";
import { askFrontEnd, clientOptions, errorCodeOf } from "./frontend-client.ts";
import { answered } from "./result.ts";
import { renderTable, type Cell } from "./table.ts";

const HEADINGS = ["ID", "ADDRESS", "ROLE", "TERM", "COMMIT", "APPLIED", "SNAPSHOT", "KEYS", "PID"];

export const statusCommand = command(
  { name: "raftkv status", description: "Show the cluster's servers and which of them leads" },
  clientOptions(5),
  async (args) => {
    const cluster = await askStatus(args);
    const leaderId = leaderOf(cluster);
    return answered(describeCluster(cluster, leaderId), clusterJson(cluster, leaderId));
  },
);

/** What the frontend knows of its cluster. Throws RaftKvError as askFrontEnd, and "noCluster". */
export async function askStatus(
  options: Readonly<Record<"address" | "timeout", string>>,
): Promise<ClusterStatus> {
  const cluster = await askFrontEnd(options, (client, timeoutMs) => client.call("Status", {}, timeoutMs));
  if (cluster.clusterId !== "") return cluster;
  const { code, error } = cluster;
  if (code !== "OK" && code !== "NO_CLUSTER") throw new RaftKvError(errorCodeOf(code), error);
  throw new RaftKvError("noCluster", 'no cluster: start one with "raftkv start 3"');
}

/** A deposed leader may not know it yet, so of several the one in the highest term counts. null: none known. */
export function leaderOf(cluster: Pick<ClusterStatus, "members">): number | null {
  const leaders = cluster.members
    .flatMap((member) => (member.server?.role === "leader" ? [member.server] : []))
    .toSorted((a, b) => b.term - a.term);
  return leaders[0]?.id ?? null;
}

function describeCluster(cluster: ClusterStatus, leaderId: number | null): string {
  const rows = cluster.members.map((member) => memberRow(member, leaderId));
  const leader = leaderId === null ? "no leader" : `leader ${leaderId}`;
  return `cluster ${cluster.clusterId}, ${leader}\n\n${renderTable(HEADINGS, rows)}`;
}

function memberRow(member: MemberStatus, leaderId: number | null): readonly Cell[] {
  const { id, address, server } = member;
  if (server === null || !member.reachable) {
    return [
      id,
      address,
      { text: member.voter ? "unreachable" : "unreachable, non-voter", colour: "red" },
      null,
      null,
      null,
      null,
      null,
      null,
    ];
  }
  const { term, commitIndex, lastApplied, snapshotIndex, keys, pid } = server;
  const snapshot = snapshotIndex === 0 ? null : snapshotIndex;
  return [
    id,
    address,
    roleCell(member, server, leaderId),
    term,
    commitIndex,
    lastApplied,
    snapshot,
    keys,
    pid,
  ];
}

function roleCell(
  { voter }: MemberStatus,
  { id, role, diskFull, abstains }: ServerStatus,
  leaderId: number | null,
): Cell {
  const text = `${role}${voter ? "" : ", non-voter"}${id === leaderId ? " *" : ""}`;
  if (diskFull) return { text: `${text}, disk full`, colour: "red" };
  if (abstains) return { text: `${text}, catching up`, colour: "yellow" };
  return id === leaderId ? { text, colour: "green" } : text;
}

function clusterJson(cluster: ClusterStatus, leaderId: number | null): object {
  const members = cluster.members.map((member) => ({
    id: member.id,
    address: member.address,
    voter: member.voter,
    reachable: member.reachable,
    role: member.server?.role ?? null,
    term: member.server?.term ?? null,
    commitIndex: member.server?.commitIndex ?? null,
    lastApplied: member.server?.lastApplied ?? null,
    lastLogIndex: member.server?.lastLogIndex ?? null,
    firstLogIndex: member.server?.firstLogIndex ?? null,
    snapshotIndex: member.server?.snapshotIndex ?? null,
    diskFull: member.server?.diskFull ?? null,
    abstains: member.server?.abstains ?? null,
    keys: member.server?.keys ?? null,
    pid: member.server?.pid ?? null,
    version: member.server?.version ?? null,
  }));
  return { clusterId: cluster.clusterId, leaderId, version: cluster.version, members };
}
