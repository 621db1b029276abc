/**
 * The times of a report as a picture: bars of medians beside each other, one scale.
 *
 *     tsx bench/plot.ts bench/results/FILE.json >docs/performance.svg
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Report, SUMMARY } from "./report.ts";

const COLOURS = ["#0b6e4f", "#f2a541", "#d9772b", "#8c9fb5", "#c9c9c9"];
const [LEFT, BAR, GAP, WIDTH, RIGHT] = [290, 13, 14, 520, 90];

const escaped = (text: string): string =>
  text.replaceAll("`", "").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** An SVG of what SUMMARY names, without a pause between runs. Bars longer than the picture are cut and say their number. */
export function plot(report: Report): string {
  const results = SUMMARY.flatMap((title) => report.results.filter((result) => result.title === title));
  const bars = results.map(({ title, timings }) => ({ title, by: timings[0]?.by ?? {} }));
  const names = [...new Set(bars.flatMap(({ by }) => Object.keys(by)))];
  const most = Math.max(1, ...bars.flatMap(({ by }) => Object.values(by).map(({ medianMs }) => medianMs)));
  // What one runtime takes for a list must not make the rest invisible.
  const limit = Math.min(most, 60);
  const lines: string[] = [];
  let y = 64;
  for (const { title, by } of bars) {
    const shown = names.filter((name) => by[name] !== undefined);
    const middle = y + (shown.length * BAR) / 2 + 4;
    lines.push(`<text x="${LEFT - 10}" y="${middle}" text-anchor="end">${escaped(title)}</text>`);
    for (const name of shown) {
      const ms = by[name]?.medianMs ?? 0;
      const width = Math.max(1, (Math.min(ms, limit) / limit) * WIDTH).toFixed(1);
      const colour = COLOURS[names.indexOf(name) % COLOURS.length];
      lines.push(
        `<rect x="${LEFT}" y="${y}" width="${width}" height="${BAR - 2}" fill="${colour}"/>`,
        `<text x="${LEFT + Number(width) + 5}" y="${y + BAR - 3}" class="n">${ms.toFixed(ms < 10 ? 2 : 1)}${ms > limit ? " …" : ""}</text>`,
      );
      y += BAR;
    }
    y += GAP;
  }
  const legend = names.map(
    (name, i) =>
      `<rect x="${LEFT + i * 118}" y="34" width="11" height="11" fill="${COLOURS[i % COLOURS.length]}"/><text x="${LEFT + i * 118 + 16}" y="44">${escaped(name)}</text>`,
  );
  const width = LEFT + WIDTH + RIGHT;
  const { machine, date } = report;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + 14}" viewBox="0 0 ${width} ${y + 14}" font-family="sans-serif" font-size="12" role="img" aria-labelledby="title">`,
    `<title id="title">Milliseconds that each runtime takes</title>`,
    "<style>.n{font-size:10px;fill:#555}</style>",
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="20" font-size="14">milliseconds, median; shorter is better</text>`,
    ...legend,
    ...lines,
    `<text x="${width - 8}" y="${y + 6}" text-anchor="end" class="n">${escaped(`${machine.host}, ${machine.processors} × ${machine.processor}, Linux ${machine.kernel}, ${date.slice(0, 10)}`)}</text>`,
    "</svg>",
    "",
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [file = ""] = process.argv.slice(2);
  process.stdout.write(plot(JSON.parse(readFileSync(file, "utf8")) as Report));
}
