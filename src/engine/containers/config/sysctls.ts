/** `--sysctl KEY=VALUE`: only settings that belong to one of the container's own namespaces. sysctl(8), proc_sys(5). */
import type { NamespaceType } from "../../../spec/config.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError, parseKeyValue } from "./flag-value.ts";
import type { Namespaces } from "./namespaces.ts";

const IPC_KEYS = new Set([
  "kernel.msgmax",
  "kernel.msgmnb",
  "kernel.msgmni",
  "kernel.sem",
  "kernel.shmall",
  "kernel.shmmax",
  "kernel.shmmni",
  "kernel.shm_rmid_forced",
]);
const FLAGS: Partial<Record<NamespaceType, string>> = { network: "--network", ipc: "--ipc", uts: "--uts" };

export function sysctls({ sysctl }: RunOptions, { modes }: Namespaces): Record<string, string> {
  const result: Record<string, string> = {};
  for (const text of sysctl ?? []) {
    const [name, value] = parseKeyValue("--sysctl", text);
    // sysctl(8) takes both separators; the first one in a name says which it is.
    const key = /^[^.]*\//.test(name) ? swapSeparators(name) : name;
    checkKey(key, text);
    const type = namespaceOf(key, text);
    if (modes[type].kind === "host") {
      throw flagError(
        "SYSCTL_OF_HOST",
        "--sysctl",
        `--sysctl "${text}" would change the machine: the container shares its ${type} namespace`,
        `leave ${FLAGS[type]} host away`,
      );
    }
    result[key] = value;
  }
  return result;
}

const swapSeparators = (name: string): string => name.replace(/[./]/g, (letter) => (letter === "." ? "/" : "."));

function checkKey(key: string, text: string): void {
  if (/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_/-]+)+$/.test(key) && !key.includes("//")) return;
  throw flagError(
    "BAD_SYSCTL",
    "--sysctl",
    `--sysctl "${text}": "${key}" is not the name of a kernel setting`,
    "such as net.ipv4.ip_forward=1",
  );
}

function namespaceOf(key: string, text: string): NamespaceType {
  if (key.startsWith("net.")) return "network";
  if (IPC_KEYS.has(key) || key.startsWith("fs.mqueue.")) return "ipc";
  if (key === "kernel.domainname") return "uts";
  if (key === "kernel.hostname")
    throw flagError(
      "SYSCTL_NOT_ALLOWED",
      "--sysctl",
      `--sysctl "${text}" is what --hostname is for`,
      "--hostname NAME",
    );
  throw flagError(
    "SYSCTL_NOT_NAMESPACED",
    "--sysctl",
    `--sysctl "${text}" would change the machine: no namespace has "${key}" of its own`,
    "a container can have its own net.* (network), kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.* (ipc) and kernel.domainname (uts)",
  );
}
