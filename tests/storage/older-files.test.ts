/** Files as versions wrote them that knew neither members with addresses nor sessions: they mean what they meant. */
import { expect, test } from "bun:test";

import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { openServerStore } from "../../src/storage/server-store.ts";
import { encodeRecord } from "../../src/storage/log-record.ts";
import {
  append,
  compact,
  configuration,
  contents,
  group,
  IDENTITY,
  MEMBERS,
  noop,
  put,
  putMany,
  refusal,
  SPREAD,
} from "./sample-log.ts";

const STATE = `{
  "format": 1,
  "clusterId": "cluster-a",
  "serverId": 1,
  "servers": [
    0,
    1,
    2
  ],
  "currentTerm": 2,
  "votedFor": 0,
  "logReaches": {
    "index": 4,
    "term": 2
  },
  "checksum": "0b9d6957"
}
`;

const LOG = `\
0cc00801 {"format":1,"clusterId":"cluster-a","serverId":1,"firstIndex":1,"previousTerm":0}
e3a7a8e9 {"index":1,"term":1,"synced":0,"kind":"noop"}
a93beb3b {"index":2,"term":1,"kind":"put","key":"a","value":"1","clientId":1,"requestId":9}
987f2181 {"index":3,"term":1,"kind":"put","key":"b","value":"é","routerId":4,"routerCall":7}
f61698e2 {"index":4,"term":2,"kind":"put","key":"c","value":"","clientId":1,"requestId":1,"routerId":4,"routerCall":8}
`;

const SNAPSHOT = `\
[["850d9d62",{"snapshot":1,"clusterId":"cluster-a","index":3,"term":1,"servers":[0,1,2]}]
,["e0e736ad",{"retryCapacity":4}]
,["5a84e861",{"data":["a","1","b","é"]}]
,["5a063065",{"requests":["1/9","HUjklYylbqfshQKGK-DB22rNbMb9T5HE7KsDhhBbBmo",2]}]
,["f7843c53",{"routedCalls":["4/7",3]}]
,["6e0e9417",{"end":{"sections":4,"checksum":"2f8bddb3"}}]
]
`;

/** What the frontend of that time said of a call. */
const routed = (routerCall: number) => ({ routerId: 4, routerCall, pending: 0, retried: false });

const ENTRIES = [
  noop(1, 1),
  put(2, 1, "a", "1", { request: { clientId: 1, requestId: 9 } }),
  put(3, 1, "b", "é", { routed: routed(7) }),
  put(4, 2, "c", "", { request: { clientId: 1, requestId: 1 }, routed: routed(8) }),
];

/** The directory of such a server; it stopped in good order. */
async function olderServer() {
  const fs = new MemoryDisk().mount();
  await fs.makeDirectory("raft_state");
  await fs.makeDirectory("raft_state/server_1");
  await fs.writeFile("raft_state/server_1.json", Buffer.from(STATE));
  await fs.writeFile("raft_state/server_1/log-0000000000000001.jsonl", Buffer.from(LOG));
  await fs.writeFile("raft_state/server_1/snapshot-3.json", Buffer.from(SNAPSHOT));
  return fs;
}

test("P8, S5: an older version's server starts with its identity, vote, log and snapshot, and nothing to mend", async () => {
  const fs = await olderServer();
  const { store, recovered } = await openServerStore(fs, "raft_state", 1);
  expect(recovered.identity).toEqual(IDENTITY);
  expect(recovered.hardState).toEqual({ currentTerm: 2, votedFor: 0, abstainsThrough: 0 });
  expect(recovered.log).toEqual({ base: { index: 0, term: 0 }, entries: ENTRIES });
  expect(recovered.repairs).toEqual([]);
  expect(recovered.snapshot?.info).toMatchObject({ position: { index: 3, term: 1 } });
  expect(recovered.snapshot?.configuration).toEqual(MEMBERS);
  const machine = new KvStateMachine();
  if (recovered.snapshot !== null) machine.restore(recovered.snapshot.state);
  expect([...machine.entries()]).toEqual([
    ["a", "1"],
    ["b", "é"],
  ]);
  await store.close();
  // Nothing was said that an older version could not read.
  expect(Buffer.from((await fs.readFile("raft_state/server_1.json")) ?? "").toString()).toBe(STATE);
});

test("M3, S5: such a server goes on with members that have addresses, in its log and in its next snapshot", async () => {
  const fs = await olderServer();
  const { store } = await openServerStore(fs, "raft_state", 1);
  const change = configuration(5, 2, SPREAD);
  await store.persist(group(null, append(change)));
  const writer = await store.prepareSnapshot({ index: 5, term: 2 }, SPREAD);
  const machine = new KvStateMachine();
  for (const { index, payload } of [...ENTRIES, change]) {
    if (payload.kind === "command") machine.apply(index, payload.command);
    else machine.skip(index);
  }
  for (const section of machine.freeze().sections()) await writer.append(section);
  await writer.finish();
  await store.persist(group(null, compact(5, 2, 0)));
  await store.close();
  const again = await openServerStore(fs, "raft_state", 1);
  await again.store.close();
  expect(again.recovered.identity).toEqual(IDENTITY);
  expect(again.recovered.snapshot?.configuration).toEqual(SPREAD);
  expect(again.recovered.log.entries).toEqual([...ENTRIES, change]);
});

test("P8: such a server goes on with batches, in the log that it has", async () => {
  const fs = await olderServer();
  const { store } = await openServerStore(fs, "raft_state", 1);
  const batch = putMany(
    5,
    2,
    [
      ["a", "2"],
      ["d", "é"],
    ],
    { routed: { ...routed(9), pending: 9 } },
  );
  await store.persist(group(null, append(batch)));
  await store.close();
  const log = Buffer.from(
    (await fs.readFile("raft_state/server_1/log-0000000000000001.jsonl")) ?? "",
  ).toString();
  expect(log.startsWith(LOG)).toBe(true);
  const again = await openServerStore(fs, "raft_state", 1);
  await again.store.close();
  expect(again.recovered.log.entries).toEqual([...ENTRIES, batch]);
});

test("P4, P10: an entry of a kind that only a newer version knows keeps the server from starting, and is named", async () => {
  const fs = await olderServer();
  const unknown = encodeRecord(`{"index":5,"term":2,"kind":"swapMany","writes":["a","b"]}`);
  const path = "raft_state/server_1/log-0000000000000001.jsonl";
  await fs.writeFile(path, Buffer.from(`${LOG}${unknown}`));
  const { code, message } = await refusal(openServerStore(fs, "raft_state", 1));
  expect(code).toBe("corruption");
  expect(message).toContain(`${path}`);
  expect(message).toContain("entry 5 is a swapMany, which this version of raftkv does not know");
  expect((await contents(fs, "raft_state"))[path]).toEndWith(unknown);
});
