import { expect, test } from "bun:test";
import { RaftKvError, type ErrorCode } from "../../src/base/errors.ts";
import { CurrentCluster } from "../../src/frontend/current-cluster.ts";
import { frontEndService } from "../../src/frontend/frontend-service.ts";
import { Membership } from "../../src/frontend/membership.ts";
import { Router } from "../../src/frontend/router.ts";
import { NO_KEEPER } from "../../src/frontend/server-keeper.ts";
import { FakeCluster } from "./fake-store.ts";

const limits = { maxKeyBytes: 64, maxValueBytes: 1024, maxPendingBytes: 1 << 20 };
const PATIENT_MS = 20_000;

test.each(["unavailable", "io"] satisfies ErrorCode[])(
  "C2: a server that was removed and could not be stopped (%s): the answer says what was done and what was not",
  async (code) => {
    await using fakes = await FakeCluster.start(2);
    fakes.store(0).lead(1);
    fakes.store(0).onRemove = async () => ({ success: true });
    const clusters = new CurrentCluster();
    clusters.setState({ kind: "running", cluster: fakes.cluster });
    const service = frontEndService({
      clusters,
      router: new Router({ clusters, limits, requestTimeoutMs: PATIENT_MS }),
      membership: new Membership(clusters),
      keeper: { ...NO_KEEPER, retire: () => Promise.reject(new RaftKvError(code, "it does not end")) },
      version: "test",
    });
    const reply = await service.RemoveMember({ arg: 1 }, { remainingMs: PATIENT_MS });
    expect(reply).toEqual({
      wrongLeader: false,
      error: "server 1 was removed, but its process was not stopped: it does not end",
      code: "INTERNAL",
    });
    clusters.setState({ kind: "none" });
  },
);
