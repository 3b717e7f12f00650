/**
 * What config.ini says. A file must hold the six keys of [Global] and [Servers]; the others, in sections
 * of their own, may be left out, and then their defaults hold. A key that is not known is refused.
 */
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { describeError, RaftKvError } from "../base/errors.ts";
import { LOG_LEVELS, type LogLevel } from "../observability/log-level.ts";
import { readIni } from "./ini-file.ts";
import { Settings } from "./settings.ts";
import { address, integer, oneOf, port, serverIds, stateDirectory } from "./value-reader.ts";

/** The whole configuration of a process; its parts go together. */
export interface Config {
  /** Where servers are reached: an IP address or "localhost". */
  readonly baseAddress: string;
  /** The port of server 0; server i has `basePort + i`. */
  readonly basePort: number;
  /** Relative to the working directory, or absolute. */
  readonly stateDirectory: string;
  /** The ids a frontend looks for when it finds no record of a cluster; distinct, and a limit to nothing. */
  readonly active: readonly number[];
  readonly raft: RaftTimes;
  readonly limits: Limits;
  readonly snapshot: SnapshotSettings;
  readonly frontEnd: {
    readonly port: number;
    /** How long a call may take whose caller set no deadline. */
    readonly requestTimeoutMs: number;
  };
  readonly logLevel: LogLevel;
}

/** tick ≤ heartbeat < electionTimeoutMin < electionTimeoutMax, all of them multiples of the tick. */
interface RaftTimes {
  /** How long one tick of the core's clock lasts. */
  readonly tickMs: number;
  readonly heartbeatMs: number;
  /** Election timeouts are drawn from the range of these two. */
  readonly electionTimeoutMinMs: number;
  readonly electionTimeoutMaxMs: number;
}

/** What a server takes on. */
export interface Limits {
  readonly maxKeyBytes: number;
  readonly maxValueBytes: number;
  /** How many writes may wait for their commit, and how many bytes they may hold together. */
  readonly maxPendingProposals: number;
  readonly maxPendingBytes: number;
}

/** When a server takes a snapshot, and how fast it sends one. */
export interface SnapshotSettings {
  /** One is due when the log has grown by so many entries, or half the number of keys if that is more … */
  readonly entries: number;
  /** … or by so many bytes, or half the size of the last snapshot if that is more. */
  readonly bytes: number;
  /** Entries that stay in the log behind a snapshot, for followers that are a little slow. */
  readonly keepEntries: number;
  /** To all followers together. */
  readonly transferBytesPerSecond: number;
}

/** Where a process looks that was not told of a file. */
const DEFAULT_PATH = "config.ini";

/**
 * Reads the file at `path`; null: config.ini in the working directory, or the defaults when there is none.
 *
 * @throws RaftKvError "invalidArgument" for what stands in it (see `parseConfig`), "io" when it cannot be
 *   read, which holds for a `path` where no file is.
 */
export async function loadConfig(path: string | null): Promise<Config> {
  return (await readConfig(path ?? DEFAULT_PATH)) ?? defaultConfig(path);
}

/** null when there is no such file. */
async function readConfig(path: string): Promise<Config | null> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return null;
    throw new RaftKvError("io", `${path}: cannot be read: ${describeError(cause)}`, { cause });
  }
  return parseConfig(decodeText(bytes, path), path);
}

/** Only a file that nobody named may be absent. */
function defaultConfig(path: string | null): Config {
  if (path === null) return takeConfig(new Settings(DEFAULT_PATH, null));
  throw new RaftKvError("io", `${path}: there is no such file: expected the settings`);
}

/**
 * What `text` says, the content of a file at `path`, which is only named in errors.
 *
 * @throws RaftKvError "invalidArgument": one line that names the file, the section, the key, the value
 *   and what was expected.
 */
export function parseConfig(text: string, path: string): Config {
  return takeConfig(new Settings(path, readIni(text, path)));
}

/** Where server `id` is reached, as gRPC writes it: "127.0.0.1:9001", "[::1]:9001". */
export function serverAddress(config: Config, id: number): string {
  const { baseAddress } = config;
  return `${isIPv6(baseAddress) ? `[${baseAddress}]` : baseAddress}:${serverPort(config, id)}`;
}

/** The port of server `id`. It is above 65,535 for ids that can have none: `active` holds no such id. */
export function serverPort(config: Config, id: number): number {
  return config.basePort + id;
}

function decodeText(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new RaftKvError("invalidArgument", `${path}: is not text: expected UTF-8`, { cause });
  }
}

