/** `tupper ps`: the containers that are running, and those that have ended. */
import { Command } from "commander";
import { type ContainerSummary, type EndedContainer, listContainers, listEnded } from "../engine/containers/list.ts";
import { printable, printableJson } from "../printable.ts";
import { formatOption } from "./flags.ts";
import { renderTable, shorten } from "./table.ts";
import { type Colors, colorsOf, writeOut, writeWarning } from "./terminal.ts";

interface PsOptions {
  format: "table" | "json";
  quiet?: boolean;
  all?: boolean;
}

const COMMAND_WIDTH = 40;

export const psCommand = new Command("ps")
  .aliases(["list", "ls"])
  .summary("list containers")
  .description(
    "Lists the containers that are running. A container is removed when it ends; --all shows those whose end is still on record, 32 at least, the " +
      "last of each name. `--format json`: an array of id, pid, status, created, command, rootPath, rootKind; of one that has ended `end`, as " +
      "`tupper inspect` has it, in place of the root.",
  )
  .option("-a, --all", "also those that have ended lately, with exit code and cause")
  .addOption(formatOption())
  .option("-q, --quiet", "names only")
  .action(({ format, quiet, all }: PsOptions) => {
    const running = listContainers(writeWarning);
    const containers = all ? [...running, ...listEnded(running)] : running;
    if (quiet) writeOut(containers.map(({ id }) => `${id}\n`).join(""));
    else if (format === "json") writeOut(`${printableJson(JSON.stringify(containers, null, 2))}\n`);
    else writeOut(renderContainers(containers, Date.now(), colorsOf(1)));
  });

/** What people read. Pure. */
export function renderContainers(
  containers: readonly (ContainerSummary | EndedContainer)[],
  nowMs: number,
  colors: Colors,
): string {
  const rows = containers.map((container) => {
    const { id, pid, created, command = [] } = container;
    return [
      id,
      pid === 0 ? "" : String(pid),
      "end" in container ? describeEnd(container.end, nowMs) : container.status,
      age(nowMs - Date.parse(created)),
      "end" in container ? "" : `${printable(container.rootPath)} (${container.rootKind})`,
      shorten(printable(command.join(" ")), COMMAND_WIDTH),
    ];
  });
  return renderTable(["NAME", "PID", "STATUS", "AGE", "ROOT", "COMMAND"], rows, colors);
}

/** `exited (7) 3m ago`; what the code does not say is the cause: `ended (137, out-of-memory) 3m ago`. */
function describeEnd({ exitCode, cause, finished }: EndedContainer["end"], nowMs: number): string {
  const how =
    cause === "exited"
      ? `exited (${exitCode})`
      : cause === "not-started"
        ? `not started (${exitCode})`
        : `ended (${exitCode}, ${printable(cause)})`;
  return `${how} ${age(nowMs - Date.parse(finished))} ago`;
}

const UNITS = [
  ["d", 86_400],
  ["h", 3600],
  ["m", 60],
] as const;

/** `3d`, `2h`, `5m`, `12s`: the largest unit that fits. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000)) || 0;
  const unit = UNITS.find(([, length]) => seconds >= length);
  return unit === undefined ? `${seconds}s` : `${Math.floor(seconds / unit[1])}${unit[0]}`;
}
