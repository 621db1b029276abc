/**
 * Sources of bind mounts that the root of a user namespace may not reach: below a directory of somebody else with mode 0700,
 * say, or may not take. Who started the container may, and named the source; so the parent takes the tree. So it does where the owners in it, or in
 * a new filesystem, are to be mapped, which only root of the machine may.
 */
import { isMounted, ST_NODEV, ST_NOEXEC, ST_NOSUID, ST_RDONLY } from "../explain-failure/machine.ts";
import type { IdMap, TakenTree } from "../plan/step.ts";
import {
  AT_FDCWD,
  CLONE_NEWNS,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  PR_SET_PDEATHSIG,
  SIGNALS,
} from "../sys/constants.ts";
import { check, raw, sys } from "../sys/sys.ts";
import { type Message, openChannel, packError, receive, send, unpackError } from "./channel.ts";
import { whileMortal } from "./give-up.ts";
import { FOREIGN, mapOwners, openIdMap, takeFilesystem, takeTree } from "./trees.ts";
import { reap } from "./wait.ts";

export type TreeRequest = Omit<TakenTree, "tree"> | NewFilesystem;

interface NewFilesystem {
  source: string;
  fstype: string;
  flags: string[];
  data: string;
  idMap: IdMap;
}

type Answer = Extract<Message, { kind: "taken" | "error" }>;

/** In the init process: the tree that the parent has taken. Throws what the kernel said to the parent. */
export function takeTreeByParent(channel: number, request: TreeRequest): number {
  send(channel, { kind: "take", request });
  const { message, fds } = receive(channel) ?? {};
  if (message?.kind === "taken") return fds?.[0] ?? -1;
  if (message?.kind !== "error") throw new Error("the parent went away while it took a tree");
  const error = unpackError(message.error);
  throw error.cause ?? error;
}

/**
 * In the parent: sends the answer. A process in between goes into the init process's mount namespace, with the parent's rights
 * over files. Mounts that are cloned there keep the flags that the machine locked; a clone of the parent's own mounts would
 * let the container take them away. mount_namespaces(7), "Restrictions on mount namespaces".
 */
export function takeTreeForInit(channel: number, pid: number, request: TreeRequest): void {
  const [ourEnd, theirEnd] = openChannel();
  const between = check(
    raw.spawn(0, 0, theirEnd, -1, () => {
      raw.prctl(PR_SET_PDEATHSIG, SIGNALS.KILL ?? 9, 0, 0, 0);
      try {
        const { idMap } = request;
        const namespace = idMap === undefined ? -1 : openIdMap(idMap);
        const tree = "fstype" in request ? makeFilesystem(request) : takeFrom(pid, request);
        if (idMap !== undefined) mapOwners(tree, namespace, request, idMap.all);
        send(theirEnd, { kind: "taken" }, [tree]);
      } catch (error) {
        raw.sendMessage(theirEnd, JSON.stringify(packError(error)), []);
      }
      raw.exitGroup(0);
    }),
    "clone3",
  );
  const { message, fds = [] } = whileMortal(() => receive(ourEnd)) ?? {};
  raw.close(ourEnd);
  reap(between);
  const died = () => packError(new Error("the process that takes a tree died")) as Answer;
  send(channel, (message as Answer | undefined) ?? died(), fds);
  for (const fd of fds) raw.close(fd);
}

/** In the machine's view: its source is a device or a directory of the machine. */
const makeFilesystem = ({ source, fstype, flags, data }: NewFilesystem): number =>
  takeFilesystem(source, fstype, flags, data);

/** Outside, if nothing about the mount is to stay locked: there the kernel keeps neither what is below it nor its access times. */
function takeFrom(pid: number, request: Omit<TakenTree, "tree">): number {
  const { source, link, outside } = request;
  // What was looked at is what is taken, whatever somebody makes of the path meanwhile.
  const how = O_PATH | O_CLOEXEC | (link === "bound" ? O_NOFOLLOW : 0);
  const found = outside && !FOREIGN.test(source) ? raw.openat(AT_FDCWD, source, how, 0) : -1;
  if (found >= 0 && isFree(`/proc/self/fd/${found}`)) return takeTree(request, found);
  goToMountsOf(pid);
  return takeTree(request);
}

function isFree(path: string): boolean {
  // The kernel sets ST_VALID wherever it tells flags: who gets no answer stays inside.
  const ST_VALID = 0x20;
  return isMounted(path, ST_VALID) && !isMounted(path, ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC);
}

/** setns(2) leaves one at the root of the namespace; a relative source is below the directory that the init process is in. */
function goToMountsOf(pid: number): void {
  const directory = sys.readlinkText(AT_FDCWD, `/proc/${pid}/cwd`);
  sys.setns(sys.openat(AT_FDCWD, `/proc/${pid}/ns/mnt`, O_RDONLY | O_CLOEXEC, 0), CLONE_NEWNS);
  sys.chdir(directory);
}