function takeConfig(settings: Settings): Config {
  const config: Config = {
    baseAddress: settings.required("Global", "base_address", "127.0.0.1", address),
    basePort: settings.required("Servers", "base_port", 9001, port),
    stateDirectory: settings.required("Servers", "persistent_state_path", "raft_state", stateDirectory),
    active: settings.required("Servers", "active", [0, 1, 2, 3, 4], serverIds),
    raft: {
      tickMs: settings.optional("Raft", "tick_ms", 10, integer(1, 100)),
      heartbeatMs: settings.optional("Raft", "heartbeat_ms", 50, integer(1, 100)),
      electionTimeoutMinMs: settings.optional("Raft", "election_timeout_min_ms", 150, integer(1, 60_000)),
      electionTimeoutMaxMs: settings.optional("Raft", "election_timeout_max_ms", 300, integer(1, 60_000)),
    },
    limits: {
      maxKeyBytes: settings.optional("Limits", "max_key_bytes", 4096, integer(1, 65_536)),
      maxValueBytes: settings.optional("Limits", "max_value_bytes", 1_048_576, integer(1, 4_194_304)),
      maxPendingProposals: settings.optional("Limits", "max_pending_proposals", 4096, integer(1, 1_000_000)),
      maxPendingBytes: settings.optional(
        "Limits",
        "max_pending_bytes",
        67_108_864,
        integer(1, 4_294_967_296),
      ),
    },
    snapshot: {
      entries: settings.optional("Snapshot", "entries", 100_000, integer(1, 1_000_000_000)),
      bytes: settings.optional("Snapshot", "bytes", 16_777_216, integer(1, 1_099_511_627_776)),
      keepEntries: settings.optional("Snapshot", "keep_entries", 4096, integer(0, 1_000_000_000)),
      transferBytesPerSecond: settings.optional(
        "Snapshot",
        "transfer_bytes_per_second",
        67_108_864,
        integer(65_536, 1_099_511_627_776),
      ),
    },
    frontEnd: {
      port: settings.optional("FrontEnd", "port", 8001, port),
      requestTimeoutMs: settings.optional("FrontEnd", "request_timeout_ms", 5000, integer(1, 600_000)),
    },
    logLevel: settings.optional("Log", "level", "info", oneOf(LOG_LEVELS)),
  };
  // Accepted for compatibility: an event loop needs neither.
  const baseSourcePort = settings.required("Servers", "base_source_port", 7001, port);
  settings.required("Servers", "max_workers", 10, integer(1, 1_000_000));
  settings.refuseOthers();
  checkPorts(settings, config, baseSourcePort);
  checkTimes(settings, config.raft);
  checkLimits(settings, config.limits);
  return config;
}

/** Every port is one, and no two are the same: the frontend's, each active server's, the base ports. */
function checkPorts(settings: Settings, config: Config, baseSourcePort: number): void {
  const { basePort, active, frontEnd } = config;
  const highest = 65_535 - Math.max(...active);
  const servers = `every id in active (${active.join(",")})`;
  if (basePort > highest) {
    throw settings.misfit("Servers", "base_port", `at most ${highest}, so that ${servers} has a port`);
  }
  const serverPorts = new Set([basePort, ...active.map((id) => serverPort(config, id))]);
  if (serverPorts.has(frontEnd.port)) {
    const expected = `a port that keeps base_port + id, for ${servers}, off ${frontEnd.port}, the port of [FrontEnd]`;
    throw settings.misfit("Servers", "base_port", expected);
  }
  if (serverPorts.has(baseSourcePort) || baseSourcePort === frontEnd.port) {
    const expected = `a port other than the frontend's, ${frontEnd.port}, and the servers', from ${basePort} on`;
    throw settings.misfit("Servers", "base_source_port", expected);
  }
}

function checkTimes(settings: Settings, times: RaftTimes): void {
  const { tickMs, heartbeatMs, electionTimeoutMinMs, electionTimeoutMaxMs } = times;
  const check = (fits: boolean, key: string, expected: string): void => {
    if (!fits) throw settings.misfit("Raft", key, expected);
  };
  const multiple = `a multiple of tick_ms, ${tickMs}`;
  check(heartbeatMs % tickMs === 0, "heartbeat_ms", multiple);
  check(electionTimeoutMinMs % tickMs === 0, "election_timeout_min_ms", multiple);
  check(electionTimeoutMaxMs % tickMs === 0, "election_timeout_max_ms", multiple);
  check(
    heartbeatMs < electionTimeoutMinMs,
    "heartbeat_ms",
    `less than election_timeout_min_ms, ${electionTimeoutMinMs}`,
  );
  check(
    electionTimeoutMinMs < electionTimeoutMaxMs,
    "election_timeout_min_ms",
    `less than election_timeout_max_ms, ${electionTimeoutMaxMs}`,
  );
}

/** What a write costs in the queue beside its key and value, in bytes, generously. */
const PENDING_OVERHEAD_BYTES = 1024;

/** The largest write there is must find room in an empty queue, or it could never be served. */
function checkLimits(settings: Settings, limits: Limits): void {
  const least = limits.maxKeyBytes + limits.maxValueBytes + PENDING_OVERHEAD_BYTES;
  if (limits.maxPendingBytes >= least) return;
  const expected = `at least ${least}: max_key_bytes + max_value_bytes + ${PENDING_OVERHEAD_BYTES}`;
  throw settings.misfit("Limits", "max_pending_bytes", expected);
}
