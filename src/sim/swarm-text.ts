/** A swarm in words, and as little of one as tells it from another. */
import type { Swarm } from "./swarm.ts";

/** A few lines for a person: sizes first, then what may go wrong. */
export function describeSwarm(swarm: Swarm): readonly string[] {
  const { servers, spares, clients, keys, thinkTimeUs, batches, stormUs, clockSkew, maxSegmentBytes } = swarm;
  const cluster = spares === 0 ? count(servers, "server") : `${count(servers, "server")} and ${spares} spare`;
  const batched = batches === 0 ? "" : `, ${percent(batches)} of the writes batches`;
  const sizes = `${cluster}, ${count(clients, "client")}, ${count(keys, "key")}`;
  return [
    `${sizes}; a storm of ${stormUs / 1e6} s, an operation about every ${milliseconds(thinkTimeUs)}${batched}`,
    describeNetwork(swarm),
    describeDisk(swarm),
    describeStrikes(swarm),
    clockSkew === 0 ? "clocks: all right" : `clocks: up to ${percent(clockSkew)} fast or slow`,
    `log: ${count(swarm.maxBatchEntries, "entry", "entries")} a message, ${swarm.maxInflight} in flight, segments of ${maxSegmentBytes} bytes`,
    describeSnapshots(swarm),
    describeFrontends(swarm),
  ];
}

function describeNetwork({ network }: Swarm): string {
  const { latencyMinUs, latencyMaxUs, loss, duplication, delay, delayMaxUs } = network;
  const faults = [
    loss > 0 ? `loses ${percent(loss)}` : null,
    duplication > 0 ? `doubles ${percent(duplication)}` : null,
    delay > 0 ? `delays ${percent(delay)} by up to ${milliseconds(delayMaxUs)}` : null,
  ].filter((fault) => fault !== null);
  const latency = `${milliseconds(latencyMinUs)} to ${milliseconds(latencyMaxUs)}`;
  return `network: ${[latency, ...(faults.length === 0 ? ["loses nothing"] : faults)].join(", ")}`;
}

function describeDisk({ disk }: Swarm): string {
  const { latencyMinUs, latencyMaxUs, fsyncError, slow, slowMaxUs } = disk;
  const faults = [
    fsyncError > 0 ? `${percent(fsyncError)} of fsyncs fail` : null,
    slow > 0 ? `${percent(slow)} of operations take up to ${milliseconds(slowMaxUs)}` : null,
  ].filter((fault) => fault !== null);
  const latency = `${milliseconds(latencyMinUs)} to ${milliseconds(latencyMaxUs)}`;
  return `disk: ${[latency, ...(faults.length === 0 ? ["nothing fails"] : faults)].join(", ")}`;
}

function describeStrikes({ strikes, faultEveryUs }: Swarm): string {
  if (strikes.length === 0) return "strikes: none";
  return `strikes: about every ${milliseconds(faultEveryUs)} one of ${strikes.join(", ")}`;
}

function describeSnapshots({ snapshot: { everyEntries, keepEntries, maxChunkBytes } }: Swarm): string {
  if (everyEntries === 0) return "snapshots: none";
  const behind = `${count(keepEntries, "entry", "entries")} behind it`;
  return `snapshots: one every ${everyEntries} entries, ${behind}, sent in chunks of ${maxChunkBytes} bytes`;
}

function describeFrontends({ frontends, frontendRestart, memory }: Swarm): string {
  const restarts = frontendRestart > 0 ? `, restarted before ${percent(frontendRestart)} of their calls` : "";
  const kept = `${count(memory.sessions, "session")} and ${count(memory.window, "call")} remembered`;
  return `frontends: ${frontends}${restarts}; ${kept}`;
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

function milliseconds(us: number): string {
  return `${us / 1000} ms`;
}

/** Up to a hundredth of a percent: 0.0005 is 0.05 %. */
function percent(share: number): string {
  return `${Math.round(share * 10_000) / 100} %`;
}

/** The fields of `swarm` that are not those of `other`, a level deeper where they are groups of fields. */
export function swarmDifference(swarm: Swarm, other: Swarm): Readonly<Record<string, unknown>> {
  return difference(swarm, other);
}

function difference(value: object, other: object): Record<string, unknown> {
  const others = new Map<string, unknown>(Object.entries(other));
  const different = Object.entries(value).flatMap(([name, field]: [string, unknown]) => {
    const otherField = others.get(name);
    if (JSON.stringify(field) === JSON.stringify(otherField)) return [];
    const grouped = isGroup(field) && isGroup(otherField);
    return [[name, grouped ? difference(field, otherField) : field]];
  });
  return Object.fromEntries(different);
}

function isGroup(field: unknown): field is object {
  return typeof field === "object" && field !== null && !Array.isArray(field);
}
