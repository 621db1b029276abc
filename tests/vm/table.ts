/**
 * docs/places.md: what ran where, and with what outcome. Each suite's last results in each place lie in the cache, so that the
 * table can be filled in several runs; nothing in it is written by hand.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, contentsOf, keyOf } from "./cache.ts";
import { HOST_PLACES, PLACES, type Place } from "./places.ts";
import { countCases, type Results } from "./results.ts";
import { lacking, type Suite } from "./suites.ts";

type Column = Pick<Place, "name" | "offers">;
/** `text`: of the suite when it ran, as a hash. */
type Recorded = Results & { commit: string; text?: string };

const directory = join(cacheDirectory, "results");

const fileOf = (place: string, suite: string): string => join(directory, `${place}.${suite}.json`);
const textOf = (suite: string): string => keyOf(...contentsOf(join(import.meta.dirname, `../${suite}.test.ts`)));

export function record(results: Results, commit: string): void {
  mkdirSync(directory, { recursive: true });
  const recorded: Recorded = { ...results, commit, text: textOf(results.suite) };
  writeFileSync(fileOf(results.place, results.suite), JSON.stringify(recorded));
}

/** Whether it is on record there as this suite is now, and nothing failed. */
export function isDone(suite: string, place: string): boolean {
  if (!existsSync(fileOf(place, suite))) return false;
  const recorded = JSON.parse(readFileSync(fileOf(place, suite), "utf8")) as Recorded;
  return recorded.text === textOf(suite) && countCases([recorded]).failed === 0;
}

/** Of the checkout, as results on record name it. */
export const currentCommit = (repository: string): string =>
  execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: repository, encoding: "utf8" }).trim();

/** The results on record, in Markdown. */
export function renderTable(suites: readonly Suite[]): string {
  const columns = [...HOST_PLACES, ...PLACES];
  const isPossible = (one: Results) =>
    suites.some((suite) => {
      const place = columns.find(({ name }) => name === one.place);
      return suite.name === one.suite && place !== undefined && lacking(suite, place).length === 0;
    });
  const all = existsSync(directory)
    ? readdirSync(directory)
        .filter((name) => name.endsWith(".json"))
        .map((name) => JSON.parse(readFileSync(join(directory, name), "utf8")) as Recorded)
        .filter(isPossible)
    : [];
  const find = (suite: Suite, place: Column) => all.find((one) => one.suite === suite.name && one.place === place.name);
  const cell = (suite: Suite, place: Column): string => {
    const results = find(suite, place);
    if (results === undefined) return lacking(suite, place).length > 0 ? "–" : "";
    const { passed, failed, skipped } = countCases([results]);
    const counts = [String(passed), ...(failed > 0 ? [`**${failed} failed**`] : [])];
    return `${counts.join(", ")}${skipped > 0 ? ` (${skipped})` : ""}`;
  };
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  const rows = suites.map((suite) => row([suite.name, ...columns.map((place) => cell(suite, place))]));
  const reasons = columns.map((place) => {
    const lines = reasonsIn(all.filter((one) => one.place === place.name)).map(
      ({ why, count, among }) => `- ${count}: ${why} (${among.join(", ")})\n`,
    );
    return lines.length === 0 ? "" : `\n### ${place.name}\n\n${lines.join("")}`;
  });
  const commits = [...new Set(all.map(({ commit }) => commit))].sort().join(", ");
  return `# Where the black-box suites have run

Written by \`node --import tsx tests/vm/run.ts --table\` from the last results in each place (commits ${commits}). A cell has the cases that passed,
those that failed, and in parentheses those that were skipped; – is a suite that asks for what the place does not have; an empty cell has
not been run: systemd-root differs from v2-root by systemd and AppArmor, the other kernels by the kernel alone, and they get the suites for which
that matters. What the places are: [CONTRIBUTING.md](../CONTRIBUTING.md).

${row(["suite", ...columns.map(({ name }) => name)])}${row(["---", ...columns.map(() => "---")])}${rows.join("")}
## Why cases were skipped
${reasons.join("")}`;
}

interface Reason {
  why: string;
  count: number;
  /** Suites. */
  among: string[];
}

/** The most frequent first. */
function reasonsIn(results: readonly Results[]): Reason[] {
  const reasons = new Map<string, Reason>();
  for (const { suite, cases } of results) {
    for (const { result, detail: why } of cases) {
      if (result !== "skipped") continue;
      const reason = reasons.get(why) ?? { why, count: 0, among: [] };
      reasons.set(why, reason);
      reason.count++;
      if (!reason.among.includes(suite)) reason.among.push(suite);
    }
  }
  return [...reasons.values()].sort((a, b) => b.count - a.count);
}
