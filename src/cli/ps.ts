/** `tupper ps`: the containers that are running. */
import { Command } from "commander";
import { type ContainerSummary, listContainers } from "../engine/containers/list.ts";
import { formatOption } from "./flags.ts";
import { printable, renderTable, shorten } from "./table.ts";
import { type Colors, colorsOf, writeOut, writeWarning } from "./terminal.ts";

interface PsOptions {
  format: "table" | "json";
  quiet?: boolean;
}

const COMMAND_WIDTH = 40;

export const psCommand = new Command("ps")
  .aliases(["list", "ls"])
  .summary("list running containers")
  .description(
    "Lists the containers that are running. `--format json`: an array of id, pid, status, created, command, rootPath, rootKind.",
  )
  .addOption(formatOption())
  .option("-q, --quiet", "names only")
  .action(({ format, quiet }: PsOptions) => {
    const containers = listContainers(writeWarning);
    if (quiet) writeOut(containers.map(({ id }) => `${id}\n`).join(""));
    else if (format === "json") writeOut(`${JSON.stringify(containers, null, 2)}\n`);
    else writeOut(renderContainers(containers, Date.now(), colorsOf(1)));
  });

/** What people read. Pure. */
export function renderContainers(containers: readonly ContainerSummary[], nowMs: number, colors: Colors): string {
  const rows = containers.map(({ id, pid, status, created, command, rootPath, rootKind }) => [
    id,
    pid === 0 ? "" : String(pid),
    status,
    age(nowMs - Date.parse(created)),
    `${printable(rootPath)} (${rootKind})`,
    shorten(printable(command.join(" ")), COMMAND_WIDTH),
  ]);
  return renderTable(["NAME", "PID", "STATUS", "AGE", "ROOT", "COMMAND"], rows, colors);
}

const UNITS = [
  ["d", 86_400],
  ["h", 3600],
  ["m", 60],
] as const;

/** `3d`, `2h`, `5m`, `12s`: the largest unit that fits. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const unit = UNITS.find(([, length]) => seconds >= length);
  return unit === undefined ? `${seconds}s` : `${Math.floor(seconds / unit[1])}${unit[0]}`;
}
