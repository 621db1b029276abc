/** `tupper-runtime info`. */
import { Command, Option } from "commander";
import { printable, printableJson } from "../../printable.ts";
import { machineInfo } from "../../runtime/info.ts";
import { SPEC_VERSION } from "../../spec/version.ts";
import { writeOut } from "../terminal.ts";
import { COMMIT, VERSION } from "../version.ts";

export const infoCommand = new Command("info")
  .summary("show what the machine has for containers")
  .description("Shows what the machine has for containers. What the runtime knows, `features` tells.")
  .addOption(new Option("-f, --format <FORMAT>", "how to print").choices(["text", "json"]).default("text"))
  .action(({ format }: { format: "text" | "json" }) => {
    const info = { version: VERSION, commit: COMMIT, spec: SPEC_VERSION, ...machineInfo() };
    writeOut(format === "json" ? `${printableJson(JSON.stringify(info, null, 2))}\n` : textOf(info, ""));
  });

const WIDTH = 30;

/** A line for each value, what is in an object indented below its name. */
function textOf(values: object, indent: string): string {
  let text = "";
  for (const [key, value] of Object.entries(values) as [string, unknown][]) {
    const name = indent + key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    const isGroup = typeof value === "object" && !Array.isArray(value) && value !== null;
    const shown = Array.isArray(value) ? value.join(" ") || "none" : printable(String(value));
    text += isGroup ? `${name}\n${textOf(value, `${indent}  `)}` : `${name.padEnd(WIDTH)}${shown}\n`;
  }
  return text;
}
