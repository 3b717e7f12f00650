/**
 * Machines with a network between them, on one machine: a namespace and an address for each, all of them plugged
 * into a switch in a namespace of its own, which the test is plugged into, too.
 *
 *   rkv<pid>-m0 … -m4   10.<a>.<b>.1 … .5       rkv<pid>-sw   a bridge       here   10.<a>.<b>.254
 *
 * Links are cut by routes that lose what is sent on them, so that a cut has a direction. When the namespaces are
 * deleted everything in them goes, and so does the other end of the cable that is here.
 */
import { waitFor } from "./waiting.ts";

/** The network's name, by the process: two tests at a time do not meet. */
const NAME = `rkv${process.pid}`;

const SWITCH = `${NAME}-sw`;
/** At most 15 characters, for a network interface. */
const CABLE = `${NAME}up`.slice(-15);

function run(...words: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...words]);
  if (exitCode === 0) return stdout.toString();
  throw new Error(`${words.join(" ")}: ${stderr.toString().trim() || `exit code ${exitCode}`}`);
}

function inside(namespace: string, ...words: readonly string[]): string {
  return run("ip", "netns", "exec", namespace, ...words);
}

/** Why there can be no such network here; null: there can. */
export function whyNoNamespaces(): string | null {
  try {
    run("ip", "netns", "add", SWITCH);
    try {
      run("ip", "link", "add", CABLE, "type", "veth", "peer", "name", "cable", "netns", SWITCH);
      inside(SWITCH, "ip", "link", "add", "bridge", "type", "bridge");
      inside(SWITCH, "tc", "qdisc", "add", "dev", "cable", "root", "tbf", ...rateOf(64));
    } finally {
      // Deleting a namespace takes what is in it only a little later.
      Bun.spawnSync(["ip", "link", "delete", CABLE]);
      run("ip", "netns", "delete", SWITCH);
    }
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** How `tc tbf` is told of a rate, in kilobits a second. */
function rateOf(kilobits: number): readonly string[] {
  return ["rate", `${kilobits}kbit`, "burst", "4kb", "latency", "400ms"];
}

export class NetworkNamespaces {
  readonly #prefix: string;
  readonly #ids: readonly number[];

  private constructor(ids: readonly number[]) {
    // 10.128.0.0 to 10.255.255.0: rarely anybody's.
    this.#prefix = `10.${128 + (process.pid % 128)}.${(process.pid >> 7) % 256}`;
    this.#ids = ids;
  }

  /** Machines of these ids, 0 to 99. Removes what it made when it fails. */
  static async create(ids: readonly number[]): Promise<NetworkNamespaces> {
    const network = new NetworkNamespaces(ids);
    try {
      network.#plugSwitch();
      for (const id of ids) network.#plug(id);
      return network;
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  addressOf(id: number): string {
    return `${this.#prefix}.${id + 1}`;
  }

  /** The words that run a command on the machine. */
  prefixOf(id: number): readonly string[] {
    return ["ip", "netns", "exec", machine(id)];
  }

  /** From now on nothing that `from` sends reaches `to`; answers to what `to` sends among it. */
  cutOneWay(from: number, to: number): void {
    inside(machine(from), "ip", "route", "replace", "blackhole", `${this.addressOf(to)}/32`);
  }

  /** Neither reaches the other. The test still reaches both. */
  cut(one: number, other: number): void {
    this.cutOneWay(one, other);
    this.cutOneWay(other, one);
  }

  /** What the machine sends and receives goes at `kilobits` a second each, and what has to wait for long is lost. */
  slow(id: number, kilobits: number): void {
    for (const [namespace, device] of endsOf(id)) {
      inside(namespace, "tc", "qdisc", "replace", "dev", device, "root", "tbf", ...rateOf(kilobits));
    }
  }

  /** All links are as they were at the beginning. */
  heal(): void {
    for (const id of this.#ids) {
      const routes = inside(machine(id), "ip", "route", "show", "type", "blackhole");
      for (const line of routes.split("\n")) {
        const [, address] = /^blackhole (\S+)/.exec(line) ?? [];
        if (address !== undefined) inside(machine(id), "ip", "route", "delete", "blackhole", address);
      }
      for (const [namespace, device] of endsOf(id)) {
        if (!inside(namespace, "tc", "qdisc", "show", "dev", device).includes("tbf")) continue;
        inside(namespace, "tc", "qdisc", "delete", "dev", device, "root");
      }
    }
  }

  /** Removes all of it, also what is there in part. No process may run in it any more. */
  async close(): Promise<void> {
    Bun.spawnSync(["ip", "link", "delete", CABLE]);
    for (const namespace of [...this.#ids.map(machine), SWITCH]) {
      Bun.spawnSync(["ip", "netns", "delete", namespace]);
    }
    await waitFor("the network is gone", isGone);
  }

  #plugSwitch(): void {
    run("ip", "netns", "add", SWITCH);
    inside(SWITCH, "ip", "link", "add", "bridge", "type", "bridge");
    inside(SWITCH, "ip", "link", "set", "dev", "bridge", "up");
    run("ip", "link", "add", CABLE, "type", "veth", "peer", "name", "cable", "netns", SWITCH);
    inside(SWITCH, "ip", "link", "set", "dev", "cable", "master", "bridge", "up");
    run("ip", "address", "add", `${this.#prefix}.254/24`, "dev", CABLE);
    run("ip", "link", "set", "dev", CABLE, "up");
  }

  #plug(id: number): void {
    run("ip", "netns", "add", machine(id));
    inside(
      SWITCH,
      "ip",
      "link",
      "add",
      `to${id}`,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      machine(id),
    );
    inside(SWITCH, "ip", "link", "set", "dev", `to${id}`, "master", "bridge", "up");
    inside(machine(id), "ip", "address", "add", `${this.addressOf(id)}/24`, "dev", "eth0");
    inside(machine(id), "ip", "link", "set", "dev", "eth0", "up");
    inside(machine(id), "ip", "link", "set", "dev", "lo", "up");
  }
}

function isGone(): boolean {
  return !run("ip", "netns", "list").includes(`${NAME}-`) && !run("ip", "-br", "link").includes(CABLE);
}

/** The two ends of a machine's cable: the one it sends into, and the one it receives from. */
function endsOf(id: number): readonly (readonly [namespace: string, device: string])[] {
  return [
    [machine(id), "eth0"],
    [SWITCH, `to${id}`],
  ];
}

function machine(id: number): string {
  return `${NAME}-m${id}`;
}
