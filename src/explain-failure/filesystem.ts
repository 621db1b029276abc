/**
 * Why a new filesystem is refused. The kernel answers EINVAL to a wrong option and to a wrong value alike, but fsopen(2) has
 * a log in words: it is asked again for that, option by option, once the mount has failed. fsopen(2), Linux 5.2.
 */
import { raw, type SysError, sys } from "../sys/sys.ts";
import { followPath, inUserNamespace, read, statAt } from "./machine.ts";

export interface Finding {
  /** In the place of what the errno says. */
  why?: string;
  hint?: string | undefined;
  evidence?: string | undefined;
}

interface Wanted {
  source: string;
  fstype: string;
  data: string;
}

const [SET_FLAG, SET_STRING, CREATE] = [0, 1, 6] as const;
const FSOPEN_CLOEXEC = 1;

export function whyFilesystemFails(wanted: Wanted, { code }: SysError): Finding | undefined {
  const { fstype, source } = wanted;
  if (code === "ENODEV")
    return {
      why: `this kernel has no filesystem ${fstype}`,
      hint: `modprobe ${fstype} on the machine, or name one of /proc/filesystems`,
      evidence: read("/proc/filesystems")?.includes(`\t${fstype}\n`)
        ? undefined
        : `${fstype} is not in /proc/filesystems`,
    };
  const needsDisk = new RegExp(`^\t${fstype}$`, "m").test(read("/proc/filesystems") ?? "");
  if (code === "ENOTBLK")
    return {
      why: `the source ${source} is not a block device`,
      hint: "make a loop device of a file (losetup -f --show FILE) and name that",
    };
  if (code === "EPERM" && inUserNamespace() && needsDisk)
    return {
      why: `in a user namespace the kernel lets nobody mount ${fstype}`,
      hint: "mount it on the machine and bind the directory into the container",
    };
  if (needsDisk && source.startsWith("/")) {
    const trouble = followPath(source);
    if (trouble !== undefined)
      return {
        why: `the source ${source} does not exist`,
        hint: "see lsblk for the disks that are there",
        evidence: trouble.why,
      };
  }
  if (fstype === "overlay") {
    const layers = whyLayersFail(wanted.data);
    if (layers !== undefined) return layers;
  }
  return code === "EINVAL" || code === "ENOENT" || code === "ERANGE" ? askAgain(wanted) : undefined;
}

/** overlay: directories that are not there, or lie apart. */
function whyLayersFail(data: string): Finding | undefined {
  const of = (name: string) => new RegExp(`(?:^|,)${name}=([^,]*)`).exec(data)?.[1];
  const [lower, upper, work] = [of("lowerdir"), of("upperdir"), of("workdir")];
  for (const path of [...(lower?.split(/(?<!\\):/) ?? []), upper, work]) {
    const trouble = path === undefined || path === "" ? undefined : followPath(path);
    if (trouble !== undefined)
      return {
        why: `its directory ${path} does not exist`,
        hint: `create it on the host first: mkdir -p ${path}`,
        evidence: trouble.why,
      };
  }
  if (upper === undefined || work === undefined) return undefined;
  const [a, b] = [statAt(upper), statAt(work)];
  if (typeof a === "number" || typeof b === "number" || (a.devMajor === b.devMajor && a.devMinor === b.devMinor))
    return undefined;
  return {
    why: "upperdir and workdir lie on different filesystems",
    hint: "put the work directory beside the upper one, on the same filesystem",
    evidence: `${upper} is on ${a.devMajor}:${a.devMinor}, ${work} on ${b.devMajor}:${b.devMinor}`,
  };
}

function askAgain({ source, fstype, data }: Wanted): Finding | undefined {
  const fs = raw.fsopen(fstype, FSOPEN_CLOEXEC);
  if (fs < 0) return undefined;
  try {
    raw.fsconfig(fs, SET_STRING, "source", source, 0);
    for (const option of data.split(",").filter((text) => text !== "")) {
      const at = option.indexOf("=");
      const result =
        at < 0
          ? raw.fsconfig(fs, SET_FLAG, option, null, 0)
          : raw.fsconfig(fs, SET_STRING, option.slice(0, at), option.slice(at + 1), 0);
      if (result >= 0) continue;
      const said = logOf(fs);
      return {
        why: `${fstype} does not take the option ${option}`,
        hint: /unknown/i.test(said ?? "")
          ? `leave it away: ${fstype}(5) lists the options that there are`
          : `${fstype}(5) says which values it takes, such as size=64m: a number where one belongs`,
        evidence: said,
      };
    }
    const made = raw.fsconfig(fs, CREATE, null, null, 0);
    const said = made < 0 ? logOf(fs) : undefined;
    return said === undefined ? undefined : { hint: `see ${fstype}(5)`, evidence: said };
  } finally {
    raw.close(fs);
  }
}

/** Lines such as `e tmpfs: Bad value for 'size'`. */
function logOf(fs: number): string | undefined {
  const buffer = new ArrayBuffer(1024);
  const lines: string[] = [];
  for (let length = raw.read(fs, buffer); length > 0 && lines.length < 4; length = raw.read(fs, buffer))
    lines.push((sys.decodeText(buffer, 2, length) as string).trim());
  return lines.length === 0 ? undefined : `the kernel's log: ${lines.join("; ")}`;
}
