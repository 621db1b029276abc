/** `tupper-runtime list`. */
import { Command, Option } from "commander";
import { ContainerError } from "../../error.ts";
import { printableJson, printableRows } from "../../printable.ts";
import { statusOf } from "../../runtime/container.ts";
import { forEachContainer } from "../../runtime/listed.ts";
import { type ContainerState, describeState, shownPid } from "../../runtime/state.ts";
import { AT_FDCWD } from "../../sys/constants.ts";
import { raw, SysError } from "../../sys/sys.ts";
import { renderTable } from "../table.ts";
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
    const [states, rows]: [ContainerState[], string[][]] = [[], []];
    let ids = "";
    forEachContainer(root, warn, (container) => {
      const { id, bundle, created, owner } = container.record;
      if (!quiet && format === "json") states.push(describeState(container));
      else if (!quiet) {
        const status = statusOf(container);
        rows.push([id, String(shownPid(container, status)), status, bundle, created, owner]);
      }
      ids += `${id}\n`;
    });
    if (ids === "" && command.optsWithGlobals<GlobalOptions>().root !== undefined) requireDirectory(root);
    if (quiet) writeOut(ids);
    else if (format === "json") writeOut(`${printableJson(JSON.stringify(states))}\n`);
    else writeOut(renderTable(HEAD, printableRows(rows), colorsOf(1)));
  });

const HEAD = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/** A root that was named and is not there is a mistake, as under runc; the usual one comes with the first container. */
function requireDirectory(root: string): void {
  const result = raw.faccessat(AT_FDCWD, root, 0);
  if (result >= 0) return;
  throw new ContainerError("STATE_ROOT", `there is no directory ${root} with containers`, {
    field: "--root",
    hint: "name the directory that --root named when they were made",
    cause: new SysError("faccessat", -result, [root]),
  });
}
