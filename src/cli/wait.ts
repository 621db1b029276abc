/** `tupper wait`: how containers end. */
import { Command, Option } from "commander";
import type { End } from "../engine/containers/ends.ts";
import { watchEnd } from "../engine/containers/wait.ts";
import { printable, printableJson } from "../printable.ts";
import { writeErr, writeOut } from "./terminal.ts";

export const waitCommand = new Command("wait")
  .summary("wait until containers end, and print their exit codes")
  .description(
    "Waits for the end of each container, and prints its exit code on a line of stdout: 128 + n for signal n. Why it ended, where that does " +
      "not say it all, is told on stderr. Of containers that have ended the last 32 are still known. `--format json`: a line with an object for each.",
  )
  .argument("<NAME...>", "containers that run, or ended lately")
  .addOption(new Option("--format <FORMAT>", "how to print").choices(["text", "json"]).default("text"))
  .action((ids: string[], { format }: { format: "text" | "json" }) => {
    // All of them first: a name that is wrong is told at once, and one that ends meanwhile is not missed.
    for (const awaitEnd of ids.map(watchEnd)) print(awaitEnd(), format);
  });

function print(end: End, format: "text" | "json"): void {
  if (format === "json") {
    writeOut(`${printableJson(JSON.stringify(end))}\n`);
    return;
  }
  writeOut(`${end.exitCode}\n`);
  if (end.why !== undefined) writeErr(`${end.id}: ${printable(end.why)}\n`);
}
