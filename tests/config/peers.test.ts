import { expect, test } from "bun:test";
import {
  formatPeers,
  parseAddress,
  parseAddresses,
  parseHostAndPort,
  parsePeers,
} from "../../src/config/peers.ts";

test("peers are read in any order, with IPv4, IPv6 and names, and written back the same way", () => {
  const peers = parsePeers("7=db-2.Local:80, 0=10.0.0.1:9001 ,2=[FD00::2]:65535");
  expect(peers).toEqual([
    { id: 0, address: "10.0.0.1:9001" },
    { id: 2, address: "[fd00::2]:65535" },
    { id: 7, address: "db-2.local:80" },
  ]);
  expect(parsePeers(formatPeers(peers ?? []))).toEqual(peers);
});

test("I2: peers that are none, or one of them twice, are refused", () => {
  for (const text of [
    "",
    ",",
    "0",
    "0=",
    "=10.0.0.1:9001",
    "0=10.0.0.1",
    "0=10.0.0.1:0",
    "0=10.0.0.1:65536",
    "0=10.0.0.256:1",
    "0=fd00::1:9001",
    "0=[10.0.0.1]:9001",
    "0=[fd00::g]:9001",
    "0=0.0.0.0:9001",
    "0=[::]:9001",
    "-1=10.0.0.1:9001",
    "65535=10.0.0.1:9001",
    "1.5=10.0.0.1:9001",
    "01=10.0.0.1:9001",
    "0=10.0.0.1:9001,",
    "0=10.0.0.1:9001,0=10.0.0.2:9001",
    "0=10.0.0.1:9001,1=10.0.0.1:9001",
    "0=a b:9001",
    "0=a/b:9001",
  ]) {
    expect([text, parsePeers(text)]).toEqual([text, null]);
  }
});

test("I2: what is listened on may be every address of the machine, what others are told may not", () => {
  expect(parseHostAndPort("0.0.0.0:9001")).toEqual({ host: "0.0.0.0", port: 9001 });
  expect(parseHostAndPort("[::]:9001")).toEqual({ host: "::", port: 9001 });
  expect(parseAddress("0.0.0.0:9001")).toBeNull();
  expect(parseAddress("[::]:9001")).toBeNull();
});

test("a list of addresses names each once", () => {
  expect(parseAddresses("10.0.0.1:1,h:2")).toEqual(["10.0.0.1:1", "h:2"]);
  expect(parseAddresses("h:2,H:2")).toBeNull();
  expect(parseAddresses("h")).toBeNull();
});
