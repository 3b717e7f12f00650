import { expect, test } from "bun:test";
import { listenHosts } from "../../src/rpc/listen-hosts.ts";

test.each([
  ["192.0.2.1", ["192.0.2.1", "127.0.0.1", "::1"]],
  ["127.0.0.1", ["127.0.0.1", "::1"]],
  ["::1", ["::1", "127.0.0.1"]],
  ["localhost", ["127.0.0.1", "::1"]],
  ["0.0.0.0", ["0.0.0.0", "::1"]],
  ["::", ["::"]],
])(
  "F2: at %s a process listens there first, which must work, then wherever local clients look",
  (address, hosts) => {
    expect(listenHosts(address)).toEqual(hosts);
  },
);
