/** EPERM: the capability that a step needs and the process lacks. capabilities(7). */
import type { Step } from "../plan/step.ts";
import type { Finding } from "./filesystem.ts";
import { effectiveCapabilities, inUserNamespace, ourselves } from "./machine.ts";

const NEEDED: Partial<Record<Step["op"], string>> = {
  makeNode: "MKNOD",
  setRlimit: "SYS_RESOURCE",
  setOomScore: "SYS_RESOURCE",
  setScheduler: "SYS_NICE",
  moveNetDevice: "NET_ADMIN",
  linkUp: "NET_ADMIN",
  setUser: "SETUID",
  limitBoundingSet: "SETPCAP",
  delegateCgroup: "CHOWN",
  delegateBelow: "CHOWN",
  mapIds: "SETUID",
  makeDirectory: "DAC_OVERRIDE",
  makeCgroup: "DAC_OVERRIDE",
  moveRoot: "SYS_CHROOT",
  enterTree: "SYS_CHROOT",
};

const ADMIN: ReadonlySet<Step["op"]> = new Set([
  "attachDeviceProgram",
  "clone",
  "copyMountNamespace",
  "detach",
  "joinNamespace",
  "joinProcess",
  "bind",
  "makeReadonly",
  "mask",
  "mount",
  "pivotRoot",
  "placeInside",
  "placeTree",
  "propagation",
  "setDomainname",
  "setHostname",
  "setMountFlags",
  "takeFilesystem",
  "takeIdMappedTree",
  "takeMappedTree",
  "takeTree",
  "unmountInside",
  "unshare",
  "write",
]);

export function whatIsLacking(step: Step): Finding | undefined {
  const short = NEEDED[step.op] ?? (ADMIN.has(step.op) ? "SYS_ADMIN" : undefined);
  if (short === undefined) return undefined;
  const name = `CAP_${short}`;
  const has = effectiveCapabilities();
  if (has.includes(name)) return undefined;
  return {
    why: `it needs ${name}, which tupper does not have here`,
    hint: inUserNamespace()
      ? `in a user namespace it can be had only for what belongs to that namespace: run tupper outside, as root with ${name}`
      : `run tupper as root with it; a container around it needs --cap-add ${short} or --privileged, or give the new one a user namespace`,
    evidence: `${ourselves()} has ${has.length === 0 ? "no capability" : has.length > 8 ? `${has.length} capabilities, not this one` : has.join(", ")}`,
  };
}
