/** What guest/reporter.mjs tells of a suite's cases, read and rendered. */
import type { Outcome } from "./machine.ts";

export interface Case {
  name: string;
  result: "passed" | "failed" | "skipped";
  durationMs: number;
  /** Why it was skipped, or how it failed. */
  detail: string;
}

export interface Results {
  place: string;
  suite: string;
  durationMs: number;
  cases: readonly Case[];
}

interface Event {
  type: "start" | "pass" | "fail";
  name: string;
  nesting: number;
  skip?: string;
  todo?: string;
  isSuite: boolean;
  durationMs?: number;
  error?: string;
  failureType?: string;
}

interface Raw {
  place: string;
  suite: string;
  durationMs: number;
  output: string;
  errors: string;
  outcome: Outcome;
}

/** A suite that did not come to its end has one case more, which failed and tells how, with the guest's log. */
export function readResults({ place, suite, durationMs, output, errors, outcome }: Raw): Results {
  const lines = output.split("\n");
  const events = lines.filter((line) => line.startsWith("\x1e")).map((line) => JSON.parse(line.slice(1)) as Event);
  const printed = lines.filter((line) => !line.startsWith("\x1e")).join("\n");
  const cases: Case[] = [];
  const path: string[] = [];
  let running: string | undefined;
  for (const { type, name, nesting, skip, todo, isSuite, durationMs: took = 0, error, failureType } of events) {
    path.length = nesting;
    path[nesting] = name;
    const fullName = path.join(" > ");
    running = type === "start" ? fullName : undefined;
    // A parent fails with its children.
    if (type === "start" || (isSuite && failureType === "subtestsFailed") || (isSuite && type === "pass")) continue;
    const result = skip !== undefined || todo !== undefined ? "skipped" : type === "pass" ? "passed" : "failed";
    cases.push({ name: fullName, result, durationMs: took, detail: skip || error || "" });
  }
  const isCut = outcome.code === undefined;
  const hasFailure = cases.some(({ result }) => result === "failed");
  if (isCut || (outcome.code !== 0 && !hasFailure)) {
    const reason = outcome.failure ?? `exit code ${outcome.code} without a failed test`;
    const during = running === undefined ? "" : ` during "${running}"`;
    const tail = (text: string) => text.trim().split("\n").slice(-60).join("\n");
    const detail = [`${reason}${during}`, tail(printed), tail(errors), `log of the guest:\n${tail(outcome.log)}`];
    cases.push({ name: "the suite comes to its end", result: "failed", durationMs: 0, detail: detail.join("\n") });
  } else if (hasFailure) {
    const last = cases.findLast(({ result }) => result === "failed");
    const fromKernel = outcome.log.trim();
    if (last !== undefined && fromKernel !== "")
      last.detail += `\nlog of the guest:\n${fromKernel.split("\n").slice(-20).join("\n")}`;
  }
  return { place, suite, durationMs, cases };
}

export function countCases(all: readonly Results[]): { passed: number; failed: number; skipped: number } {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { cases } of all) for (const { result } of cases) counts[result]++;
  return counts;
}

const SIGNS = { passed: "✔", failed: "✖", skipped: "﹣" } as const;

export function renderCases(results: Results): string {
  const { place, suite, durationMs, cases } = results;
  const { passed, failed, skipped } = countCases([results]);
  const head = `▶ ${place} > ${suite}: ${passed} passed, ${failed} failed, ${skipped} skipped (${(durationMs / 1000).toFixed(1)} s)\n`;
  const lines = cases.map(({ name, result, durationMs: took, detail }) => {
    const tail = result === "skipped" ? ` # ${detail}` : ` (${took.toFixed(0)} ms)`;
    const how = result === "failed" ? `\n${detail.replace(/^/gm, "      ")}` : "";
    return `  ${SIGNS[result]} ${name}${tail}${how}\n`;
  });
  return head + lines.join("");
}

/** The cases that failed the first time only. */
export function unsteadyCases(first: Results, second: Results): string[] {
  const failedIn = ({ cases }: Results) => cases.filter(({ result }) => result === "failed").map(({ name }) => name);
  const still = new Set(failedIn(second));
  return failedIn(first)
    .filter((name) => !still.has(name))
    .map((name) => `${first.place} > ${first.suite}: ${name}`);
}

export function renderTap(results: Results): string {
  const { place, suite, cases } = results;
  const { passed, failed, skipped } = countCases([results]);
  const lines = cases.map(({ name, result, detail }, i) => {
    const title = `${place} > ${suite} > ${name}`.replaceAll("#", "\\#");
    const directive = result === "skipped" ? ` # SKIP ${detail.replaceAll("\n", " ")}` : "";
    return `${result === "failed" ? "not ok" : "ok"} ${i + 1} - ${title}${directive}\n`;
  });
  const counts = `# tests ${cases.length}\n# pass ${passed}\n# fail ${failed}\n# cancelled 0\n# skipped ${skipped}\n`;
  return `TAP version 13\n${lines.join("")}1..${cases.length}\n${counts}`;
}
