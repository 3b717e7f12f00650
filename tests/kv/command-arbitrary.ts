import * as fc from "fast-check";
import type { Command, PutCommand, PutManyCommand, RoutedCall } from "../../src/kv/command.ts";

/** The names of a command: [clientId, requestId], and [routerId, routerCall, pending, retried], by default 0 and false. */
interface Names {
  readonly request?: readonly [number, number];
  readonly routed?: readonly [routerId: number, routerCall: number, pending?: number, retried?: boolean];
}

/** A put without any name of its own, unless `names` gives it some: `put("k", "A", { request: [1, 1] })`. */
export function put(key: string, value: string, names: Names = {}): PutCommand {
  return { kind: "put", key, value, ...namesOf(names) };
}

/** The same for a batch: `putMany([["k", "A"], ["l", "B"]])`. */
export function putMany(
  writes: readonly (readonly [key: string, value: string])[],
  names: Names = {},
): PutManyCommand {
  return { kind: "putMany", writes: writes.map(([key, value]) => ({ key, value })), ...namesOf(names) };
}

function namesOf({ request, routed }: Names): Pick<Command, "request" | "routed"> {
  return {
    request: request === undefined ? null : { clientId: request[0], requestId: request[1] },
    routed: routed === undefined ? null : routedCall(...routed),
  };
}

/** Pending 0: it belongs to no session. */
export function routedCall(
  routerId: number,
  routerCall: number,
  pending: number = 0,
  retried: boolean = false,
): RoutedCall {
  return { routerId, routerCall, pending, retried };
}

/** Strings of any UTF-16 code units, lone surrogates among them, with the names that trip JavaScript up. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: "binary", maxLength: 8 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 4 })
    .map((units) => String.fromCharCode(...units)),
  fc.constantFrom(
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "\0",
    "\n",
    '"',
    "\ud800",
    "\udfff",
    "\ufffd",
    "🦜",
  ),
);

const few = fc.integer({ min: 0, max: 3 });

/** Calls that collide often, some of them without a session. */
const collidingCall: fc.Arbitrary<RoutedCall> = fc
  .record({
    routerId: few,
    routerCall: fc.integer({ min: 1, max: 12 }),
    behind: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant(12)),
    retried: fc.boolean(),
  })
  .map(({ routerId, routerCall, behind, retried }) =>
    routedCall(routerId, routerCall, Math.max(0, routerCall - behind), retried),
  );

const collidingWrite = {
  key: fc.constantFrom("a", "b", "__proto__", "\ud800"),
  value: fc.constantFrom("", "A", "B", "\ud800", "\ud801"),
};

const collidingNames = {
  request: fc.option(fc.record({ clientId: few, requestId: few }), { freq: 4 }),
  routed: fc.option(collidingCall, { freq: 3 }),
};

/** Puts and batches that collide often: few keys, values and names, a few of them missing. */
export const collidingCommand: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("put" as const), ...collidingWrite, ...collidingNames }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("putMany" as const),
      writes: fc.array(fc.record(collidingWrite), { minLength: 1, maxLength: 4 }),
      ...collidingNames,
    }),
  },
);

/** A log: null is a no-op. */
export const collidingLog: fc.Arbitrary<readonly (Command | null)[]> = fc.array(
  fc.option(collidingCommand, { freq: 10 }),
  { maxLength: 60, size: "max" },
);
