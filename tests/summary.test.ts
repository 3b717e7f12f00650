import { expect, test } from "bun:test";
import { countReport, failedTests } from "./summary.ts";

const REPORT = `<?xml version="1.0"?><testsuites tests="4"><testsuite name="a &gt; b">
  <testcase name="ok > fine" time="0.1" />
  <testcase name="loud"><system-out>&lt;failure <![CDATA[<failure>]]></system-out></testcase>
  <testcase name="bad" classname="b" file="tests/b.test.ts"><failure message="no">trace</failure></testcase>
  <testcase name="broken"><error message="setup">trace</error></testcase>
  <testcase name="later"><skipped /></testcase>
</testsuite></testsuites>`;

test("a report is counted case by case, and captured output counts for nothing", () => {
  expect(countReport(REPORT, 1)).toEqual({ passed: 2, failed: 2, skipped: 1 });
});

test("a runner that failed without a failed test, or left no report, counts as one failure", () => {
  expect(countReport('<testcase name="ok"/>', 1)).toEqual({ passed: 1, failed: 1, skipped: 0 });
  expect(countReport(null, 0)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  expect(countReport("", 139)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  expect(countReport("<testsuites/>", 0)).toEqual({ passed: 0, failed: 0, skipped: 0 });
});

test("the failed tests are named, with the file where the report tells it", () => {
  expect(failedTests(REPORT)).toEqual(["tests/b.test.ts: bad", "?: broken"]);
  expect(failedTests('<testcase classname="tests.python.test_a" name="x"><failure/></testcase>')).toEqual([
    "tests.python.test_a: x",
  ]);
  expect(failedTests(null)).toEqual([]);
});
