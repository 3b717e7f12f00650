import { expect, test } from "bun:test";
import { Intake, type Source } from "../../src/rpc/intake.ts";
import { waitFor } from "../cluster/waiting.ts";

/** Gives so many slices, and writes its name into the journal for each. */
class FakeSource implements Source {
  isOurs = false;
  isGiving = false;
  readonly #name: string;
  readonly #journal: string[];
  /** Called in the middle of the first slice. */
  readonly #onFirst: () => void;
  left: number;

  constructor(name: string, journal: string[], slices: number, onFirst: () => void = () => {}) {
    this.#name = name;
    this.#journal = journal;
    this.left = slices;
    this.#onFirst = onFirst;
  }

  give(maxBytes: number): boolean {
    expect(maxBytes).toBeGreaterThan(0);
    expect(this.isGiving).toBe(false);
    this.isGiving = true;
    const isFirst = !this.#journal.includes(this.#name);
    this.#journal.push(this.#name);
    if (isFirst) this.#onFirst();
    this.left -= 1;
    this.isGiving = false;
    return this.left > 0;
  }
}

/** Never has enough, but for a limit, so that a fault fails and does not hang. */
class FloodSource implements Source {
  readonly isOurs = false;
  given = 0;

  give(): boolean {
    this.given += 1;
    return !this.isThrough;
  }

  get isThrough(): boolean {
    return this.given >= 20_000_000;
  }
}

test("I4: connections give a slice in turn, so that one with much to give starves none with little", async () => {
  const intake = new Intake();
  const journal: string[] = [];
  const flood = new FakeSource("flood", journal, 50);
  const [small, smaller] = [new FakeSource("small", journal, 2), new FakeSource("smaller", journal, 1)];
  const all = [flood, small, smaller];
  const opener = new FakeSource("opener", journal, 1, () => all.forEach((source) => intake.arrived(source)));
  intake.arrived(opener);
  await waitFor("all is given", () => all.every(({ left }) => left === 0));
  expect(journal.slice(0, 7)).toEqual(["opener", "flood", "small", "smaller", "flood", "small", "flood"]);
  expect(journal).toHaveLength(1 + 50 + 2 + 1);
});

test("I3: a flood is read for a while in a turn, and timers are served before it is through", async () => {
  const intake = new Intake();
  const flood = new FloodSource();
  intake.arrived(flood);
  const inFirstTurn = flood.given;
  expect(flood.isThrough).toBe(false);
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(flood.isThrough).toBe(false);
  await waitFor("it is read on in the next turn", () => flood.given > inFirstTurn);
  intake.gone(flood);
});

test("I3: what our own processes send is read at once, whatever time a flood has used", () => {
  const intake = new Intake();
  const flood = new FloodSource();
  intake.arrived(flood);
  const ours = new FakeSource("ours", [], 10);
  ours.isOurs = true;
  intake.arrived(ours);
  expect(ours.left).toBe(0);
  expect(flood.isThrough).toBe(false);
  intake.gone(flood);
});

test("I4: who turns out to be ours while it gives is not made to give more in the middle of that, but soon", async () => {
  const intake = new Intake();
  const flood = new FloodSource();
  const peer = new FakeSource("peer", [], 10, () => {
    peer.isOurs = true;
    intake.preferred(peer);
    intake.arrived(flood);
  });
  intake.arrived(peer);
  await waitFor("all of it is given", () => peer.left === 0);
  expect(flood.isThrough).toBe(false);
  intake.gone(flood);
});

test("I4: who turns out to be ours while it waits is read before those that it waited for", async () => {
  const intake = new Intake();
  const flood = new FloodSource();
  intake.arrived(flood);
  const peer = new FakeSource("peer", [], 1_000);
  intake.arrived(peer);
  peer.isOurs = true;
  intake.preferred(peer);
  await waitFor("all of it is given", () => peer.left === 0);
  expect(flood.isThrough).toBe(false);
  intake.gone(flood);
});

test("I4: who is gone is not asked any more, whether it waits or gives", async () => {
  const intake = new Intake();
  const journal: string[] = [];
  const last = new FakeSource("last", journal, 2);
  const waiting = new FakeSource("waiting", journal, 5);
  const giving = new FakeSource("giving", journal, 5, () => {
    intake.arrived(waiting);
    intake.arrived(last);
    intake.gone(waiting);
    intake.gone(giving);
  });
  intake.arrived(giving);
  await waitFor("the last has given", () => last.left === 0);
  expect(journal).toEqual(["giving", "last", "last"]);
  intake.preferred(waiting);
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  expect(journal).toHaveLength(3);
});
