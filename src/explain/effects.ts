/** What a step does, as a sentence with its actual values. */

import type { Op, Step } from "../plan/step.ts";
import { CAPABILITIES } from "../spec/capabilities.ts";
import type { IdMapping, Int64, NamespaceType } from "../spec/config.ts";
import { NAMESPACES } from "./knowledge-surroundings.ts";

type StepOf<O extends Op> = Extract<Step, { op: O }>;
type Effects = { [O in Op]: (step: StepOf<O>) => string };

export function effectOf(step: Step): string {
  const effect = EFFECTS[step.op] as (step: Step) => string;
  return effect(step);
}

/** One line for each namespace: its flag and what it isolates. */
export function namespaceLines(types: readonly NamespaceType[]): { label: string; text: string }[] {
  return types.map((type) => ({
    label: type,
    text: `${NAMESPACES[type].gives}. Without: ${NAMESPACES[type].without}`,
  }));
}

const EFFECTS: Effects = {
  recordState: ({ path }) => `Make the directory ${path}`,
  makeCgroup: ({ controller, path }) => `Make the control group ${controller}: ${path}`,
  startScope: ({ unit, path }) => `Have systemd make ${unit} of the process: ${path}`,
  attachProcess: ({ unit, below }) => `Have systemd move the process into ${unit}${below}`,
  moveProcess: ({ path }) => `Move the process into ${path}`,
  awaitScope: () => "Wait until the process is in its control groups",
  vacateCgroup: ({ path, into }) => `Move the processes of the control group ${path} to ${into}`,
  inheritCgroupValue: ({ path }) => `Give ${path} the value of the group above it`,
  attachDeviceProgram: ({ path, program }) =>
    `Attach a device filter of ${program.length / 8} eBPF instructions to ${path}`,
  delegateCgroup: ({ path, uid }) => `Give the control group ${path} to uid ${uid}`,
  delegateBelow: ({ path, owner }) =>
    `Move the process into the control group ${path}, with all controllers of those above it${owner === undefined ? "" : `, and give it to uid ${owner.uid}, gid ${owner.gid}`}`,
  write: ({ path, value }) => `Write ${value === "" ? "nothing" : value}${amount(path, value)} to ${path}`,
  clone: ({ namespaces, cgroup }) =>
    `Start a child process in ${namespaces.length === 0 ? "no new namespaces" : `new namespaces: ${flagNames(namespaces)}`}${cgroup === undefined ? "" : `, born in the control group ${cgroup}`}`,
  mapIds: ({ uidMappings, gidMappings, helper }) =>
    `Map uids (${mapText(uidMappings)}) and gids (${mapText(gidMappings)})${helper ? ", by newuidmap and newgidmap" : ""}`,
  takeMappedTree: ({ source }) => `Take ${source} as a tree whose owners are seen through the id map`,
  makeNodes: ({ nodes }) =>
    `Make where the machine's /dev has another or none: ${nodes
      .map(
        ({ asked: { path, type, major, minor, fileMode = 0o666 }, uid, gid }) =>
          `${path} (${type} ${major}:${minor}, mode ${(fileMode & 0o7777).toString(8)}, uid ${uid}, gid ${gid})`,
      )
      .join(", ")}`,
  takeIdMappedTree: (step) =>
    `Take hold of ${step.source}${step.recursive ? " and all that is mounted below" : ""}${changesOf(step)}, with owners ${
      step.userns === undefined
        ? `shown as others: uids ${mapText(step.uidMappings)}; gids ${mapText(step.gidMappings)}`
        : `as the user namespace ${step.userns} maps them`
    }`,
  setCpuAffinity: ({ cpus }) => `Run on ${cpus === "all" ? "all processors" : `the processors ${cpus}`}`,
  makeResctrlGroup: ({ path, whose, schemata, monitor }) =>
    `${whose === "given" ? "Look for" : "Make"} the class of service ${path}${inBrackets(schemata)}${monitor === undefined ? "" : `, and the monitoring group ${monitor}`}`,
  moveNetDevice: ({ device, as }) =>
    `Move the network device ${device} to the container${as === device ? "" : `, where it is ${as}`}, with its addresses, and bring it up`,
  parentDeathSignal: ({ signal }) => `Ask for ${signal} when the parent dies`,
  joinCgroup: ({ controller, path }) => `Join the control group ${controller}: ${path}`,
  joinNamespace: ({ type, path }) => `Join the ${type} namespace behind ${path}`,
  joinProcess: ({ namespaces }) => `Join the namespaces of the container's first process: ${namespaces.join(", ")}`,
  refuseTracing: () => "Refuse to be traced or looked into",
  becomeMappedRoot: ({ otherwise }) =>
    `Wait for the id maps, then become uid 0 and gid 0 in the user namespace${otherwise === undefined ? "" : `, or uid ${otherwise.uid} and gid ${otherwise.gid} where it has no root`}`,
  awaitDelegation: () => "Wait until the process is in the control group that is delegated to it",
  awaitParent: () => "Wait until the parent has done its part",
  unshare: ({ namespaces }) => `Move into new namespaces: ${flagNames(namespaces)}`,
  timeOffset: ({ clock, secs, nanosecs }) =>
    `Shift the ${clock} clock by ${secs} s${nanosecs === 0 ? "" : ` ${nanosecs} ns`}`,
  propagation: ({ target, mode }) => `Make ${target} ${mode}`,
  mount: ({ source, target, fstype, flags, data, like, idMap, label }) =>
    flags.includes("remount")
      ? `Change what is mounted on ${target}${inBrackets([...flags.filter((flag) => flag !== "remount"), data])}`
      : `Mount ${fstype}${source === fstype || source === "" ? "" : ` "${source}"`} on ${target}${inBrackets([...flags, data])}${like === undefined ? "" : like === "copy" ? ", with a copy of what is there" : ", with the mode of what is there"}${idMap === undefined ? "" : ", with owners mapped"}${label === undefined ? "" : `, labelled ${label.text} where the kernel has SELinux`}`,
  takeTree: (step) =>
    `Take hold of ${step.source}${step.recursive ? " and all that is mounted below" : ""}${changesOf(step)}`,
  takeFilesystem: ({ fstype, tree }) => `Make a new ${fstype}, without a place yet (${tree.slot})`,
  placeTree: ({ tree, target }) => `Place it at ${target} (${tree.slot})`,
  placeInside: ({ tree, target }) => `Place it at ${target} of the running container (${tree.slot})`,
  unmountInside: ({ mounts }) => `Unmount ${mounts.map(({ target }) => target).join(", ")} of the running container`,
  reportPlaced: () => "Tell the parent what was placed, and end once it has put that on record",
  bind: ({ source, target, recursive }) =>
    `Bind ${source} to ${target}${recursive ? ", with all that is mounted below" : ""}`,
  setMountFlags: ({ target, flags, clear = [], recursive }) =>
    `Make the mount ${target} ${[...flags, ...clear.map((flag) => `not ${flag}`)].join(", ")}${recursive ? ", and all below it" : ""}`,
  copyTree: ({ source, target }) => `Copy ${source} to ${target}, without crossing into other filesystems`,
  makeDirectory: ({ path, mode, like }) =>
    `Make the directory ${path}${like === undefined ? ` (mode ${mode.toString(8)})` : `, mode and owner as ${like.path}`}`,
  makeNode: ({ path, type, major, minor, mode }) =>
    `Make the device ${path} (${type}${type === "p" ? "" : ` ${major}:${minor}`}, mode ${mode.toString(8)})`,
  makeLink: ({ target, path }) => `Make the link ${path} -> ${target}`,
  changeDirectory: ({ path, inside, mustExist }) =>
    `Go to ${path}${inside && !mustExist ? ", making it if it is missing" : ""}`,
  pivotRoot: () => "Swap the roots: this directory becomes /, the old root lies on top of it for a moment",
  moveRoot: ({ root, there }) =>
    there
      ? "Make what lies on / the root by chroot"
      : `Move ${root} onto /, which hides the old root, and make it the root by chroot`,
  detach: () => "Detach the old root, with everything that is mounted in it",
  mask: ({ path }) => `Hide ${path}`,
  makeReadonly: ({ path }) => `Make read-only ${path}`,
  linkUp: ({ name }) => `Bring the network interface ${name} up`,
  setHostname: ({ name }) => `Set the host name to ${name}`,
  setDomainname: ({ name }) => `Set the NIS domain name to ${name}`,
  openPty: ({ rows, columns }) =>
    `Open a pseudo-terminal${rows === undefined ? "" : ` of ${columns ?? 80} columns and ${rows} rows`}; it becomes stdin, stdout, stderr and /dev/console`,
  newSession: ({ controllingTerminal }) =>
    `Start a new session${controllingTerminal ? ", with the pseudo-terminal as its controlling terminal" : ", without a controlling terminal"}`,
  newKeyring: ({ name, shared, label }) =>
    `${shared ? "Start a new session keyring" : "Join the session keyring"}, ${name}${label === undefined ? "" : `, labelled ${label.selinux} where the kernel has SELinux`}`,
  setRlimit: ({ type, soft, hard }) => `Limit ${type}: soft ${limit(soft)}, hard ${limit(hard)}`,
  setOomScore: ({ score }) => `Set the OOM score to ${score}`,
  setScheduler: ({ policy, nice, priority, flags, runtime, deadline, period }) =>
    `Schedule by ${policy}, ${policy === "SCHED_DEADLINE" ? `${runtime} ns in each ${period} ns, due after ${deadline} ns` : `nice ${nice}, priority ${priority}`}${inBrackets(flags)}`,
  setIoPriority: ({ class: name, priority }) => `Set the I/O priority to ${name} ${priority}`,
  setPersonality: ({ domain }) => `Set the personality to ${domain}`,
  setMemoryPolicy: ({ mode, nodes, flags = [] }) =>
    `Set the memory policy to ${mode}${nodes ? ` on the nodes ${nodes}` : ""}${inBrackets(flags)}`,
  joinResctrl: ({ paths }) => `Join the class of service ${paths.join(" and ")}`,
  takeProc: () => "Take hold of the machine's /proc",
  setLabels: ({ apparmor, selinux }) =>
    `Ask for ${[
      ...(apparmor === undefined ? [] : [`the AppArmor profile ${apparmor}`]),
      ...(selinux === undefined ? [] : [`the SELinux label ${selinux}`]),
    ].join(" and ")} from the next execve on, where the kernel has that`,
  ownStdio: ({ uid }) => `Give standard input, output and error to uid ${uid}, where they are pipes`,
  setUmask: ({ mask }) => `Set the umask to ${mask.toString(8).padStart(3, "0")}`,
  limitBoundingSet: ({ keep }) =>
    `Drop ${droppedCount(keep)} of ${CAPABILITIES.length} capabilities for good; what can be had at most: ${names(keep)}`,
  setUser: ({ uid, gid, groups, otherwise }) =>
    `Become uid ${uid} and gid ${gid}${otherwise === undefined ? "" : ` (or ${otherwise.uid} and ${otherwise.gid}, where there is no root)`}${groups === undefined ? "; supplementary groups stay as they are" : groups.length === 0 ? ", in no other group" : `, and in the groups ${groups.join(", ")}`}`,
  setCapabilities: ({ sets }) => `Set the capabilities: effective ${names(sets.effective ?? [])}${otherSets(sets)}`,
  noNewPrivileges: () => "Give up all new privileges",
  seccomp: ({ program, profile, listener, ignored }) =>
    `Load the seccomp filter ${profile}: ${program.length / 8} instructions${
      listener === undefined ? "" : `; the agent at ${listener.path} decides about some calls`
    }${ignored === undefined ? "" : `; unknown here and left out: ${ignored.join(", ")}`}`,
  closeDescriptors: ({ from }) => `Close all file descriptors from ${from} up`,
  listenForStart: ({ path }) => `Make the socket ${path}, which start will write to`,
  runHooks: ({ hooks }) => `Run ${hooks.map(({ path }) => path).join(", then ")}`,
  copyMountNamespace: () => "Go on in a copy of the mount namespace, and keep the first one for later",
  takeViewBack: () => "Take everything that is mounted below / along to the first mount namespace",
  enterTree: () => "Make what was taken the root by chroot; it is mounted nowhere, so nothing is above it",
  awaitHooks: () => "Wait until the parent has run its hooks",
  findCommand: ({ args }) => `See whether ${args[0] ?? ""} is there and may be executed`,
  reportCreated: () => "Tell the parent that all is made, and go on without it once it has put that on record",
  waitForStart: () => "Sleep until start",
  forkInit: () => "Become a small init, with the command as its child",
  exec: ({ args, env, homeOf }) =>
    `Execute ${args.map(shown).join(" ")} with ${env.length} environment variable${env.length === 1 ? "" : "s"}${homeOf === undefined ? "" : " and HOME"}`,
};

