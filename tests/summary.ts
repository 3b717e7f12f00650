/**
 * Names the failed tests of several JUnit reports and counts all of them into one last line, `N passed,
 * N failed`, leaves that line in summary.txt beside the first report, and exits with 1 unless everything
 * passed.
 *
 *   bun tests/summary.ts REPORT=STATUS…        STATUS is the exit code of the runner that wrote REPORT
 *
 * A runner that failed without a failed test in its report, or left no report, counts as one failure: it
 * crashed, or could not load a file.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** How many tests ended how. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** A test case with its children; attribute values are quoted, and may hold anything but the quote. */
const TEST_CASE = /<testcase(?:\s+[\w:.-]+="[^"]*")*\s*(?:\/>|>([\s\S]*?)<\/testcase>)/g;

const FILE = /\sfile="([^"]*)"/;
const CLASS = /\sclassname="([^"]*)"/;
const NAME = /\sname="([^"]*)"/;

/** The failed tests of one report, `FILE: NAME` each as the report escapes them: a long run's own output may be lost. */
export function failedTests(xml: string | null): string[] {
  return testCases(xml)
    .filter(({ outcome }) => outcome === "failed")
    .map(
      ({ element }) =>
        `${(FILE.exec(element) ?? CLASS.exec(element))?.[1] ?? "?"}: ${NAME.exec(element)?.[1] ?? "?"}`,
    );
}

/** Counts one report; null when there is none. */
export function countReport(xml: string | null, runnerStatus: number): Counts {
  const outcomes = testCases(xml).map(({ outcome }) => outcome);
  const count = (outcome: keyof Counts) => outcomes.filter((found) => found === outcome).length;
  const failed = count("failed");
  const crashed = failed === 0 && (runnerStatus !== 0 || xml === null);
  return { passed: count("passed"), failed: crashed ? 1 : failed, skipped: count("skipped") };
}

function testCases(xml: string | null): { element: string; outcome: keyof Counts }[] {
  return Array.from((xml ?? "").matchAll(TEST_CASE), ([element, children]) => ({
    element,
    outcome: outcomeOf(children ?? ""),
  }));
}

/** Captured output is left out of the search, for it may hold anything. */
function outcomeOf(children: string): keyof Counts {
  const own = children.replaceAll(/<(system-out|system-err)\b[\s\S]*?<\/\1>/g, "");
  if (/<(failure|error)\b/.test(own)) return "failed";
  return /<skipped\b/.test(own) ? "skipped" : "passed";
}

function readReport(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function summarise(reports: readonly string[]): Counts {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const report of reports) {
    const [path = "", status = "1"] = report.split("=");
    const xml = readReport(path);
    const counts = countReport(xml, Number(status));
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
    const { passed, failed, skipped } = counts;
    process.stdout.write(`${path}: ${passed} passed, ${failed} failed, ${skipped} skipped\n`);
    for (const test of failedTests(xml)) process.stdout.write(`  failed: ${test}\n`);
  }
  return total;
}

if (import.meta.url === pathToFileURL(Bun.main).href) {
  const reports = process.argv.slice(2);
  const { passed, failed } = summarise(reports);
  const line = `${passed} passed, ${failed} failed\n`;
  writeFileSync(join(dirname(reports[0] ?? ""), "summary.txt"), line);
  process.stdout.write(line);
  process.exitCode = failed === 0 ? 0 : 1;
}
