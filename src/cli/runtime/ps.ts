/** `tupper-runtime ps`. */
import { Command, Option } from "commander";
import { listProcesses, tableOf } from "../../runtime/ps.ts";
import { writeOut } from "../terminal.ts";
import { runtimeContext } from "./global-options.ts";

export const processesCommand = new Command("ps")
  .summary("list the processes of a container")
  .description(
    "Lists the processes of a container by their numbers on this machine. What follows the ID is ps(1)'s own.",
  )
  .argument("<ID>", "a container")
  .argument("[PS_ARG...]", "arguments of ps; default -ef")
  .addOption(
    new Option("-f, --format <FORMAT>", "a table, or a list of numbers").choices(["table", "json"]).default("table"),
  )
  .passThroughOptions()
  .action((id: string, args: string[], { format }: { format: "table" | "json" }, command: Command) => {
    const pids = listProcesses(runtimeContext(command).root, id);
    writeOut(format === "json" ? `${JSON.stringify(pids)}\n` : tableOf(pids, args));
  });
