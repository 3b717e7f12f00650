import type { Command, RoutedCall } from "../../src/kv/command.ts";

type Result = "applied" | "repeated" | "expired";

interface DoubleSession {
  readonly routerId: number;
  readonly pending: number;
  readonly forgotten: number;
  readonly opener: number;
  readonly index: number;
}

/**
 * The state machine again, as slow and as plain as it can be said: lists that are searched from end to
 * end, and whole keys and values where the real one keeps fingerprints.
 */
export class KvDouble {
  data: [key: string, value: string][] = [];
  requests: { name: string; content: string; index: number }[] = [];
  calls: { routerId: number; routerCall: number; index: number }[] = [];
  sessions: DoubleSession[] = [];
  expired = 0;
  appliedIndex = 0;
  readonly capacity: number;
  readonly sessionCapacity: number;

  constructor(capacity: number, sessionCapacity: number) {
    this.capacity = capacity;
    this.sessionCapacity = sessionCapacity;
  }

  apply(index: number, command: Command): Result {
    this.appliedIndex = index;
    const { routed } = command;
    const refusal = routed && this.#refusal(routed);
    if (refusal !== null) return refusal;
    if (routed !== null) this.#remember(index, routed);
    if (this.#repeatsRequest(index, command)) return "repeated";
    if (command.kind === "put") this.#set(command.key, command.value);
    else for (const { key, value } of command.writes) this.#set(key, value);
    return "applied";
  }

  #set(key: string, value: string): void {
    const known = this.data.find((pair) => pair[0] === key);
    if (known === undefined) this.data.push([key, value]);
    else known[1] = value;
  }

  #repeatsRequest(index: number, command: Command): boolean {
    const { request } = command;
    if (request === null) return false;
    const name = `${request.clientId}/${request.requestId}`;
    const content = JSON.stringify({ ...command, request: null, routed: null });
    if (this.requests.some((last) => last.name === name && last.content === content)) return true;
    const others = this.requests.filter((last) => last.name !== name);
    this.requests = [...others, { name, content, index }].slice(-this.capacity);
    return false;
  }

  #refusal({ routerId, routerCall, pending, retried }: RoutedCall): Result | null {
    if (this.calls.some((call) => call.routerId === routerId && call.routerCall === routerCall))
      return "repeated";
    if (pending === 0) return null;
    const session = this.sessions.find((each) => each.routerId === routerId);
    if (session === undefined) return this.expired > 0 && retried ? "expired" : null;
    if (routerCall < session.pending) return "repeated";
    if (routerCall <= session.forgotten) return "expired";
    return session.opener >= pending && retried ? "expired" : null;
  }

  #remember(index: number, { routerId, routerCall, pending }: RoutedCall): void {
    if (pending > 0) this.#renew(index, routerId, routerCall, pending);
    this.calls = [...this.calls, { routerId, routerCall, index }];
    for (const gone of this.calls.slice(0, -this.capacity)) {
      this.sessions = this.sessions.map((session) =>
        session.routerId === gone.routerId && gone.routerCall >= session.pending
          ? { ...session, forgotten: Math.max(session.forgotten, gone.routerCall) }
          : session,
      );
    }
    this.calls = this.calls.slice(-this.capacity);
  }

  #renew(index: number, routerId: number, routerCall: number, said: number): void {
    const former = this.sessions.find((each) => each.routerId === routerId);
    const others = this.sessions.filter((each) => each.routerId !== routerId);
    if (former === undefined) {
      const opener = this.expired > 0 ? routerCall : 0;
      this.sessions = [...others, { routerId, pending: said, forgotten: 0, opener, index }];
      if (this.sessions.length > this.sessionCapacity) {
        this.sessions = this.sessions.slice(1);
        this.expired += 1;
      }
      return;
    }
    const pending = Math.max(former.pending, said);
    this.sessions = [...others, { ...former, pending, index }];
    this.calls = this.calls.filter(
      (call) => call.routerId !== routerId || call.routerCall < former.pending || call.routerCall >= pending,
    );
  }
}
