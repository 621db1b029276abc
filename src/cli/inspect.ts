/** `tupper inspect`: all there is to know of running containers, and how others ended, as JSON. */
import { Command, Option } from "commander";
import { inspectContainer } from "../engine/containers/inspect.ts";
import { printableJson } from "../printable.ts";
import { writeOut } from "./terminal.ts";

export const inspectCommand = new Command("inspect")
  .summary("show all there is to know of containers, as JSON")
  .description(
    "Prints an array with an object for each container: its state and the OCI config that it was made from; of one that has ended: how, as " +
      "`tupper wait` does.",
  )
  .argument("<NAME...>", "containers that run, or ended lately")
  .addOption(new Option("--format <FORMAT>", "accepted: it is always json").choices(["json"]).hideHelp())
  .action((ids: string[]) =>
    writeOut(`${printableJson(JSON.stringify(ids.map(inspectContainer), bigintAsNumber, 2))}\n`),
  );

const bigintAsNumber = (_key: string, value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);
