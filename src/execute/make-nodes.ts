/**
 * Device nodes for a user namespace: its own processes may make none, and on a filesystem of theirs the kernel opens none. So they
 * are made by the machine's root on a tmpfs that is mounted nowhere, and each goes to the init process as a mount of this one file.
 */
import { explainStep } from "../explain-failure/step.ts";
import type { NodeApart, ParentStep, Slot } from "../plan/step.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CLOEXEC, OPEN_TREE_CLONE } from "../sys/constants.ts";
import { parseStatx, STATX_BASIC_STATS, STATX_SIZE } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { attachInCopy, inCopy } from "./change-mounts.ts";
import { EINVAL, ENOSYS, EPERM } from "./init/context.ts";
import { deviceNumber, NODE_FORMATS } from "./init/files.ts";
import { takeFilesystem } from "./trees.ts";

type MakeNodes = Extract<ParentStep, { op: "makeNodes" }>;

/** Hands on the trees of those that were made. Throws a {@link ContainerError} that names the device. */
export function makeNodes(step: MakeNodes, handOn: (slot: Slot, tree: number) => void): void {
  const wanted = step.nodes.filter((node) => !isMachines(node));
  const apart = wanted.length === 0 ? EPERM : makeTmpfs(step);
  if (apart < 0) return;
  try {
    const made: Slot[] = [];
    for (const node of wanted) {
      const name = String(made.length);
      try {
        if (makeNode(apart, name, node)) made.push(node.tree);
      } catch (error) {
        throw explainStep({ ...step, field: node.field }, error);
      }
    }
    takeNodes(apart, made, handOn);
  } finally {
    raw.close(apart);
  }
}

/**
 * What engines copy from the machine's /dev is bound, under its owners there: who has none of its ids gets no more of it than the
 * machine gives to everybody.
 */
function isMachines({ asked }: NodeApart): boolean {
  const buffer = new ArrayBuffer(STATX_SIZE);
  if (raw.statx(AT_FDCWD, asked.path, 0, STATX_BASIC_STATS, buffer) < 0) return false;
  const { mode, uid, gid, rdevMajor, rdevMinor } = parseStatx(buffer);
  return (
    mode === (NODE_FORMATS[asked.type] | modeOf(asked, mode)) &&
    rdevMajor === asked.major &&
    rdevMinor === asked.minor &&
    uid === (asked.uid ?? uid) &&
    gid === (asked.gid ?? gid)
  );
}

const modeOf = ({ fileMode }: NodeApart["asked"], otherwise: number): number => (fileMode ?? otherwise) & 0o7777;

/** Negative where we may make none, or cannot before Linux 5.2. */
function makeTmpfs({ label }: MakeNodes): number {
  try {
    return takeFilesystem("tmpfs", "tmpfs", [], "mode=0755", label);
  } catch (error) {
    if (error instanceof SysError && (error.errno === -EPERM || error.errno === -ENOSYS)) return -error.errno;
    throw error;
  }
}

/** False where we may not: without CAP_MKNOD, or by the device rules of our own control group. */
function makeNode(apart: number, name: string, { asked, uid, gid }: NodeApart): boolean {
  const mode = modeOf(asked, 0o666);
  const dev = deviceNumber(asked.major, asked.minor);
  const made = raw.mknodat(apart, name, NODE_FORMATS[asked.type] | mode, dev);
  if (made === EPERM) return false;
  check(made, "mknodat", asked.path, mode, dev);
  sys.fchownat(apart, name, uid, gid, AT_SYMLINK_NOFOLLOW);
  sys.fchmodat(apart, name, mode);
  return true;
}

/** Of what is mounted nowhere a clone can be taken since Linux 6.15; before, it is mounted where nobody sees it. */
function takeNodes(apart: number, made: readonly Slot[], handOn: (slot: Slot, tree: number) => void): void {
  const take = () => {
    for (const [i, slot] of made.entries()) handOn(slot, sys.openTree(apart, String(i), OPEN_TREE_CLONE | O_CLOEXEC));
  };
  try {
    take();
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== -EINVAL) throw error;
    inCopy(() => {
      attachInCopy(apart);
      take();
    });
  }
}
