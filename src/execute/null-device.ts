/**
 * The machine's null device as standard input, output or error, which engines give. Root of the container could change its mode
 * through /proc/self/fd, and CRIU finds no file outside of the container's mounts.
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  MOUNT_ATTR_RDONLY,
  O_CLOEXEC,
  O_NOCTTY,
  O_RDWR,
  OPEN_TREE_CLONE,
  RESOLVE_NO_MAGICLINKS,
} from "../sys/constants.ts";
import { packMountAttr, packOpenHow } from "../sys/structs.ts";
import { raw, sys } from "../sys/sys.ts";
import { receive, send } from "./channel.ts";
import { isNullDevice } from "./init/paths.ts";

/** In the init process: it becomes the container's, and where that has none (its root may remove it before an `exec`), one that cannot be changed. */
export function replaceNull(channel: number): void {
  const machines = [0, 1, 2].filter(isNullDevice);
  if (machines.length === 0) return;
  // Past no link of procfs: /proc/self/fd/0 in its place would lead to the machine's again.
  const how = packOpenHow({ flags: O_RDWR | O_CLOEXEC | O_NOCTTY, resolve: RESOLVE_NO_MAGICLINKS });
  let other = raw.openat2(AT_FDCWD, "/dev/null", how);
  if (other < 0 || !isNullDevice(other)) {
    send(channel, { kind: "null" });
    other = receive(channel)?.fds[0] ?? -1;
  }
  if (other >= 0) for (const fd of machines) sys.dup3(other, fd, 0);
}

/**
 * In the parent, where the machine's files are in sight. A device can be written to through a mount that is read-only, but neither
 * mode, owner nor times be changed; and a mount that is nowhere is made writable again by nobody. Without the rights for that
 * (in a user namespace the container's root has none over the machine's device either), and before Linux 5.12, there is none to send.
 */
export function sendNull(channel: number): void {
  const tree = raw.openTree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | O_CLOEXEC);
  const readOnly = packMountAttr({ set: MOUNT_ATTR_RDONLY });
  const isSafe = tree >= 0 && isNullDevice(tree) && raw.mountSetattr(tree, "", AT_EMPTY_PATH, readOnly) >= 0;
  const fd = isSafe ? raw.openat(AT_FDCWD, `/proc/self/fd/${tree}`, O_RDWR | O_CLOEXEC, 0) : -1;
  // Before it is sent: only from then on the mount is nowhere, and no mount_setattr reaches it through the file.
  if (tree >= 0) raw.close(tree);
  raw.sendMessage(channel, JSON.stringify({ kind: "taken" }), fd < 0 ? [] : [fd]);
  if (fd >= 0) raw.close(fd);
}
