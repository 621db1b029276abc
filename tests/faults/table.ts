/**
 * Plants every fault and has each runtime run into it: `npm run faults` writes docs/faults.md.
 *
 *     tsx tests/faults/table.ts [--only WORDS] [--tupper] [--write]
 */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { COMMAND_FAULTS } from "./commands.ts";
import { meet, type Runtime } from "./fault.ts";
import { LIMIT_FAULTS } from "./limits.ts";
import { MOUNT_FAULTS } from "./mounts.ts";
import { NAMESPACE_FAULTS } from "./namespaces.ts";
import { PROCESS_FAULTS } from "./process.ts";
import { fillBrokenRootfs } from "./rootfs.ts";

const value = (flag: string) =>
  process.argv.includes(flag) ? process.argv[process.argv.indexOf(flag) + 1] : undefined;
const only = value("--only");
const base = mkdtempSync("/tmp/faults-");
chmodSync(base, 0o755);
mkdirSync(join(base, "rootfs"));
fillBrokenRootfs(join(base, "rootfs"));
copyFileSync("build/tupper", join(base, "tupper"));
chmodSync(join(base, "tupper"), 0o755);
const runtimes: Runtime[] = [{ name: "tupper", argv0: "tupper-runtime", file: join(base, "tupper") }];
if (!process.argv.includes("--tupper"))
  runtimes.push({ name: "runc", argv0: "runc", file: "runc" }, { name: "crun", argv0: "crun", file: "crun" });
let [asked, cause, remedy] = [0, 0, 0];
for (const fault of process.env.ONLY
  ? [...LIMIT_FAULTS, ...PROCESS_FAULTS]
  : [...COMMAND_FAULTS, ...MOUNT_FAULTS, ...NAMESPACE_FAULTS, ...LIMIT_FAULTS, ...PROCESS_FAULTS]) {
  if (only !== undefined && !fault.name.includes(only)) continue;
  if (fault.skip) {
    console.log(`-- ${fault.name}: ${fault.skip}`);
    continue;
  }
  for (const runtime of runtimes) {
    if (fault.only && runtime.name !== "tupper") continue;
    const said = meet(fault, runtime, base);
    if (runtime.name === "tupper") {
      asked++;
      cause += Number(said.cause);
      remedy += Number(said.remedy);
    }
    console.log(`${said.cause ? "C" : "-"}${said.remedy ? "R" : "-"} ${runtime.name} [${said.code}] ${fault.name}`);
    if (!said.cause || !said.remedy || process.argv.includes("--all"))
      console.log(said.text.slice(0, 900).replace(/^/gm, "      "));
  }
}
console.log(`${asked} faults: cause ${cause}, remedy ${remedy}`);
rmSync(base, { recursive: true, force: true });
