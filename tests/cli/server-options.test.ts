import { expect, test } from "bun:test";
import { parseServerOptions, type ServerArgs } from "../../src/cli/server-options.ts";
import { UsageError } from "../../src/cli/usage-error.ts";

const PEERS = "0=10.0.0.1:9001,1=10.0.0.2:9001,2=10.0.0.3:9001";

function refusal(args: ServerArgs): string {
  try {
    parseServerOptions({ id: "0", ...args });
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "accepted";
}

test("a server with state on disk needs nothing but its id", () => {
  expect(parseServerOptions({ id: "3" })).toEqual({
    id: 3,
    stateDirectory: null,
    creation: null,
    listen: null,
    advertise: null,
    via: [],
    further: [],
  });
});

test("P9: servers that are given with their addresses found the cluster together; ids are any", () => {
  const peers = "7=10.0.0.2:9001,4=10.0.0.1:9001";
  const { creation } = parseServerOptions({ id: "7", bootstrap: "2", peers });
  expect(creation).toEqual({
    kind: "found",
    members: [
      { id: 4, address: "10.0.0.1:9001", voter: true },
      { id: 7, address: "10.0.0.2:9001", voter: true },
    ],
  });
});

test("what a server starts itself anew with is what it was started with", () => {
  const args = { id: "0", bootstrap: "3", peers: PEERS, listen: "0.0.0.0:9001", via: "1=127.0.0.1:7001" };
  const { further } = parseServerOptions(args);
  const again = Object.fromEntries(
    further.flatMap((word, at) => (at % 2 === 0 ? [[word.slice(2), further[at + 1]]] : [])),
  );
  expect(parseServerOptions({ id: "0", ...again })).toEqual(parseServerOptions(args));
});

test("a server joins by way of any servers of the cluster, and can be reached where it says", () => {
  const args = { join: "10.0.0.1:9001,db:9001", listen: "0.0.0.0:9001", advertise: "10.0.0.9:9001" };
  expect(parseServerOptions({ id: "9", ...args })).toMatchObject({
    creation: { kind: "join", contacts: ["10.0.0.1:9001", "db:9001"] },
    listen: { host: "0.0.0.0", port: 9001 },
    advertise: "10.0.0.9:9001",
  });
});

test("I2: options that are wrong, or do not go together, are refused with one line each", () => {
  const refusals: readonly (readonly [ServerArgs, RegExp])[] = [
    [{ id: "x" }, /^--id must be a whole number/],
    [{ bootstrap: "3" }, /^--bootstrap and --cluster-id are given together/],
    [{ "cluster-id": "c" }, /^--cluster-id goes with --bootstrap or --rejoin/],
    [{ bootstrap: "3", "cluster-id": "a b" }, /^--cluster-id must be/],
    [{ bootstrap: "0", "cluster-id": "c" }, /^--bootstrap must be a whole number/],
    [{ id: "3", bootstrap: "3", "cluster-id": "c" }, /^--id must be below --bootstrap/],
    [{ bootstrap: "3", rejoin: "3", "cluster-id": "c" }, /^--bootstrap and --rejoin contradict each other/],
    [{ bootstrap: "3", join: "h:1" }, /^--bootstrap and --join contradict each other/],
    [{ peers: PEERS }, /^--peers goes with --bootstrap or --rejoin/],
    [{ bootstrap: "2", peers: PEERS }, /^--bootstrap 2 does not go with --peers, which has 3$/],
    [{ id: "5", bootstrap: "3", peers: PEERS }, /^--id 5 is not one of --peers$/],
    [{ bootstrap: "1", peers: "0=nowhere" }, /^--peers must be distinct servers .*, not "0=nowhere"$/],
    [
      { bootstrap: "3", peers: PEERS, "cluster-id": "c" },
      /^--cluster-id does not go with --bootstrap and --peers/,
    ],
    [{ rejoin: "3", peers: PEERS }, /^--rejoin and --cluster-id are given together/],
    [{ join: "h" }, /^--join must be addresses of servers of the cluster.*, not "h"$/],
    [{ join: "h:1", peers: PEERS }, /^--peers does not go with --join/],
    [{ join: "h:1", "cluster-id": "c" }, /^--cluster-id does not go with --join/],
    [{ listen: "9001" }, /^--listen must be host:port.*, not "9001"$/],
    [{ advertise: "10.0.0.1:9001" }, /^--advertise goes with --join/],
    [{ join: "h:1", advertise: "0.0.0.0:9001" }, /^--advertise must be host:port where others reach it/],
    [{ via: "1" }, /^--via must be distinct servers/],
  ];
  for (const [args, says] of refusals) {
    const message = refusal(args);
    expect([args, message]).toEqual([args, expect.stringMatching(says)]);
    expect(message).not.toContain("\n");
  }
});
