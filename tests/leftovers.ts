/** Everything on the machine that a container could leave behind, as a set of words that can be compared. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** `homes`: directories of users whose state lies there and not in /run. */
export function snapshot(homes: readonly string[] = []): Set<string> {
  return new Set([
    ...mounts(),
    ...controlGroups(),
    ...state(homes),
    ...processes(),
    ...names("/sys/class/net").map((name) => `network device ${name}`),
    // One that nothing is in lives only by a mount, which is looked for above, or by such a file.
    ...names("/run/netns").map((name) => `network namespace /run/netns/${name}`),
    ...names("/dev/pts").map((name) => `pty /dev/pts/${name}`),
  ]);
}

const names = (directory: string): string[] => {
  try {
    return readdirSync(directory);
  } catch {
    return []; // not there, or gone meanwhile
  }
};

const text = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

const link = (path: string): string => {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
};

/** proc_pid_mountinfo(5), without the first fields, which are numbers of this moment. */
function mounts(): string[] {
  return text("/proc/self/mountinfo")
    .split("\n")
    .map((line) => `mount ${line.split(" ").slice(2).join(" ")}`);
}

/** Names of control groups: what `tupper` and the tests call theirs, and the IDs of bundle.ts. */
const OURS = /^(tupper|rt-\d+-\d+$)/;

function controlGroups(): string[] {
  const found: string[] = [];
  const walk = (directory: string): void => {
    for (const entry of entries(directory)) {
      const path = join(directory, entry);
      if (OURS.test(entry)) found.push(`control group ${path}`);
      else walk(path);
    }
  };
  const entries = (directory: string): string[] => {
    try {
      return readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name);
    } catch {
      return [];
    }
  };
  walk("/sys/fs/cgroup");
  return found;
}

function state(homes: readonly string[]): string[] {
  const own = process.env.XDG_RUNTIME_DIR;
  const ofUsersHere = (process.getuid?.() === 0 || own === undefined ? homes : [...homes, own]).flatMap((home) => [
    join(home, "tupper"),
    join(home, "tupper-runtime"),
  ]);
  const roots = ["/run/tupper", "/run/tupper-runtime", ...ofUsersHere];
  const ofUsers = names("/tmp").filter((name) => /^tupper-(runtime-)?\d+$/.test(name));
  return [...roots, ...ofUsers.map((name) => join("/tmp", name))].flatMap((root) =>
    // How containers ended stays on record for tupper wait.
    names(root).flatMap((name) => (name.startsWith(".ended-") ? [] : [`state ${root}/${name}`])),
  );
}

/** Those that run tupper or live in namespaces that are not ours. */
function processes(): string[] {
  const own = ["mnt", "pid", "net", "uts"].map((type) => link(`/proc/self/ns/${type}`));
  return names("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    const stat = text(`/proc/${pid}/stat`);
    if (stat === "") return [];
    const [state = "", parent = "", ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const namespaces = ["mnt", "pid", "net", "uts"].map((type) => link(`/proc/${pid}/ns/${type}`));
    const isElsewhere = namespaces.some((inode, i) => inode !== "" && inode !== own[i]);
    const isTupper = /\/tupper[^/]*( \(deleted\))?$/.test(link(`/proc/${pid}/exe`));
    // A zombie is what its parent makes of it: those that process 1 has inherited it will reap in its own time.
    const isWanted = state === "Z" ? Number(parent) === process.pid : isElsewhere || isTupper;
    if (!isWanted) return [];
    return [`process ${pid} started at ${fields[17]}: ${text(`/proc/${pid}/cmdline`).replaceAll("\0", " ")}`];
  });
}
