import { expect, test } from "bun:test";
import { Ledger } from "./ledger.ts";

function settledLedger(): { readonly ledger: Ledger; readonly values: readonly string[] } {
  const ledger = new Ledger();
  const outcomes = ["acknowledged", "acknowledged", "unknown", "notDone"] as const;
  const values = outcomes.map((outcome) => {
    const write = ledger.begin("k", 20);
    ledger.settle(write, outcome);
    return write.value;
  });
  return { ledger, values };
}

test("the ledger takes the last acknowledged write for right, and an unknown one after it", () => {
  const { ledger, values } = settledLedger();
  expect(ledger.observe("k", values[1] ?? "", ledger.floor("k"), "here")).toBe(2);
  expect(ledger.observe("k", values[2] ?? "", ledger.floor("k"), "here")).toBe(3);
  expect(ledger.complaints).toEqual([]);
});

test("the ledger complains of a lost write, also of one that was only seen", () => {
  const { ledger, values } = settledLedger();
  ledger.observe("k", values[0] ?? "", ledger.floor("k"), "here");
  ledger.observe("k", null, ledger.floor("k"), "here");
  ledger.observe("k", values[2] ?? "", ledger.floor("k"), "here");
  ledger.observe("k", values[1] ?? "", ledger.floor("k"), "here");
  expect(ledger.complaints).toEqual([
    "here: k shows write 1, but write 2 was there",
    "here: k shows write 0, but write 2 was there",
    "here: k shows write 2, but write 3 was there",
  ]);
});

test("the ledger complains of a write that was not done, of another key's and of a damaged value", () => {
  const { ledger, values } = settledLedger();
  const damaged = values[1]?.replace("abc", "abd") ?? "";
  for (const value of [values[3] ?? "", "other#1#", damaged, ""]) ledger.observe("k", value, 0, "here");
  expect(ledger.complaints).toHaveLength(4);
});

test("the ledger complains of a write that is acknowledged although it was begun without hope", () => {
  const ledger = new Ledger();
  const before = ledger.begin("a", 0);
  ledger.halted = true;
  const meanwhile = ledger.begin("b", 0);
  ledger.settle(before, "acknowledged");
  expect(ledger.complaints).toEqual([]);
  ledger.settle(meanwhile, "acknowledged");
  expect(ledger.complaints).toHaveLength(1);
});
