/** `tupper-runtime list`. */
import { Command, Option } from "commander";
import { loadContainers } from "../../runtime/container.ts";
import { describeState } from "../../runtime/state.ts";
import { printable, printableJson, renderTable } from "../table.ts";
import { colorsOf, writeOut } from "../terminal.ts";
import { runtimeContext } from "./global-options.ts";

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
    if (quiet) return writeOut(containers.map(({ record }) => `${record.id}\n`).join(""));
    const states = containers.map(describeState);
    if (format === "json") return writeOut(`${printableJson(JSON.stringify(states))}\n`);
    const rows = states.map(({ id, pid, status, bundle, created, owner }) =>
      [id, String(pid), status, bundle, created, owner].map(printable),
    );
    writeOut(renderTable(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], rows, colorsOf(1)));
  });
