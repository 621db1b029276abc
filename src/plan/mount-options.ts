/**
 * `mounts[].options` of the runtime-spec (config.md, "Linux mount options"): which of them are flags of the mount,
 * which are propagation, and what is left for the filesystem itself.
 */
import type { MountFlag } from "./step.ts";

export interface MountOptions {
  /** Flags to set on the mount. A later `rw` takes an earlier `ro` back, as mount(8) does. */
  flags: MountFlag[];
  /** Flags to set on the mount and on all below it: `rro`, `rnosuid` … (mount_setattr(2), AT_RECURSIVE). */
  recursiveFlags: MountFlag[];
  /** `private`, `rslave` … */
  propagation: string | undefined;
  /** `bind` or `rbind` was named. */
  bind: boolean;
  recursiveBind: boolean;
  /** What the filesystem reads: everything else, in order. */
  data: string;
  /** Copy what the rootfs has at the destination into the new tmpfs (`tmpcopyup`). */
  copyUp: boolean;
}

const FLAGS = new Set([
  "ro",
  "nosuid",
  "nodev",
  "noexec",
  "sync",
  "dirsync",
  "mand",
  "noatime",
  "nodiratime",
  "relatime",
  "strictatime",
  "iversion",
  "lazytime",
  "silent",
  "nosymfollow",
]);

/** Options that take a flag back. */
const CLEARS: Readonly<Record<string, string>> = {
  rw: "ro",
  suid: "nosuid",
  dev: "nodev",
  exec: "noexec",
  async: "sync",
  nomand: "mand",
  atime: "noatime",
  diratime: "nodiratime",
  norelatime: "relatime",
  nostrictatime: "strictatime",
  noiversion: "iversion",
  nolazytime: "lazytime",
  loud: "silent",
  symfollow: "nosymfollow",
};

const PROPAGATION = new Set([
  "private",
  "rprivate",
  "shared",
  "rshared",
  "slave",
  "rslave",
  "unbindable",
  "runbindable",
]);

/** Flags that mount_setattr(2) knows, and so those that have a recursive form. */
const RECURSIVE = new Set([
  "ro",
  "nosuid",
  "nodev",
  "noexec",
  "noatime",
  "nodiratime",
  "relatime",
  "strictatime",
  "nosymfollow",
]);

/** Splits the options of one mount. An option that is no flag is data for the filesystem. */
export function parseMountOptions(options: readonly string[]): MountOptions {
  const flags = new Set<string>();
  const recursiveFlags = new Set<string>();
  const data: string[] = [];
  let propagation: string | undefined;
  let bind = false;
  let recursiveBind = false;
  let copyUp = false;
  for (const option of options) {
    const cleared = CLEARS[option];
    const recursive = option.startsWith("r") ? option.slice(1) : "";
    if (option === "bind") bind = true;
    else if (option === "rbind") bind = recursiveBind = true;
    else if (option === "defaults" || option === "remount") continue;
    else if (option === "tmpcopyup") copyUp = true;
    else if (FLAGS.has(option)) flags.add(option);
    else if (cleared !== undefined) flags.delete(cleared);
    else if (PROPAGATION.has(option)) propagation = option;
    else if (RECURSIVE.has(recursive)) recursiveFlags.add(recursive);
    else if (CLEARS[recursive] !== undefined) recursiveFlags.delete(CLEARS[recursive] ?? "");
    else data.push(option);
  }
  return {
    flags: [...flags],
    recursiveFlags: [...recursiveFlags],
    propagation,
    bind,
    recursiveBind,
    data: data.join(","),
    copyUp,
  };
}
