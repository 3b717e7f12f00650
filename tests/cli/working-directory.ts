import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./fake-frontend.ts";

/** A directory with a config.ini of its own, in which the frontend and server 0 have free ports. */
export interface WorkingDirectory {
  /** Absolute, without symbolic links. */
  readonly directory: string;
  readonly frontendPort: number;
  readonly serverPort: number;
  remove(): Promise<void>;
}

export async function workingDirectory(): Promise<WorkingDirectory> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "raftkv-cli-")));
  const frontendPort = await freePort();
  const serverPort = await freePort();
  const config = `[Global]
base_address = 127.0.0.1
[Servers]
base_port = ${serverPort}
base_source_port = 7001
max_workers = 10
persistent_state_path = raft_state
active = 0
[FrontEnd]
port = ${frontendPort}
`;
  await Bun.write(join(directory, "config.ini"), config);
  return { directory, frontendPort, serverPort, remove: () => rm(directory, { recursive: true }) };
}
