import { describe, expect, test } from "bun:test";
import { FollowedConfiguration } from "../../src/frontend/followed-configuration.ts";
import type { Member } from "../../src/raft/configuration.ts";

function members(...ids: readonly number[]): readonly Member[] {
  return ids.map((id) => ({ id, address: `host-${id}:1`, voter: true }));
}

/** What a server says that has the configuration of `ids` at `index`. */
function says(role: string, term: number, configurationIndex: number, ...ids: readonly number[]) {
  return { role, term, configurationIndex, members: members(...ids) };
}

function followed(...ids: readonly number[]): FollowedConfiguration {
  return new FollowedConfiguration({ clusterId: "c", members: members(...ids) }, new Map());
}

function idsOf(known: readonly Member[]): readonly number[] {
  return known.map(({ id }) => id);
}

describe("who belongs to the cluster", () => {
  test("is what its leader says, and of two leaders the one of the higher term", () => {
    const configuration = followed(0, 1, 2);
    expect(configuration.heard(says("leader", 4, 10, 0, 1, 2, 3))).toBe("cluster");
    expect(configuration.heard(says("leader", 3, 99, 0))).toBe("nothing");
    expect(idsOf(configuration.cluster.members)).toEqual([0, 1, 2, 3]);
  });

  test("M3: is what the next leader says, also when that is the one before", () => {
    const configuration = followed(0, 1, 2);
    configuration.heard(says("leader", 4, 10, 0, 1, 2, 3));
    expect(configuration.heard(says("leader", 5, 0, 0, 1, 2))).toBe("cluster");
    expect(idsOf(configuration.cluster.members)).toEqual([0, 1, 2]);
  });

  test("of one leader the later word counts, whatever order they come in", () => {
    const configuration = followed(0);
    configuration.heard(says("leader", 1, 7, 0, 2));
    expect(configuration.heard(says("leader", 1, 5, 0, 1))).toBe("nothing");
    expect(idsOf(configuration.cluster.members)).toEqual([0, 2]);
  });

  test("is never what a server says that does not lead, but whom it names is asked until a leader has spoken", () => {
    const configuration = followed(0, 1, 2);
    expect(configuration.heard(says("follower", 9, 30, 2, 3, 4))).toBe("servers");
    expect(idsOf(configuration.cluster.members)).toEqual([0, 1, 2]);
    expect(idsOf(configuration.servers)).toEqual([0, 1, 2, 3, 4]);
    expect(configuration.heard(says("leader", 9, 30, 2, 3, 4))).toBe("cluster");
    expect(idsOf(configuration.servers)).toEqual([2, 3, 4]);
  });

  test("a follower with an older configuration than the leader's names nobody", () => {
    const configuration = followed(0, 1);
    configuration.heard(says("leader", 3, 20, 0, 1));
    expect(configuration.heard(says("follower", 3, 10, 0, 1, 2))).toBe("nothing");
    expect(idsOf(configuration.servers)).toEqual([0, 1]);
  });

  test("M3: whom a follower of a later term names is asked, though the leader before knew a later configuration", () => {
    const configuration = followed(0, 1, 2);
    configuration.heard(says("leader", 1, 5, 0, 1));
    // The removal of server 2 was never committed: server 2 leads, and what it undid is in nobody's log.
    expect(configuration.heard(says("follower", 2, 0, 0, 1, 2))).toBe("servers");
    expect(idsOf(configuration.servers)).toEqual([0, 1, 2]);
    expect(configuration.heard(says("leader", 2, 0, 0, 1, 2))).toBe("cluster");
  });

  test("a member that is said to be elsewhere is asked at both places, until a leader has spoken", () => {
    const configuration = followed(0, 1);
    const moved = [...members(0), { id: 1, address: "elsewhere:1", voter: true }];
    expect(configuration.heard({ ...says("follower", 9, 20), members: moved })).toBe("servers");
    expect(configuration.heard({ ...says("follower", 9, 20), members: moved })).toBe("nothing");
    expect(configuration.cluster.members).toEqual(members(0, 1));
    expect(configuration.servers.map(({ address }) => address)).toEqual([
      "host-0:1",
      "host-1:1",
      "elsewhere:1",
    ]);
    expect(configuration.heard({ ...says("leader", 9, 20), members: moved })).toBe("cluster");
    expect(configuration.servers).toEqual(moved);
  });

  test("a server that waits to be added says nothing of anybody", () => {
    const configuration = followed(0, 1);
    expect(configuration.heard(says("follower", 9, 9))).toBe("nothing");
    expect(idsOf(configuration.servers)).toEqual([0, 1]);
  });

  test("an address or a vote that changes is a change", () => {
    const configuration = followed(0);
    const moved = [{ id: 0, address: "elsewhere:1", voter: true }];
    expect(configuration.heard({ ...says("leader", 1, 1), members: moved })).toBe("cluster");
    const demoted = [{ id: 0, address: "elsewhere:1", voter: false }];
    expect(configuration.heard({ ...says("leader", 1, 2), members: demoted })).toBe("cluster");
    expect(configuration.heard({ ...says("leader", 1, 3), members: demoted })).toBe("nothing");
  });

  test("addresses that somebody named count more than the cluster's own", () => {
    const named = new Map([[1, "tunnel:7"]]);
    const configuration = new FollowedConfiguration({ clusterId: "c", members: members(0, 1) }, named);
    configuration.heard(says("leader", 1, 1, 0, 1, 2));
    expect(configuration.cluster.members.map(({ address }) => address)).toEqual([
      "host-0:1",
      "tunnel:7",
      "host-2:1",
    ]);
  });
});