const flagNames = (types: readonly NamespaceType[]): string =>
  types.map((type) => `${type} (${NAMESPACES[type].flag})`).join(", ");

const mapText = (mappings: readonly IdMapping[]): string =>
  mappings
    .map(({ containerID, hostID, size }) =>
      size === 1
        ? `${containerID} is ${hostID}`
        : `${containerID}-${containerID + size - 1} are ${hostID}-${hostID + size - 1}`,
    )
    .join(", ");

const inBrackets = (parts: readonly string[]): string => {
  const text = parts.filter((part) => part !== "").join(", ");
  return text === "" ? "" : ` (${text})`;
};

const limit = (value: Int64): string => (value < 0 ? "unlimited" : String(value));

/** What a taken tree has other than its source. */
const changesOf = ({
  recursive,
  flags,
  clear = [],
  recursiveFlags,
  recursiveClear = [],
}: Pick<StepOf<"takeTree">, "recursive" | "flags" | "clear" | "recursiveFlags" | "recursiveClear">): string =>
  inBrackets([
    ...flags,
    ...clear.map((flag) => `not ${flag}`),
    ...recursiveFlags.map((flag) => (recursive ? `${flag} with all below` : flag)),
    ...recursiveClear.map((flag) => (recursive ? `not ${flag} with all below` : `not ${flag}`)),
  ]);

