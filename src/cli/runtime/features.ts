/** `tupper-runtime features`. */
import { Command } from "commander";
import { features } from "../../spec/features.ts";
import { writeOut } from "../terminal.ts";
import { VERSION } from "../version.ts";

/** How far the runtime has come. */
const IMPLEMENTED = {
  systemd: true,
  apparmor: true,
  selinux: true,
  intelRdt: true,
  memoryPolicy: true,
  idmap: true,
  netDevices: true,
};

export const featuresCommand = new Command("features")
  .summary("show what the runtime knows")
  .description(
    "Prints the features of the runtime as JSON, whatever the machine has of them: features.md of the runtime-spec.",
  )
  .action(() => writeOut(`${JSON.stringify(features(VERSION, IMPLEMENTED), null, 2)}\n`));
