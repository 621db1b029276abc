/**
 * `linux.sysctl`: which settings belong to a namespace of the container. All others are the machine's and are refused,
 * as by runc and crun. namespaces(7), sysctl(8).
 */
import { clash, type Problem, within, wrong } from "./check.ts";
import type { Linux, NamespaceType } from "./config.ts";

const IPC = new Set([
  "kernel.msgmax",
  "kernel.msgmnb",
  "kernel.msgmni",
  "kernel.sem",
  "kernel.shmall",
  "kernel.shmmax",
  "kernel.shmmni",
  "kernel.shm_rmid_forced",
]);

/** Checks the names, and writes those with slashes (`net/ipv4/ip_forward`) with dots, as the plan wants them. */
export function checkSysctls(linux: Linux): Problem | undefined {
  const { sysctl, namespaces = [] } = linux;
  if (sysctl === undefined) return undefined;
  const has = (type: NamespaceType) => namespaces.some((namespace) => namespace.type === type);
  for (const key in sysctl) {
    const name = withDots(key);
    const problem = checkName(name, sysctl[key], has);
    if (problem !== undefined) return within("sysctl", within(key, problem));
    if (name !== key) {
      const value = sysctl[key];
      delete sysctl[key];
      if (value !== undefined) sysctl[name] = value;
    }
  }
  return undefined;
}

function checkName(
  name: string,
  value: string | undefined,
  has: (type: NamespaceType) => boolean,
): Problem | undefined {
  // A slash stands for a dot within a component: `net.//.kernel` would be net/../kernel, out of /proc/sys/net.
  const components = name.split(".").map((component) => component.replaceAll("/", "."));
  if (components.some((component) => component === "" || component === "." || component === ".."))
    return wrong(value, "a setting with a name such as net.ipv4.ip_forward");
  const owner = ownerOf(name);
  if (owner === undefined) return clash("", value, "this setting is the machine's, and belongs to no namespace", HINT);
  if (name === "kernel.hostname") return clash("", value, "the field hostname sets the host name");
  if (!has(owner))
    return clash("", value, `without ${article(owner)} namespace in linux.namespaces this is the machine's`);
  return undefined;
}

const HINT =
  "a container can have kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*, net.*, user.* and kernel.domainname";

function ownerOf(name: string): NamespaceType | undefined {
  if (IPC.has(name) || name.startsWith("fs.mqueue.")) return "ipc";
  if (name.startsWith("net.")) return "network";
  if (name.startsWith("user.")) return "user";
  if (name === "kernel.domainname" || name === "kernel.hostname") return "uts";
  return undefined;
}

const article = (type: NamespaceType): string => (type === "ipc" ? "an ipc" : `a ${type}`);

/** sysctl(8): where the first separator is a slash, slashes separate and dots stand for themselves. */
function withDots(key: string): string {
  const slash = key.indexOf("/");
  const dot = key.indexOf(".");
  if (slash < 0 || (dot >= 0 && dot < slash)) return key;
  return [...key].map((letter) => (letter === "/" ? "." : letter === "." ? "/" : letter)).join("");
}
