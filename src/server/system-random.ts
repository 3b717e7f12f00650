/** A whole number from `min` to `max`, both included: the machine's own chance, for election timeouts. */
export function randomInt(min: number, max: number): number {
  return min + Math.floor(Math.random() * (max - min + 1));
}
