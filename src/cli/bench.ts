import { runBench } from "./bench/campaign.ts";
import { BENCH_OPTIONS, parseBenchSettings } from "./bench/settings.ts";
import { command } from "./command.ts";
import type { Job } from "./result.ts";

export const benchCommand = command(
  {
    name: "raftkv bench",
    description: "Measure a cluster: throughput, latencies, errors; it writes keys that begin with bench/",
    details: [
      "Without --rate each client sends its next operation when the one before is answered, or 10 ms after it",
      "failed. With it, operation k is due k / rate seconds after the start, whatever became of those before; what",
      "is due while all clients wait for answers waits in line, and its latency counts from when it was due.",
      "",
      "With --servers, puts and linearizable gets go to the leader, which is followed when it changes, and local",
      "gets to all servers in turn. No call is sent twice: what is refused is counted as an error.",
    ].join("\n"),
  },
  BENCH_OPTIONS,
  async (args): Promise<Job> => {
    const settings = parseBenchSettings(args);
    return { kind: "job", run: (signal) => runBench(settings, signal) };
  },
);
