/** The two systems that are compared, each as three servers on this machine. */
import { join } from "node:path";
import { Deployment } from "../cluster/deployment.ts";
import type { ContenderName } from "./comparison.ts";
import type { SyncedCluster } from "./durability.ts";
import type { EtcdCluster } from "./etcd-cluster.ts";
import { etcdGets, etcdPuts } from "./etcd-rpc.ts";
import { frontendGets, frontendPuts, serverGets, serverPuts, type Target } from "./target.ts";

const SERVERS = [0, 1, 2] as const;

/** Where a load goes, and which processes it is that serve it. */
export interface Contender {
  readonly name: ContenderName;
  /** Of the servers. */
  readonly pids: readonly number[];
  /** Of everything that works when it is called, the servers among it. */
  readonly workers: readonly number[];
  /** Of everything that works, a little, while others are called. */
  readonly everyone: readonly number[];
  /** Asked before every run: who leads may have changed. */
  readonly target: (kind: "put" | "get") => Promise<Target>;
}

export function etcdContender(cluster: EtcdCluster): Contender {
  const { pids } = cluster;
  const target = async (kind: "put" | "get"): Promise<Target> => {
    const { address } = await cluster.leader();
    return kind === "put" ? etcdPuts(address) : etcdGets(address);
  };
  return { name: "etcd", pids, workers: pids, everyone: pids, target };
}

/** RaftKV at its leader, and through its frontend. */
export function raftkvContenders(
  deployment: Deployment,
  frontendPid: number,
): readonly [Contender, Contender] {
  const pids = SERVERS.flatMap((id) => deployment.pids(id));
  const everyone = [...pids, frontendPid];
  const atLeader = async (kind: "put" | "get"): Promise<Target> => {
    const { id } = await deployment.leader(SERVERS.length);
    const { address } = deployment.server(id);
    return kind === "put" ? serverPuts(address) : serverGets(address, "LINEARIZABLE");
  };
  const { frontendAddress } = deployment;
  const routed = async (kind: "put" | "get"): Promise<Target> =>
    kind === "put" ? frontendPuts(frontendAddress) : frontendGets(frontendAddress);
  return [
    { name: "raftkv", pids, workers: pids, everyone, target: atLeader },
    { name: "frontend", pids, workers: everyone, everyone, target: routed },
  ];
}

/** A deployment of three servers that serve, and the pid of its frontend. */
export async function startRaftkv(): Promise<{
  readonly deployment: Deployment;
  readonly frontendPid: number;
}> {
  const deployment = await Deployment.create();
  try {
    const frontendPid = await deployment.startFrontend();
    await deployment.startRaft(SERVERS.length);
    return { deployment, frontendPid };
  } catch (error) {
    await deployment.close();
    throw error;
  }
}

/** Where a deployment's servers keep what they sync. */
export function raftkvDirectories({ stateDirectory }: Deployment): SyncedCluster["directories"] {
  return SERVERS.map((id) => join(stateDirectory, `server_${id}`));
}
