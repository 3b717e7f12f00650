import { afterEach, beforeEach, expect, test } from "bun:test";
import type { PeerReply } from "../../src/node/peer-message.ts";
import type { Configuration } from "../../src/raft/configuration.ts";
import { PeerTransport } from "../../src/rpc/peer-transport.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { FakeMember } from "../server/fake-member.ts";

let port: number;
/** Both are server 1, at one address and at another. */
let before: FakeMember;
let after: FakeMember;
let transport: PeerTransport;

beforeEach(async () => {
  port = await freePorts(2);
  before = await FakeMember.start(port, { id: 1 });
  after = await FakeMember.start(port + 1, { id: 1 });
  before.readIndex = 4;
  after.readIndex = 5;
  transport = transportFor(300);
});

afterEach(async () => {
  transport.close();
  await Promise.all([before.close(), after.close()]);
});

function transportFor(electionTimeoutMs: number): PeerTransport {
  return new PeerTransport(
    "c",
    ({ address }) => (address === "" ? `127.0.0.1:${port}` : address),
    electionTimeoutMs,
  );
}

function at(address: string): Configuration {
  return [{ id: 1, address, voter: true }];
}

function ask(to: number): Promise<PeerReply | null> {
  return new Promise((settle) => {
    transport.send(to, { kind: "readIndex" }, settle);
  });
}

test("a member is sent to where the configuration says, and elsewhere when that changes", async () => {
  expect(await ask(1)).toBeNull();
  transport.setPeers(at(""));
  expect(await ask(1)).toEqual({ kind: "readIndexReply", readIndex: 4 });
  transport.setPeers(at(`127.0.0.1:${port + 1}`));
  expect(await ask(1)).toEqual({ kind: "readIndexReply", readIndex: 5 });
});

test("M4: who is no member any more is not sent to, and what was sent before is settled all the same", async () => {
  transport.setPeers(at(""));
  await ask(1);
  before.delayReadIndexMs = 100;
  const arrived = new Promise<void>((resolve) => (before.onReadIndex = resolve));
  const sent = ask(1);
  await arrived;
  transport.setPeers([]);
  expect(await sent).toEqual({ kind: "readIndexReply", readIndex: 4 });
  expect(await ask(1)).toBeNull();
});

test("E1: an answer may take as long as an election may", async () => {
  before.delayReadIndexMs = 700;
  transport.setPeers(at(""));
  expect(await ask(1)).toBeNull();
  transport.close();
  transport = transportFor(60_000);
  transport.setPeers(at(""));
  expect(await ask(1)).toEqual({ kind: "readIndexReply", readIndex: 4 });
});
