import * as fc from "fast-check";
import type { Command, PutCommand } from "../../src/kv/command.ts";

/** A put without any name of its own, unless `names` gives it some: `put("k", "A", { request: [1, 1] })`. */
export function put(
  key: string,
  value: string,
  names: { readonly request?: readonly [number, number]; readonly routed?: readonly [number, number] } = {},
): PutCommand {
  const { request, routed } = names;
  return {
    kind: "put",
    key,
    value,
    request: request === undefined ? null : { clientId: request[0], requestId: request[1] },
    routed: routed === undefined ? null : { routerId: routed[0], routerCall: routed[1] },
  };
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

/** Puts that collide often: few keys, values and names, a few of them missing. */
export const collidingPut: fc.Arbitrary<PutCommand> = fc.record({
  kind: fc.constant("put" as const),
  key: fc.constantFrom("a", "b", "__proto__", "\ud800"),
  value: fc.constantFrom("", "A", "B", "\ud800", "\ud801"),
  request: fc.option(fc.record({ clientId: few, requestId: few }), { freq: 4 }),
  routed: fc.option(fc.record({ routerId: few, routerCall: few }), { freq: 2 }),
});

/** A log: null is a no-op. */
export const collidingLog: fc.Arbitrary<readonly (Command | null)[]> = fc.array(
  fc.option(collidingPut, { freq: 10 }),
  { maxLength: 60, size: "max" },
);
