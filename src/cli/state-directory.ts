/** The names in a state directory: what servers put there (server-files.ts), and what frontends do. */

const SERVER = /^server_(?:0|[1-9][0-9]*)(?:\.json|\.json\.tmp|\.log|\.replaced-.+)?$/;
const CLUSTER = /^cluster\.json(?:\.tmp)?$/;
const LOCK = "frontend.lock";

/** Whether the name is a server's or a cluster's: where it stands, there is or was a cluster. */
export function isClusterFile(name: string): boolean {
  return SERVER.test(name) || CLUSTER.test(name);
}

/** Whether a server or a frontend gives that name to anything. */
export function isOurs(name: string): boolean {
  return isClusterFile(name) || name === LOCK;
}
