import { expect, test } from "bun:test";
import { idsOf, type Cluster } from "../../src/frontend/cluster.ts";
import { findRecordless } from "../../src/frontend/found-cluster.ts";
import { createLogger } from "../../src/observability/logger.ts";
import { initialConfiguration, type Configuration } from "../../src/raft/configuration.ts";
import { INITIAL_HARD_STATE } from "../../src/raft/hard-state.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { encodeStateFile } from "../../src/storage/state-file.ts";
import type { Identity } from "../../src/storage/store.ts";

const addressOf = (id: number): string => `127.0.0.1:${9001 + id}`;

/** A server's identity without the cluster's. */
type Server = Omit<Identity, "clusterId"> & { readonly clusterId?: string };

/** The cluster that the state files of these servers tell of. */
async function foundAmong(...servers: readonly Server[]): Promise<Cluster | null> {
  const fs = new MemoryDisk().mount();
  await fs.makeDirectory("/state");
  for (const server of servers) {
    const identity = { clusterId: "c", ...server };
    const state = { identity, hardState: INITIAL_HARD_STATE, logReaches: null, installing: null };
    await fs.writeFile(`/state/server_${server.serverId}.json`, encodeStateFile(state));
  }
  const logger = createLogger("test");
  return findRecordless({ fs, stateDirectory: "/state", active: [], addressOf, logger });
}

function founder(serverId: number, members: Configuration): Server {
  return { serverId, members };
}

test("P7: state files of one cluster tell of it, whoever was created with whom", async () => {
  const founders = initialConfiguration([0]);
  const cluster = await foundAmong(
    founder(0, founders),
    { serverId: 1, members: [] },
    { serverId: 2, members: initialConfiguration([0, 1, 2]), membersFrom: 5 },
  );
  expect(cluster).toEqual({ clusterId: "c", members: initialConfiguration([0, 1, 2], addressOf) });
});

test("P7: of what they were created with the latest counts, and every server with a file is asked", async () => {
  const moved = [
    { id: 1, address: "", voter: true },
    { id: 2, address: "10.0.0.3:9003", voter: true },
    { id: 4, address: "", voter: true },
  ];
  const founders = initialConfiguration([0, 1, 2, 3]);
  const cluster = await foundAmong(
    founder(0, founders),
    { serverId: 1, members: moved, membersFrom: 30 },
    { serverId: 7, members: [] },
  );
  expect(cluster && idsOf(cluster)).toEqual([0, 1, 2, 4, 7]);
  expect(cluster?.members.map(({ address }) => address)).toEqual(
    [0, 1, 2, 4, 7].map((id) => (id === 2 ? "10.0.0.3:9003" : addressOf(id))),
  );
});

test("P10: state files of different clusters are refused in one line", async () => {
  const founders = initialConfiguration([0, 1]);
  const error: unknown = await foundAmong(founder(0, founders), {
    ...founder(1, founders),
    clusterId: "d",
  }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "failedPrecondition" });
  expect(String(error)).toMatch(/server_<i>\.json files are of different clusters: [^\n]+$/);
});
