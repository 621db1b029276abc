/**
 * `mounts[].options` of the runtime-spec (config.md, "Linux mount options") and of crun: which of them are flags of the
 * mount, which are propagation, and what is left for the filesystem itself.
 *
 * An option that takes a flag back is more than the absence of that flag: a bind mount begins with the flags of its
 * source, and `rw` makes it writable where the source is not.
 */
import type { MountFlag } from "./step.ts";

export interface MountOptions {
  /** Flags to set on the mount. A later `rw` takes an earlier `ro` back, as mount(8) does. */
  flags: MountFlag[];
  /** Flags to take away from the mount: `ro` for `rw`, `nosuid` for `suid` … */
  clear: MountFlag[];
  /** Flags to set on the mount and on all below it: `rro`, `rnosuid` … (mount_setattr(2), AT_RECURSIVE). */
  recursiveFlags: MountFlag[];
  /** Flags to take away from the mount and from all below it: `rrw`, `rsuid` … */
  recursiveClear: MountFlag[];
  /** `private`, `rslave` …, in order: a mount can be a slave and shared at once. */
  propagation: string[];
  /** `bind` or `rbind` was named. */
  bind: boolean;
  recursiveBind: boolean;
  /** Change the mount that is there, instead of making one. */
  remount: boolean;
  /** What the filesystem reads: everything else, in order. */
  data: string;
  /** Copy what the rootfs has at the destination into the new tmpfs (`tmpcopyup`). */
  copyUp: boolean;
  /** Owners are mapped: of the mount (`idmap`), or also of those below (`ridmap`). */
  idmap: "idmap" | "ridmap" | undefined;
  /** crun: the mapping that follows `idmap=`. */
  idmapText: string | undefined;
  /** crun: a source that is a symbolic link is made anew (`copy-symlink`), or bound itself (`src-nofollow`). */
  copySymlink: boolean;
  srcNofollow: boolean;
  /** crun: a destination that is a symbolic link is mounted on, not followed. */
  destNofollow: boolean;
}

/** Options that stand for themselves. */
const WORDS = [
  "bind",
  "rbind",
  "defaults",
  "remount",
  "tmpcopyup",
  "idmap",
  "ridmap",
  "copy-symlink",
  "src-nofollow",
  "dest-nofollow",
];

/** Flags, and the option that takes each of them back. */
const FLAGS: Readonly<Record<string, string>> = {
  ro: "rw",
  nosuid: "suid",
  nodev: "dev",
  noexec: "exec",
  sync: "async",
  dirsync: "",
  mand: "nomand",
  noatime: "atime",
  nodiratime: "diratime",
  relatime: "norelatime",
  strictatime: "nostrictatime",
  iversion: "noiversion",
  lazytime: "nolazytime",
  silent: "loud",
  nosymfollow: "symfollow",
};

const PROPAGATION = ["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"];

/** Flags that mount_setattr(2) knows, and so those that have a recursive form. */
const RECURSIVE = [
  "ro",
  "nosuid",
  "nodev",
  "noexec",
  "noatime",
  "nodiratime",
  "relatime",
  "strictatime",
  "nosymfollow",
];

type Kind = "word" | "set" | "clear" | "propagation" | "setBelow" | "clearBelow";

/** What each option means. `constructor` is none: a map has no prototype in the way. */
const OPTIONS: ReadonlyMap<string, { kind: Kind; flag: string }> = new Map(
  [
    ...WORDS.map((word) => [word, "word", word] as const),
    ...PROPAGATION.map((mode) => [mode, "propagation", mode] as const),
    ...Object.entries(FLAGS).flatMap(([flag, back]) => [
      [flag, "set", flag] as const,
      ...(back === "" ? [] : [[back, "clear", flag] as const]),
    ]),
    ...RECURSIVE.flatMap((flag) => [
      [`r${flag}`, "setBelow", flag] as const,
      [`r${FLAGS[flag]}`, "clearBelow", flag] as const,
    ]),
  ].map(([option, kind, flag]) => [option, { kind, flag }]),
);

/** The access time modes exclude each other: to the kernel they are one value. mount_setattr(2). */
export const ATIME_MODES: readonly string[] = ["noatime", "relatime", "strictatime"];

/** Every option that is not data for a filesystem: `mountOptions` of features.json. */
export const KNOWN_MOUNT_OPTIONS: readonly string[] = [...OPTIONS.keys()].sort();

/** Splits the options of one mount. An option that is no flag is data for the filesystem. */
export function parseMountOptions(options: readonly string[]): MountOptions {
  const one = new FlagSet();
  const recursive = new FlagSet();
  const data: string[] = [];
  const propagation: string[] = [];
  const seen: string[] = [];
  let idmapText: string | undefined;
  for (const option of options) {
    const known = OPTIONS.get(option);
    if (known === undefined) {
      if (/^r?idmap=/.test(option)) {
        const at = option.indexOf("=");
        seen.push(option.slice(0, at));
        idmapText = option.slice(at + 1);
      } else data.push(option);
      continue;
    }
    const { kind, flag } = known;
    if (kind === "set") one.set(flag);
    else if (kind === "word") seen.push(flag);
    else if (kind === "propagation") propagation.push(flag);
    else if (kind === "clear") one.clear(flag);
    else if (kind === "setBelow") recursive.set(flag);
    else recursive.clear(flag);
  }
  const has = seen.length === 0 ? () => false : (word: string) => seen.includes(word);
  return {
    flags: one.flags,
    clear: one.cleared,
    recursiveFlags: recursive.flags,
    recursiveClear: recursive.cleared,
    propagation,
    bind: has("bind") || has("rbind"),
    recursiveBind: has("rbind"),
    remount: has("remount"),
    data: data.join(","),
    copyUp: has("tmpcopyup"),
    idmap: has("ridmap") ? "ridmap" : has("idmap") ? "idmap" : undefined,
    idmapText,
    copySymlink: has("copy-symlink"),
    srcNofollow: has("src-nofollow"),
    destNofollow: has("dest-nofollow"),
  };
}

/** Flags set and flags taken back, each in the order in which they were named; of the access time modes at most one is set. */
class FlagSet {
  readonly flags: MountFlag[] = [];
  readonly cleared: MountFlag[] = [];

  set(flag: MountFlag): void {
    if (ATIME_MODES.includes(flag)) for (const mode of ATIME_MODES) remove(this.flags, mode);
    if (!this.flags.includes(flag)) this.flags.push(flag);
    remove(this.cleared, flag);
  }

  clear(flag: MountFlag): void {
    remove(this.flags, flag);
    if (!this.cleared.includes(flag)) this.cleared.push(flag);
  }
}

function remove(flags: MountFlag[], flag: MountFlag): void {
  const at = flags.indexOf(flag);
  if (at >= 0) flags.splice(at, 1);
}
