/** What `raftkv inspect` tells people. */
import { unreachable } from "../base/assert.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { FileInspection, ServerInspection, StartOutcome } from "../storage/inspection.ts";
import type { Damage } from "../storage/refusal.ts";
import type { SegmentInspection } from "../storage/segment-inspection.ts";
import type { SnapshotInspection } from "../storage/snapshot-inspection.ts";
import type { ServerState } from "../storage/state-file.ts";
import type { DirectoryInspection } from "./inspect.ts";
import { renderTable, type Cell } from "./table.ts";

/** Of one server's damage, so many places are named. */
const MAX_NAMED = 10;

const HEADINGS = ["FILE", "BYTES", "HOLDS", "CHECK"];

export function describeDirectory(inspection: DirectoryInspection): string {
  const { stateDir, servers, faults, strangers, sound } = inspection;
  const parts = [
    [`${stateDir}: ${clusterLine(inspection)}`, ...faults.map((fault) => `damaged: ${fault}`)],
    ...servers.map((server) => serverLines(server, stateDir)),
    strangers.map((path) => `not ours, left alone: ${path}`),
    [sound ? "everything is as it was written" : "not everything is as it was written: see above"],
  ];
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join("\n"))
    .join("\n\n");
}

export function describeSnapshot(snapshot: SnapshotInspection): string {
  const { path, clusterId, members, checksum, bytes } = snapshot;
  if (checksum === null) return damageLines(snapshot.damage).join("\n");
  const lines = [
    `${path}: a snapshot, whole`,
    `  holds    ${snapshotText(snapshot)}`,
    `  cluster  ${clusterId}, ${membersText(members ?? [])}`,
    `  size     ${bytes} bytes, CRC-32 ${checksum}`,
  ];
  return lines.join("\n");
}

function clusterLine({ cluster, servers }: DirectoryInspection): string {
  if (cluster === null) return `no record of a cluster, ${servers.length} with files`;
  const { members } = cluster;
  const size = members.length === 1 ? "1 server" : `${members.length} servers`;
  const isPlain = members.every(({ address, voter }) => address === "" && voter);
  const who = isPlain ? "" : `: ${placesText(members)}`;
  if (cluster.state === "started") return `cluster ${cluster.clusterId}, ${size}${who}`;
  return `a cluster of ${size} that was never completed: the next StartRaft removes it`;
}

function serverLines(server: ServerInspection, stateDir: string): readonly string[] {
  const { serverId, files, leftOvers, strangers, start } = server;
  const damage = files.flatMap((file) => file.damage);
  const rows = files.map((file) => fileRow(file, stateDir));
  return [
    `server ${serverId}: ${startText(start)}`,
    ...(rows.length === 0
      ? []
      : renderTable(HEADINGS, rows)
          .split("\n")
          .map((line) => `  ${line}`)),
    ...damageLines(damage).map((line) => `  ${line}`),
    ...(start.kind === "starts" ? start.repairs.map((repair) => `  a start repairs: ${repair}`) : []),
    ...leftOvers.map((path) => `  left over: ${path}`),
    ...strangers.map((path) => `  not ours, left alone: ${path}`),
  ];
}

function damageLines(damage: readonly Damage[]): readonly string[] {
  const lines = damage
    .slice(0, MAX_NAMED)
    .map(({ path, offset, what }) => `damaged: ${path}: ${offset === null ? "" : `byte ${offset}: `}${what}`);
  const more = damage.length - lines.length;
  return more === 0 ? lines : [...lines, `damaged: ${more} more places; --json names them all`];
}

function startText(start: StartOutcome): string {
  switch (start.kind) {
    case "starts":
      return start.repairs.length === 0 ? "would start" : "would start, after a repair";
    case "refuses":
      return `would not start: ${start.why}`;
    case "runs":
      return "runs; what it is writing just now may look torn";
    default:
      return unreachable(start);
  }
}

function fileRow(file: FileInspection, stateDir: string): readonly Cell[] {
  const name = file.path.slice(stateDir.length + 1);
  const bytes = file.kind === "unreadable" ? null : file.bytes;
  const isTorn = file.kind === "segment" && file.tornBytes > 0;
  const check =
    file.damage.length > 0 ? ({ text: "damaged", colour: "red" } as const) : isTorn ? "torn end" : "ok";
  return [name, bytes, fileText(file), check];
}

function fileText(file: FileInspection): string | null {
  switch (file.kind) {
    case "state":
      return file.state === null ? null : stateText(file.state);
    case "snapshot":
      return file.position === null ? null : snapshotText(file);
    case "segment":
      return segmentText(file);
    case "unreadable":
      return null;
    default:
      return unreachable(file);
  }
}

function stateText({ hardState, identity }: ServerState): string {
  const { currentTerm, votedFor, abstainsThrough, abstainsTo } = hardState;
  const vote = votedFor === null ? "no vote" : `vote for ${votedFor}`;
  const terms = abstainsThrough === 0 ? "" : `, abstains through ${abstainsThrough}`;
  const abstains = abstainsTo === undefined ? terms : `${terms}, abstains up to entry ${abstainsTo}`;
  const { members } = identity;
  const origin = members.length === 0 ? "to be added to its cluster" : `created with ${membersText(members)}`;
  return `term ${currentTerm}, ${vote}${abstains}; ${origin}`;
}

function membersText(members: Configuration): string {
  return `servers ${placesText(members)}`;
}

/** An address stands there only when it is not the one that config.ini says. */
function placesText(members: Configuration): string {
  const texts = members.map(({ id, address, voter }) => {
    const place = address === "" ? `${id}` : `${id}=${address}`;
    return voter ? place : `${place} (no vote)`;
  });
  return texts.join(" ");
}

function snapshotText({ position, keys }: SnapshotInspection): string {
  const place = `state up to entry ${position?.index} of term ${position?.term}`;
  return keys === null ? place : `${place}; ${keys} ${keys === 1 ? "key" : "keys"}`;
}

function segmentText({ firstIndex, lastIndex, lastTerm, members, sealed }: SegmentInspection): string {
  const change = members === null ? "" : `; changed to ${membersText(members)}`;
  const end = `${change}${sealed ? "; sealed" : ""}`;
  if (lastIndex < firstIndex) return `no entries, next ${firstIndex}${end}`;
  return `entries ${firstIndex} to ${lastIndex}, the last of term ${lastTerm}${end}`;
}
