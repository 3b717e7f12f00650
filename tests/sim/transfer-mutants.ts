import type { Mutant } from "./mutant.ts";
import { SLOW_NETWORK, TRANSFERS } from "./mutant-focus.ts";

/** Dissertation §3.10: leadership that is handed over. */
export const transferMutants: readonly Mutant[] = [
  {
    name: "handed-over-too-soon",
    rule: "M4",
    what: "A leader makes way for one that lacks entries.",
    file: "src/raft/transfer.ts",
    find: "state.commitIndex === lastIndex && leader.progress.get(transfer.to)?.matchIndex === lastIndex;",
    replace: "lastIndex > 0 && leader.progress.has(transfer.to);",
    focus: TRANSFERS,
  },
  {
    name: "proposals-while-handing-over",
    rule: "M4",
    what: "A leader that makes way takes writes.",
    file: "src/raft/raft.ts",
    find: '    if (state.role.transfer !== null) return { kind: "transferring", to: state.role.transfer.to };\n',
    replace: "",
    focus: TRANSFERS,
  },
  {
    name: "never-goes-on",
    rule: "M4",
    what: "A leader waits for ever for the one that it makes way for.",
    file: "src/raft/transfer.ts",
    find: "state.nowTick - transfer.startTick >= state.options.electionTimeoutMaxTicks",
    replace: "state.nowTick - transfer.startTick >= Infinity",
  },
  {
    name: "old-timeout-now-obeyed",
    rule: "E5",
    what: "A server stands for election because a leader of an earlier term makes way.",
    file: "src/raft/election.ts",
    find: 'term === state.currentTerm && state.role.kind === "follower" && state.leaderId === leaderId;',
    replace: 'leaderId >= 0 && state.role.kind === "follower";',
    focus: { ...SLOW_NETWORK, strikes: ["transfer", "partition", "pause"] },
  },
  {
    name: "heir-asks-first",
    rule: "E9",
    what: "Whoever is to take over asks whether it may, and hears that there is a leader.",
    file: "src/raft/election.ts",
    find: "if (success) becomeCandidate(state);",
    replace: "if (success) becomePreCandidate(state);",
  },
  {
    name: "asked-once",
    rule: "M4",
    what: "Nothing more is done when TimeoutNow is lost, and the transfer never ends.",
    file: "src/raft/leadership.ts",
    find: "  if (leader.transfer !== null) leader.transfer.isDue = true;\n",
    replace: "  if (leader.transfer !== null) leader.transfer.startTick = state.nowTick;\n",
    focus: {
      ...TRANSFERS,
      network: {
        latencyMinUs: 1000,
        latencyMaxUs: 30_000,
        loss: 0.3,
        duplication: 0,
        delay: 0,
        delayMaxUs: 50_000,
      },
    },
  },
  {
    name: "stops-without-handing-over",
    rule: "F4",
    what: "A leader that is asked to end just ends.",
    file: "src/node/node.ts",
    find: "      await handedOver;\n",
    replace: "      void handedOver;\n",
  },
];
