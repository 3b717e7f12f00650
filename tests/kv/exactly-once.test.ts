/** Frontends that number their calls as ours do, a network that is late or silent, and what takes effect. */
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { CallNumbers } from "../../src/kv/call-numbers.ts";
import type { RoutedCall } from "../../src/kv/command.ts";
import { Sessions } from "../../src/kv/sessions.ts";

/** `pick` chooses a call or message among those that there are. */
interface Step {
  readonly act: "call" | "send" | "deliver" | "answer";
  readonly router: number;
  readonly pick: number;
}

interface Call {
  readonly number: number;
  readonly pending: number;
  sent: boolean;
}

class Frontend {
  readonly numbers = new CallNumbers();
  unanswered: Call[] = [];

  call(): void {
    this.unanswered.push({ ...this.numbers.next(), sent: false });
  }

  /** A call without an answer is sent, perhaps again. */
  send(routerId: number, pick: number): RoutedCall | null {
    const call = this.unanswered[pick % Math.max(1, this.unanswered.length)];
    if (call === undefined) return null;
    const retried = call.sent;
    call.sent = true;
    return { routerId, routerCall: call.number, pending: call.pending, retried };
  }

  answer(pick: number): void {
    const [call] = this.unanswered.splice(pick % Math.max(1, this.unanswered.length), 1);
    if (call !== undefined) this.numbers.finished(call.number);
  }
}

/** What became of every message that came into the log. */
interface Life {
  readonly fates: readonly {
    readonly call: RoutedCall;
    readonly fate: string;
    readonly wasAnswered: boolean;
  }[];
}

/** `late`: messages wait in the network until a step delivers one of them; otherwise they arrive at once. */
function live(steps: readonly Step[], sessions: Sessions, late: boolean): Life {
  const frontends = Array.from({ length: 4 }, () => new Frontend());
  const network: RoutedCall[] = [];
  const fates: { call: RoutedCall; fate: string; wasAnswered: boolean }[] = [];
  for (const { act, router, pick } of steps) {
    const frontend = frontends[router];
    if (frontend === undefined) throw new Error("four frontends");
    if (act === "call") frontend.call();
    if (act === "answer") frontend.answer(pick);
    const sent = act === "send" ? frontend.send(router + 1, pick) : null;
    if (sent !== null) network.push(sent);
    if (act !== "deliver" && late) continue;
    for (const call of network.splice(pick % Math.max(1, network.length), 1)) {
      const waiting = frontends[call.routerId - 1]?.unanswered ?? [];
      const wasAnswered = waiting.every(({ number }) => number !== call.routerCall);
      fates.push({ call, fate: sessions.admit(fates.length + 1, call), wasAnswered });
    }
  }
  return { fates };
}

function nameOf({ routerId, routerCall }: RoutedCall): string {
  return `${routerId}/${routerCall}`;
}

/** Each call is new once at most, and called a repeat only after that, or when nobody waits for it any more. */
function checkExactlyOnce({ fates }: Life): void {
  const done = new Set<string>();
  for (const { call, fate, wasAnswered } of fates) {
    const name = nameOf(call);
    if (fate === "new") expect(done.has(name)).toBe(false);
    if (fate === "repeated") expect([name, done.has(name) || wasAnswered]).toEqual([name, true]);
    if (fate === "new") done.add(name);
  }
}

const step = fc.record({
  act: fc.constantFrom("call", "send", "send", "deliver", "deliver", "answer"),
  router: fc.nat({ max: 3 }),
  pick: fc.nat({ max: 1000 }),
}) as fc.Arbitrary<Step>;

const steps = fc.array(step, { maxLength: 300, size: "max" });

test("C1: while nothing is forgotten each call takes effect once, however late and often it comes, and none is expired", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const life = live(all, new Sessions(1000, 4), true);
      checkExactlyOnce(life);
      expect(life.fates.every(({ fate }) => fate !== "expired")).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("C1, C2: with room for a few calls each takes effect once at most, however late it comes", () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 6 }), (all, calls) => {
      checkExactlyOnce(live(all, new Sessions(calls, 4), true));
    }),
    { numRuns: 300 },
  );
});

test("C1, C2: with room for a few sessions each call takes effect once at most, as long as no first sending is late", () => {
  const room = [fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 3 })] as const;
  fc.assert(
    fc.property(steps, ...room, (all, ...capacities) => {
      checkExactlyOnce(live(all, new Sessions(...capacities), false));
    }),
    { numRuns: 300 },
  );
});

test("C3: two frontends whose calls are interleaved hold what each of them alone would", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const sessions = new Sessions(1000, 4);
      const { fates } = live(all, sessions, true);
      for (const routerId of [1, 2, 3, 4]) {
        const alone = new Sessions(1000, 4);
        const own = fates.filter(({ call }) => call.routerId === routerId);
        for (const [i, { call, fate }] of own.entries()) expect(alone.admit(i + 1, call)).toBe(fate as "new");
        const held = [...sessions.calls()].filter(([, call]) => call.routerId === routerId);
        expect(held.map(([name]) => name)).toEqual([...alone.calls()].map(([name]) => name));
      }
    }),
  );
});

test("C1: a number is pending until it and all before it are finished, in whatever order", () => {
  const numbers = new CallNumbers();
  expect([numbers.next(), numbers.next(), numbers.next()]).toEqual([
    { number: 1, pending: 1 },
    { number: 2, pending: 1 },
    { number: 3, pending: 1 },
  ]);
  numbers.finished(2);
  expect(numbers.next()).toEqual({ number: 4, pending: 1 });
  numbers.finished(1);
  expect(numbers.next()).toEqual({ number: 5, pending: 3 });
  for (const number of [5, 4, 3]) numbers.finished(number);
  expect(numbers.next()).toEqual({ number: 6, pending: 6 });
});
