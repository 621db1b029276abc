/** `tupper-runtime list`. */
import { Command, Option } from "commander";
import { ContainerError } from "../../error.ts";
import { loadContainers } from "../../runtime/container.ts";
import { describeState } from "../../runtime/state.ts";
import { AT_FDCWD } from "../../sys/constants.ts";
import { raw, SysError } from "../../sys/sys.ts";
import { printableJson, printableRows, renderTable } from "../table.ts";
import { colorsOf, writeOut } from "../terminal.ts";
import { type GlobalOptions, runtimeContext } from "./global-options.ts";

interface ListOptions {
  format: "table" | "json";
  quiet?: boolean;
}

export const listCommand = new Command("list")
  .summary("list containers")
  .description("Lists the containers that are on record.")
  .addOption(new Option("-f, --format <FORMAT>", "how to print").choices(["table", "json"]).default("table"))
  .option("-q, --quiet", "only their IDs")
  .action(({ format, quiet }: ListOptions, command: Command) => {
    const { root, warn } = runtimeContext(command);
    const containers = loadContainers(root, warn);
    if (containers.length === 0 && command.optsWithGlobals<GlobalOptions>().root !== undefined) requireDirectory(root);
    if (quiet) return writeOut(containers.map(({ record }) => `${record.id}\n`).join(""));
    const states = containers.map(describeState);
    if (format === "json") return writeOut(`${printableJson(JSON.stringify(states))}\n`);
    const rows = printableRows(
      states.map(({ id, pid, status, bundle, created, owner }) => [id, String(pid), status, bundle, created, owner]),
    );
    writeOut(renderTable(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], rows, colorsOf(1)));
  });

/** A root that was named and is not there is a mistake, as under runc; the usual one comes with the first container. */
function requireDirectory(root: string): void {
  const result = raw.faccessat(AT_FDCWD, root, 0);
  if (result >= 0) return;
  throw new ContainerError("ROOT_MISSING", `there is no directory ${root} with containers`, {
    field: "--root",
    cause: new SysError("faccessat", -result, [root]),
  });
}
