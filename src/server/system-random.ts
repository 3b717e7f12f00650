import { randomUUID } from "node:crypto";

/** A whole number from `min` to `max`, both included: the machine's own chance, for election timeouts. */
export function randomInt(min: number, max: number): number {
  return min + Math.floor(Math.random() * (max - min + 1));
}

/** What nobody else has drawn, nor ever will. */
export function drawName(): string {
  return randomUUID();
}
