import { parseConfig } from "../../src/config/config.ts";
import type { PeerAddress } from "../../src/config/peers.ts";
import { RaftKvError } from "../../src/base/errors.ts";
import { RpcServer, type Handlers } from "../../src/rpc/rpc-server.ts";
import type { ServerStatus, WireCode } from "../../src/rpc/wire.ts";
import { Addresses } from "../../src/server/addresses.ts";
import type { Newcomer } from "../../src/server/creation.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";

export const STATE_DIR = "/state";

/** A server that only tells of itself, what a test wants it to. */
export class FakeMember {
  status: Partial<ServerStatus>;
  readIndexCode: WireCode = "OK";
  readIndex = 0;
  delayReadIndexMs = 0;
  /** Called before each answer to Status. */
  onStatus: () => void = () => {};
  /** Called before each answer to ReadIndex. */
  onReadIndex: () => void = () => {};
  readonly #server = new RpcServer();

  private constructor(status: Partial<ServerStatus>) {
    this.status = status;
  }

  static async start(port: number, status: Partial<ServerStatus>): Promise<FakeMember> {
    const member = new FakeMember(status);
    member.#server.add("KeyValueStore", member.#handlers());
    await member.#server.listen(["127.0.0.1"], port);
    return member;
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  #handlers(): Handlers<"KeyValueStore"> {
    return {
      Status: async () => {
        this.onStatus();
        return this.status;
      },
      ReadIndex: async () => {
        this.onReadIndex();
        if (this.delayReadIndexMs > 0) await Bun.sleep(this.delayReadIndexMs);
        return { code: this.readIndexCode, index: this.readIndex };
      },
      ping: refuse,
      GetState: refuse,
      Get: refuse,
      Put: refuse,
      PutMany: refuse,
      AppendEntries: refuse,
      RequestVote: refuse,
      InstallSnapshot: refuse,
      TakeSnapshot: refuse,
      ReadSnapshot: refuse,
      TimeoutNow: refuse,
      AddMember: refuse,
      PromoteMember: refuse,
      RemoveMember: refuse,
      TransferLeadership: refuse,
    };
  }
}

function refuse(): Promise<never> {
  return Promise.reject(new RaftKvError("unavailable", "not here"));
}

/** By a config.ini that has server i at 127.0.0.1, port `basePort` + i. */
export function addressesFrom(basePort: number, via: readonly PeerAddress[] = []): Addresses {
  const text = `[Global]
base_address = 127.0.0.1
[Servers]
base_port = ${basePort}
base_source_port = 7001
max_workers = 10
persistent_state_path = raft_state
active = 0
`;
  return new Addresses(parseConfig(text, "config.ini"), via);
}

/** A server that is to be made, at the port that config.ini gives it. */
export function newcomer(basePort: number, id: number, fs = new MemoryDisk().mount()): Newcomer {
  const addresses = addressesFrom(basePort);
  return { fs, stateDirectory: STATE_DIR, id, addresses, hosts: ["127.0.0.1"], port: basePort + id };
}
