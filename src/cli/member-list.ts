import type { MemberStatus } from "../rpc/wire.ts";
import { command } from "./command.ts";
import { clientOptions } from "./frontend-client.ts";
import { answered } from "./result.ts";
import { askStatus, leaderOf } from "./status.ts";
import { renderTable, type Cell } from "./table.ts";

const HEADINGS = ["ID", "ADDRESS", "VOTER", "STATE"];

export const memberListCommand = command(
  {
    name: "raftkv member list",
    description: "Show who belongs to the cluster, and who of them votes",
  },
  clientOptions(5),
  async (args) => {
    const { clusterId, members } = await askStatus(args);
    const leaderId = leaderOf({ members });
    const rows = members.map((member) => memberRow(member, leaderId));
    const json = members.map(({ id, address, voter, reachable }) => ({ id, address, voter, reachable }));
    return answered(renderTable(HEADINGS, rows), { clusterId, leaderId, members: json });
  },
);

function memberRow(
  { id, address, voter, reachable }: MemberStatus,
  leaderId: number | null,
): readonly Cell[] {
  const state: Cell = reachable
    ? id === leaderId
      ? { text: "leads", colour: "green" }
      : "runs"
    : { text: "unreachable", colour: "red" };
  return [id, address, voter ? "yes" : "no", state];
}
