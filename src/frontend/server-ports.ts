import { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import { isPortTaken, portHolder } from "./listening-port.ts";
import { deadlineIn, waitUntil } from "./waiting.ts";

export interface ServerPortsOptions {
  readonly portOf: (id: ServerId) => number;
  /** Where servers listen on this machine. */
  readonly hosts: readonly string[];
}

/** The ports of this machine's servers, whoever has them. */
export class ServerPorts {
  readonly #options: ServerPortsOptions;

  constructor(options: ServerPortsOptions) {
    this.#options = options;
  }

  isTaken(id: ServerId): Promise<boolean> {
    const { hosts, portOf } = this.#options;
    return isPortTaken(hosts, portOf(id));
  }

  /** "; port 9001 is in use by process 7 (nginx)", as far as the system tells; "" when it is free. */
  async note(id: ServerId): Promise<string> {
    const port = this.#options.portOf(id);
    return (await this.isTaken(id)) ? `; port ${port} is in use${await byHolder(port)}` : "";
  }

  /**
   * A port is free a moment after its last owner is gone; one that stays taken for `patienceMs` is somebody
   * else's. Rejects then with RaftKvError "failedPrecondition".
   */
  async waitUntilFree(ids: readonly ServerId[], patienceMs: number): Promise<void> {
    await Promise.all(
      ids.map(async (id) => {
        if (await waitUntil(deadlineIn(patienceMs), async () => !(await this.isTaken(id)))) return;
        const port = this.#options.portOf(id);
        const what = `port ${port} of server ${id} is in use${await byHolder(port)}`;
        throw new RaftKvError("failedPrecondition", `${what}: free it, or change base_port`);
      }),
    );
  }
}

/** " by process 7 (nginx)" where the system tells who listens on the port, else nothing. */
async function byHolder(port: number): Promise<string> {
  const holder = await portHolder(port);
  return holder === null ? "" : ` by process ${holder.pid} (${holder.name})`;
}
