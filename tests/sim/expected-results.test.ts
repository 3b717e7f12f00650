/** What the simulation expects of retries (C1 to C3): see src/kv/sessions.ts. */
import { expect, test } from "bun:test";
import type { PutCommand } from "../../src/kv/command.ts";
import type { PutResult } from "../../src/kv/state-machine.ts";
import { ExpectedResults } from "../../src/sim/expected-results.ts";

const LARGE = { window: 1000, sessions: 1000 };

interface Call {
  readonly router?: number;
  readonly call: number;
  readonly pending?: number;
  readonly retried?: boolean;
}

function put({ router = 1, call, pending = 1, retried = false }: Call): PutCommand {
  const routed = { routerId: router, routerCall: call, pending, retried };
  return { kind: "put", key: "k", value: `${router}/${call}`, request: null, routed };
}

/** Under the same pair every time. */
function write(value: string): PutCommand {
  return { kind: "put", key: "k", value, request: { clientId: 1, requestId: 1 }, routed: null };
}

/** What may become of each of them, of which that becomes. */
function expected(
  expectations: ExpectedResults,
  calls: readonly (readonly [Call, PutResult["kind"]])[],
): readonly string[] {
  return calls.map(([call, result], at) => expectations.admit(at + 1, put(call), result).join(" "));
}

test("C1: a call is applied once, and repeated then", () => {
  const results = expected(new ExpectedResults(LARGE), [
    [{ call: 1 }, "applied"],
    [{ call: 1, retried: true }, "repeated"],
    [{ call: 2, retried: true }, "applied"],
    [{ call: 3, pending: 3 }, "applied"],
    [{ call: 2 }, "repeated"],
  ]);
  expect(results).toEqual(["applied", "repeated", "applied", "applied", "repeated"]);
});

test("C1: a retry whose session has expired is expired, and any other call opens the session anew", () => {
  const expectations = new ExpectedResults({ ...LARGE, sessions: 1 });
  const results = expected(expectations, [
    [{ router: 1, call: 1 }, "applied"],
    [{ router: 2, call: 1 }, "applied"],
    [{ router: 1, call: 2, retried: true }, "expired"],
    [{ router: 1, call: 1, retried: true }, "repeated"],
    [{ router: 1, call: 3 }, "applied"],
    [{ router: 1, call: 2, retried: true }, "expired"],
    [{ router: 1, call: 4, pending: 4, retried: true }, "applied"],
  ]);
  expect(results).toEqual([
    "applied",
    "applied",
    "expired",
    "repeated expired",
    "applied",
    "expired",
    "applied",
  ]);
  expect(expectations.expired).toBe(2);
});

test("C1: what there was no room for may be expired, and is not applied again", () => {
  const results = expected(new ExpectedResults({ window: 2, sessions: 9 }), [
    [{ call: 2 }, "applied"],
    [{ call: 3 }, "applied"],
    [{ call: 4 }, "applied"],
    [{ call: 2, retried: true }, "expired"],
    [{ call: 1, retried: true }, "expired"],
    [{ call: 1, retried: true }, "applied"],
  ]);
  expect(results).toEqual(["applied", "applied", "applied", "repeated expired", "expired", "applied"]);
});

test("C1: a pair names the last write under it", () => {
  const expectations = new ExpectedResults(LARGE);
  expect(expectations.admit(1, write("a"), "applied")).toEqual(["applied"]);
  expect(expectations.admit(2, write("a"), "repeated")).toEqual(["repeated"]);
  expect(expectations.admit(3, write("b"), "applied")).toEqual(["applied"]);
  expect(expectations.admit(4, write("a"), "applied")).toEqual(["applied"]);
});
