import type { PutCommand } from "../../src/kv/command.ts";

/**
 * The state machine again, as slow and as plain as it can be said: lists that are searched from end to
 * end, and whole keys and values where the real one keeps fingerprints.
 */
export class KvDouble {
  data: [key: string, value: string][] = [];
  requests: { name: string; key: string; value: string; index: number }[] = [];
  routedCalls: { name: string; index: number }[] = [];
  appliedIndex = 0;
  readonly capacity: number;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  apply(index: number, put: PutCommand): "applied" | "repeated" {
    this.appliedIndex = index;
    const { key, value } = put;
    const routedName = put.routed && `${put.routed.routerId}/${put.routed.routerCall}`;
    const requestName = put.request && `${put.request.clientId}/${put.request.requestId}`;
    const routedSays = this.routedCalls.some(({ name }) => name === routedName);
    if (routedSays) return "repeated";
    if (routedName !== null) this.routedCalls = [...this.routedCalls, { name: routedName, index }];
    const requestSays = this.requests.some(
      (last) => last.name === requestName && last.key === key && last.value === value,
    );
    if (!requestSays && requestName !== null) {
      const others = this.requests.filter(({ name }) => name !== requestName);
      this.requests = [...others, { name: requestName, key, value, index }];
    }
    this.routedCalls = this.routedCalls.slice(-this.capacity);
    this.requests = this.requests.slice(-this.capacity);
    if (requestSays) return "repeated";
    const known = this.data.find((pair) => pair[0] === key);
    if (known === undefined) this.data.push([key, value]);
    else known[1] = value;
    return "applied";
  }
}