/** Names without CAP_, for lists. */
export function names(capabilities: readonly string[]): string {
  if (capabilities.length === 0) return "none";
  if (CAPABILITIES.every((name) => capabilities.includes(name))) return "all";
  return capabilities.map((name) => name.replace(/^CAP_/, "")).join(" ");
}

const droppedCount = (keep: readonly string[]): number => CAPABILITIES.filter((name) => !keep.includes(name)).length;

function otherSets({
  effective = [],
  permitted = [],
  inheritable = [],
  ambient = [],
}: StepOf<"setCapabilities">["sets"]): string {
  const same = permitted.length === effective.length && permitted.every((name) => effective.includes(name));
  return `${same ? ", permitted the same" : `; permitted ${names(permitted)}`}; inheritable ${names(inheritable)}; ambient ${names(ambient)}`;
}

const shown = (argument: string): string => (/^[^\s'"]+$/.test(argument) ? argument : JSON.stringify(argument));

/** Sizes in bytes as people count them, where the file holds bytes. */
function amount(path: string, value: string): string {
  return /memory|hugetlb|bytes/.test(path.slice(path.lastIndexOf("/"))) && /^[0-9]{5,}$/.test(value)
    ? ` (${bytes(Number(value))})`
    : "";
}

/** 67108864 is `64 MiB`. */
export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(count > 0 ? Math.floor(Math.log2(count) / 10) : 0, units.length - 1);
  return `${Number((count / 1024 ** power).toFixed(1))} ${units[power] ?? ""}`;
}
