/** `tupper-runtime info`. */
import { Command, Option } from "commander";
import { printable, printableJson } from "../../printable.ts";
import { type MachineInfo, machineInfo } from "../../runtime/info.ts";
import { SPEC_VERSION } from "../../spec/version.ts";
import { colorsOf, writeOut } from "../terminal.ts";
import { COMMIT, VERSION } from "../version.ts";

export const infoCommand = new Command("info")
  .summary("show what the machine has for containers")
  .description(
    "Shows what the machine has for containers: kernel, processors and memory, control groups, namespaces, capabilities. What the runtime knows, `features` tells.",
  )
  .addOption(new Option("-f, --format <FORMAT>", "how to print").choices(["text", "json"]).default("text"))
  .action(({ format }: { format: "text" | "json" }) => {
    const ours = { version: VERSION, commit: COMMIT, spec: SPEC_VERSION };
    const machine = machineInfo();
    writeOut(
      format === "json" ? `${printableJson(JSON.stringify({ ...ours, ...machine }, null, 2))}\n` : textOf(machine),
    );
  });

const WIDTH = 20;

function textOf(machine: MachineInfo): string {
  const { dim } = colorsOf(1);
  const { kernel, cgroups, namespaces, capabilities, securityModules } = machine;
  const line = (name: string, value: string): string => `${dim(name.padEnd(WIDTH))}${printable(value)}\n`;
  const list = (words: readonly string[]): string => words.join(" ") || "none";
  const users = machine.unprivilegedUserNamespaces ? "all users" : "root only";
  return [
    line("version", VERSION),
    line("commit", COMMIT),
    line("specification", SPEC_VERSION),
    line("kernel", `${kernel.release} ${kernel.version}`),
    line("architecture", machine.architecture),
    line("operating system", machine.operatingSystem ?? "unknown"),
    line("processors", String(machine.processors)),
    line("memory", `${Math.floor(machine.memoryBytes / 2 ** 20)} MiB`),
    line("control groups", cgroups.setup),
    ...Object.entries(cgroups.mounts).map(([name, path]) => line(`  ${name}`, path)),
    ...(cgroups.mounts.unified === undefined ? [] : [line("controllers of v2", list(cgroups.controllers))]),
    line("namespaces", list(namespaces)),
    line("user namespaces", users),
    line("security modules", list(securityModules)),
    line("capabilities", list(capabilities.bounding)),
    line("  missing", list(capabilities.missing)),
  ].join("");
}
