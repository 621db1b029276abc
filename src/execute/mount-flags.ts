/** Flags of mounts as the two interfaces want them: MS_* for mount(2), MOUNT_ATTR_* for mount_setattr(2). */
import { ATIME_MODES } from "../plan/mount-options.ts";
import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_DIRSYNC,
  MS_I_VERSION,
  MS_LAZYTIME,
  MS_MANDLOCK,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SILENT,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
} from "../sys/constants.ts";
import { packMountAttr } from "../sys/structs.ts";

const MOUNT_FLAGS: Readonly<Record<string, number>> = {
  ro: MS_RDONLY,
  nosuid: MS_NOSUID,
  nodev: MS_NODEV,
  noexec: MS_NOEXEC,
  sync: MS_SYNCHRONOUS,
  dirsync: MS_DIRSYNC,
  mand: MS_MANDLOCK,
  noatime: MS_NOATIME,
  nodiratime: MS_NODIRATIME,
  relatime: MS_RELATIME,
  strictatime: MS_STRICTATIME,
  iversion: MS_I_VERSION,
  lazytime: MS_LAZYTIME,
  silent: MS_SILENT,
  nosymfollow: MS_NOSYMFOLLOW,
  remount: MS_REMOUNT,
};

const ATTRIBUTES: Readonly<Record<string, number>> = {
  ro: MOUNT_ATTR_RDONLY,
  nosuid: MOUNT_ATTR_NOSUID,
  nodev: MOUNT_ATTR_NODEV,
  noexec: MOUNT_ATTR_NOEXEC,
  noatime: MOUNT_ATTR_NOATIME,
  nodiratime: MOUNT_ATTR_NODIRATIME,
  relatime: 0,
  strictatime: MOUNT_ATTR_STRICTATIME,
  nosymfollow: MOUNT_ATTR_NOSYMFOLLOW,
};

const PROPAGATION: Readonly<Record<string, number>> = {
  private: MS_PRIVATE,
  shared: MS_SHARED,
  slave: MS_SLAVE,
  unbindable: MS_UNBINDABLE,
};

/** For mount(2). */
export const mountFlags = (flags: readonly string[]): number =>
  flags.reduce((bits, flag) => bits | (MOUNT_FLAGS[flag] ?? 0), 0);

/** `rslave` is MS_SLAVE | MS_REC. */
export function propagationFlags(mode: string): number {
  const flag = PROPAGATION[mode];
  return flag ?? (PROPAGATION[mode.slice(1)] ?? 0) | MS_REC;
}

/** For fsmount(2). */
export const mountAttributeBits = (flags: readonly string[]): number =>
  flags.reduce((bits, flag) => bits | (ATTRIBUTES[flag] ?? 0), 0);

export const isAtimeMode = (flag: string): boolean => ATIME_MODES.includes(flag);

/**
 * `atime` takes `noatime` away, and what is left is `relatime`, the kernel's default. `norelatime` and `nostrictatime` say nothing
 * of which other mode is wanted: as under runc and with mount(8) the one that is there stays.
 */
export const changesAtimeMode = (set: readonly string[], clear: readonly string[]): boolean =>
  set.some(isAtimeMode) || clear.includes("noatime");

/**
 * struct mount_attr that sets and clears these flags, and where it is not 0 sets this propagation. The access time modes
 * exclude each other, see {@link changesAtimeMode}: one is set by clearing all.
 */
export function mountAttributes({
  set,
  clear = [],
  propagation = 0,
}: {
  set: readonly string[];
  clear?: readonly string[];
  propagation?: number;
}): ArrayBuffer {
  const cleared =
    mountAttributeBits(clear.filter((flag) => !isAtimeMode(flag))) |
    (changesAtimeMode(set, clear) ? MOUNT_ATTR__ATIME : 0);
  return packMountAttr({ set: mountAttributeBits(set), clear: cleared, propagation });
}
