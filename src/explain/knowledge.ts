/**
 * What there is to know about a step: what it is for, what breaks or leaks without it, and where to read on. Man pages are those of
 * Linux man-pages, util-linux and coreutils.
 */
import type { Step } from "../plan/step.ts";
import type { NamespaceType } from "../spec/config.ts";
import { OPERATIONS } from "./knowledge-operations.ts";
import { CONTROLLERS, FILESYSTEMS, NAMESPACES } from "./knowledge-surroundings.ts";

export interface Knowledge {
  /** What the operation isolates, limits or gives. */
  gives: string;
  /** What would break, or leak, without it. */
  without: string;
  man: readonly string[];
}

/** The knowledge about one step: by its operation, and for mounts and namespaces by their type too. */
export function knowledgeOf(step: Step): Knowledge {
  switch (step.op) {
    case "mount":
      return FILESYSTEMS[step.fstype] ?? OPERATIONS.mount;
    case "joinNamespace":
      return joined(step.type);
    case "joinCgroup":
    case "makeCgroup":
      return CONTROLLERS[step.controller] ?? OPERATIONS[step.op];
    case "write":
      return settingOf(step.path);
    case "changeDirectory":
      return step.field === "process.cwd" ? OPERATIONS.changeDirectory : STAND;
    default:
      return OPERATIONS[step.op];
  }
}

/** Man pages of a step, those of its namespaces included. */
export function manOf(step: Step): string[] {
  const namespaces = step.op === "clone" || step.op === "unshare" ? step.namespaces : [];
  return [...new Set([...knowledgeOf(step).man, ...namespaces.flatMap((type) => NAMESPACES[type].man)])];
}

/** A file of cgroupfs begins with the name of its controller: memory.max, pids.max, cpuset.cpus. */
function settingOf(path: string): Knowledge {
  if (path.startsWith("/proc/sys/")) return SYSCTL;
  return CONTROLLERS[path.slice(path.lastIndexOf("/") + 1).split(".")[0] ?? ""] ?? OPERATIONS.write;
}

function joined(type: NamespaceType): Knowledge {
  const { gives, man } = NAMESPACES[type];
  return {
    gives: `shares with the processes already there: ${gives}`,
    without: `the container would have a ${type} namespace of its own, or the machine's, and could not work with those processes`,
    man: ["setns(2)", ...man],
  };
}

const SYSCTL: Knowledge = {
  gives: "a setting of the kernel that each network, IPC or UTS namespace has for itself",
  without: "a new namespace has the kernel's default",
  man: ["proc(5)", "sysctl(8)"],
};

const STAND: Knowledge = {
  gives: "the directory that relative paths of the next steps start from",
  without: "those paths would mean something else",
  man: ["chdir(2)"],
};
