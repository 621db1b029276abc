/**
 * Each step of a plan as lines of shell. Most write one command where they stand. Some can only be options of a
 * command that comes earlier (what unshare(1) makes) or later (what setpriv(1) sets at the last moment): they note
 * what they want in {@link ScriptState} and say so in a comment.
 */

import type { MountFlag, Op, Step } from "../plan/step.ts";
import type { IdMapping, NamespaceType } from "../spec/config.ts";
import { packBag } from "./script-bag.ts";
import { commandLine } from "./script-command.ts";
import { schedulingWriters } from "./script-scheduling.ts";
import {
  at,
  hoist,
  LATER,
  mount,
  note,
  operands,
  resolve,
  type ScriptState,
  type StepOf,
  tool,
  warn,
} from "./script-state.ts";
import { command, variable, word } from "./shell.ts";

type Writers = { [O in Op]: (step: StepOf<O>, state: ScriptState) => string[] };

/** Of unshare(1) and nsenter(1). */
export const NAMESPACE_OPTIONS = {
  mount: "--mount",
  pid: "--pid",
  network: "--net",
  ipc: "--ipc",
  uts: "--uts",
  user: "--user",
  cgroup: "--cgroup",
  time: "--time",
} as const;

/** The lines for one step, without its comment. May begin a new stage, see `pendingStage`. */
export function writeStep(step: Step, state: ScriptState): string[] {
  const write = writers[step.op] as (step: Step, state: ScriptState) => string[];
  return write(step, state);
}

const EARLIER = note("an option of `unshare` at the end of this script");

const writers: Writers = {
  recordState: () => note("here it is the directory $work, which the trap above removes"),

  makeCgroup: ({ path }) => [`mkdir -p ${word(path)}`],

  startScope: ({ unit }, state) => [
    warn(state, `${unit} of systemd is not made by this script: systemd-run --scope sh SCRIPT runs all of it in one`),
  ],
  attachProcess: () => note("a script makes containers, it does not change them"),
  moveProcess: () => note("the script is in no scope of systemd"),
  awaitScope: () => note("the script is in no scope of systemd"),
  vacateCgroup: ({ path, into }) => [
    `mkdir -p ${word(into)}`,
    `while read -r pid; do echo "$pid" >${word(into)}/cgroup.procs 2>/dev/null || :; done <${word(path)}/cgroup.procs`,
  ],

  inheritCgroupValue({ path }) {
    const above = path.replace(/[^/]+\/([^/]+)$/, "$1");
    return [`[ -n "$(cat ${word(path)})" ] || cat ${word(above)} >${word(path)}`];
  },

  attachDeviceProgram: (_step, state) => [
    warn(
      state,
      "the device rules are an eBPF program on cgroup v2, which no command of util-linux attaches: device access is not limited by this script",
    ),
  ],

  delegateCgroup: ({ path, uid }) => [
    `chown ${uid} ${word(path)}`,
    "for file in $(cat /sys/kernel/cgroup/delegate 2>/dev/null || echo cgroup.procs cgroup.subtree_control cgroup.threads); do",
    `  [ ! -e ${word(path)}/"$file" ] || chown ${uid} ${word(path)}/"$file"`,
    "done",
  ],

  delegateBelow: ({ path }, state) => [
    warn(state, `${path} is not made by this script: the container stays in the group above it`),
  ],

  write({ by, path, value, ...more }) {
    const line = writeLine(path, value);
    if (by !== "parent") return [line];
    if ("ifPossible" in more && more.ifPossible === "refused") return [`${line} 2>/dev/null || :`];
    if ("ifPossible" in more && more.ifPossible === "missing") return [`[ ! -e ${word(path)} ] || ${line}`];
    if (!("otherwise" in more) || more.otherwise === undefined) return [line];
    return [
      `if [ -e ${word(path)} ]; then`,
      `  ${line}`,
      "else",
      `  ${writeLine(more.otherwise.path, more.otherwise.value)}`,
      "fi",
    ];
  },

  clone({ namespaces, cgroup }, state) {
    // A cgroup namespace is rooted where its maker is: the shell must have joined its group first.
    state.launch.namespaces.push(...namespaces.filter((type) => type !== "cgroup"));
    if (cgroup !== undefined) state.stages.at(-1)?.push("", `echo 0 >${word(`${cgroup}/cgroup.procs`)}`);
    if (namespaces.includes("cgroup"))
      state.stages
        .at(-1)
        ?.push(
          "# The root of its cgroup namespace is the group that it is in now.",
          'exec unshare --cgroup sh "$work/init-2.sh"',
        );
    if (namespaces.includes("cgroup")) state.stages.push([]);
    return note("`unshare --fork` at the end of this script");
  },

  listenForStart: () => note("a script does not wait for `start`: its command runs at once"),
  waitForStart: () => note("a script does not wait for `start`: its command runs at once"),
  findCommand: () => note("the shell says so when the command is missing"),
  placeInside: () => note("a script makes containers, it does not change them"),
  unmountInside: () => note("a script makes containers, it does not change them"),
  reportPlaced: () => note("a script makes containers, it does not change them"),
  reportCreated: () => note("a script stays until its command ends"),
  awaitHooks: () => note("hooks are for an engine: this script runs none"),
  runHooks: ({ kind, hooks }, state) => [
    warn(state, `the ${kind} hooks (${hooks.map(({ path }) => path).join(", ")}) are not run by this script`),
  ],
  copyMountNamespace: () => note("only hooks need it: a script builds the view once"),
  takeViewBack: () => note("only hooks need it: a script builds the view once"),
  enterTree: () => note("a script leaves the root that it has built with its mount namespace"),

  takeMappedTree({ source }) {
    return note(
      `mount(8) before util-linux 2.39 cannot map owners: ${source} is bound as it is, its files belong to nobody`,
    );
  },

  takeIdMappedTree: () => note("mount(8) before util-linux 2.39 cannot map owners: this mount is left out, see below"),

  makeNodes: () => note("`tupper run`, which scripts are of, has no devices but the machine's: they are bound below"),

  mapIds(step, state) {
    state.launch.mapIds = mapperOf(step);
    return note("a helper waits for the process just before `unshare`, at the end of this script");
  },

  ...schedulingWriters,

  parentDeathSignal({ signal }, state) {
    const name = signal.replace(/^SIG/, "");
    if (state.launch.signal !== undefined) {
      state.command.setpriv.set("signal", ["--pdeathsig", name]);
      return LATER;
    }
    state.launch.signal = name;
    return note("`unshare --kill-child` at the end of this script");
  },

  joinCgroup: ({ controller, path }) => [
    `echo 0 >${word(`${path}/${controller === "unified" ? "cgroup.procs" : "tasks"}`)}`,
  ],

  joinNamespace: ({ type, path }, state) => join(state, [{ type, file: word(path) }]),

  joinProcess({ process, namespaces }, state) {
    const pid = variable(process.slot);
    state.slots.add(pid);
    return join(
      state,
      namespaces.map((type) => ({ type, file: `"/proc/$${pid}/ns/${NAMESPACE_FILES[type]}"` })),
    );
  },

  refuseTracing: () =>
    note("no command can ask for this: root of the container could trace the set-up until the command runs"),

  becomeMappedRoot(_step, state) {
    const maps = state.plan.steps.find((step) => step.op === "mapIds");
    if (maps === undefined) return note("`nsenter --user` does this");
    const keepGroups = maps.op === "mapIds" && maps.denySetgroups;
    state.pendingStage = command(
      "setpriv",
      "--reuid",
      "0",
      "--regid",
      "0",
      keepGroups ? "--keep-groups" : "--clear-groups",
      "--inh-caps",
      "-all",
      "--ambient-caps",
      "-all",
    ).split(" ");
    // $$ is 1 in a new PID namespace; the machine's /proc, which is still the one in sight, knows the number outside.
    return [
      "read -r pid _ </proc/self/stat",
      'echo "$pid" >"$work/ready"',
      'read -r answer <"$work/mapped"',
      "# Now that uid 0 is mapped, become it. --keep-caps of `unshare` kept the capabilities until here.",
    ];
  },

  awaitDelegation: () => note("the script delegates no control group"),
  awaitParent: () => ["read -r pid _ </proc/self/stat", 'echo "$pid" >"$work/ready"', 'read -r answer <"$work/mapped"'],

  unshare({ namespaces }, state) {
    const early = namespaces.filter((type) => type === "time");
    state.launch.namespaces.push(...early);
    const now = namespaces.filter((type) => type !== "time").map((type) => NAMESPACE_OPTIONS[type]);
    if (now.length === 0) return EARLIER;
    state.pendingStage = ["unshare", ...now];
    if (state.inside) {
      state.tools.add("unshare");
      state.pendingStage = ["$ld", "./unshare", ...now];
    }
    return early.length === 0 ? ["# The shell itself changes, through exec: its process stays the same."] : EARLIER;
  },

  timeOffset({ clock, secs, nanosecs }, state) {
    state.launch.clocks.push(`--${clock}`, String(secs));
    if (nanosecs === 0) return EARLIER;
    return [
      ...EARLIER,
      warn(state, `unshare(1) sets clocks to whole seconds: ${nanosecs} ns of the ${clock} clock are left out`),
    ];
  },

  propagation({ target, mode }, state) {
    const lines = [mount(state, [`--make-${mode}`, at(target, state)])];
    return state.needsBag && !state.bagPacked ? [...lines, ...packBag(state)] : lines;
  },

  mount({ source, target, fstype, flags, data, like }, state) {
    const where = at(target, state);
    const options = word([...flags, ...(data === "" ? [] : [data])].join(","));
    const lines: string[] = [];
    if (fstype === "proc" || fstype === "sysfs")
      lines.push(`[ ! -L ${where} ] || die ${where} ${word("is a symbolic link")}`);
    if (like !== undefined) lines.push(`mode=$(${tool(state, "stat")} -L -c %a ${where} 2>/dev/null) || mode=1777`);
    if (where !== "." && state.inside) lines.push(`[ -e ${where} ] || ${tool(state, "mkdir")} -p ${where}`);
    if (like === "copy") lines.push(`${tool(state, "cp")} -a -x ${where} ./covered`);
    // What comes later counts: a mode among the options goes before that of the directory.
    const mode = like === undefined ? "" : `"mode=$mode",`;
    const given = options === "''" ? mode.slice(0, -1) : `${mode}${options}`;
    lines.push(mount(state, ["-t", word(fstype), ...(given === "" ? [] : ["-o", given]), ...operands(source), where]));
    if (like === "copy") {
      lines.push(`${tool(state, "cp")} -a -x ./covered/. ${where}`);
      lines.push(`${tool(state, "rm")} -r ./covered`);
    }
    return lines;
  },

  takeTree(step, state) {
    if (step.ifReachable) return note("mount(8) takes it below, once the ids are those of the container");
    const isBound = state.plan.steps.some((other) => other.op === "bind" && other.tree?.slot === step.tree.slot);
    if (isBound) return note(`mount(8) takes and places in one: ${step.source} is bound where it belongs below`);
    state.functions.add("take_tree");
    const { source, recursive, tree, propagation } = step;
    const name = variable(tree.slot);
    const lines = [
      `take_tree ${at(source, state)} ${name} ${recursive ? "--rbind" : "--bind"}${propagation === "rprivate" ? " rprivate" : ""}`,
    ];
    if (step.link !== undefined) lines.push(warn(state, `where ${source} is a symbolic link, this script follows it`));
    if (propagation === undefined)
      lines.push(warn(state, `mounts below ${source} do not spread to the machine: this script cut the ties before`));
    const flags = [...step.flags, ...opposites(step.clear)];
    const recursiveFlags = [...step.recursiveFlags, ...opposites(step.recursiveClear)];
    if (flags.length > 0) lines.push(setFlags(state, "this", flags, `"$bag/${name}"`));
    if (recursiveFlags.length > 0) lines.push(setFlags(state, "recursive", recursiveFlags, `"$bag/${name}"`));
    return lines;
  },

  takeFilesystem: ({ fstype }) => note(`mount(8) makes and places in one: ${fstype} is mounted where it belongs below`),

  placeTree({ tree, target }, state) {
    const made = state.plan.steps.find(
      (step) => (step.op === "takeFilesystem" || step.op === "takeIdMappedTree") && step.tree.slot === tree.slot,
    );
    if (made?.op === "takeIdMappedTree")
      return [
        warn(state, `${target} is left out: mount(8) before util-linux 2.39 cannot map the owners of ${made.source}`),
      ];
    if (made?.op === "takeFilesystem") return writers.mount({ ...made, op: "mount", target }, state);
    state.functions.add("place_tree");
    state.tools.add("mkdir").add("mount");
    return [`place_tree ${variable(tree.slot)} ${at(target, state)}`];
  },

  bind: ({ source, target, recursive }, state) => [
    mount(state, [recursive ? "--rbind" : "--bind", at(source, state), at(target, state)]),
  ],

  setMountFlags: ({ target, flags, clear, recursive }, state) => [
    setFlags(state, recursive ? "recursive" : "this", [...flags, ...opposites(clear)], at(target, state)),
  ],

  // -a -x: modes, owners, times, links, devices and extended attributes are kept, other filesystems are not entered.
  copyTree: ({ source, target }, state) => [`cp -a -x ${at(`${source}/.`, state)} ${at(target, state)}`],

  makeDirectory({ path, mode, like }, state) {
    const where = at(path, state);
    const lines = [`${tool(state, "mkdir")} -p -m ${octal(mode)} ${where}`];
    if (like === undefined) return lines;
    const model = at(like.path, state);
    // In a user namespace the owner may be one that it does not map: root of the namespace stays the owner.
    const owner = like.userns ? [] : [`${tool(state, "chown")} --reference=${model} ${where}`];
    return [...lines, ...owner, `${tool(state, "chmod")} --reference=${model} ${where}`];
  },

  makeNode({ path, type, major, minor, mode, uid, gid }, state) {
    const where = at(path, state);
    const numbers = type === "p" ? "" : ` ${major} ${minor}`;
    const parent = path.slice(0, path.lastIndexOf("/"));
    const lines = parent === "/dev" || parent === "" ? [] : [`${tool(state, "mkdir")} -p ${at(parent, state)}`];
    lines.push(`[ -e ${where} ] || ${tool(state, "mknod")} -m ${octal(mode)} ${where} ${type}${numbers}`);
    return uid === 0 && gid === 0 ? lines : [...lines, `${tool(state, "chown")} ${uid}:${gid} ${where}`];
  },

  makeLink({ target, path, replace }, state) {
    const where = at(path, state);
    if (replace) return [`${tool(state, "ln")} -s -f ${[...operands(target), where].join(" ")}`];
    return [`[ -e ${where} ] || [ -L ${where} ] || ${tool(state, "ln")} -s ${[...operands(target), where].join(" ")}`];
  },

  changeDirectory(step, state) {
    state.directory = resolve(state.directory, step.path);
    state.command.cwd = state.directory;
    if (!state.inside) return [`cd ${at(step.path, state)}`];
    const lines =
      step.inside && step.path !== "/"
        ? [`[ -d ${word(step.path)} ] || ${tool(state, "mkdir")} -p ${word(step.path)}`]
        : [];
    return [...lines, ...note("`env -C` of the last command: until then the shell must stay with its tools")];
  },

  pivotRoot({ newRoot }, state) {
    const root = at(resolve(state.directory, newRoot), state);
    state.inside = true;
    state.directory = "/";
    return [
      "# The shell waits in the bag: pivot_root would take it along if it stood in the old root itself.",
      'cd "$bag"',
      `pivot_root ${root} ${root}`,
      "tool=tool",
    ];
  },

  moveRoot: (_step, state) => [
    warn(state, "a root that is moved leaves this script without its tools: it can only change the root by pivot_root"),
  ],

  // "/" is here the mount on top of the new root: the old one. umount(2) follows what is stacked, other calls do not.
  detach: (_step, state) => [`${tool(state, "umount")} -n -i -c -l /`],

  mask({ path }, state) {
    state.functions.add("mask");
    state.tools.add("mount");
    return [`mask ${at(path, state)}`];
  },

  makeReadonly({ path }, state) {
    state.functions.add("make_readonly");
    state.tools.add("mount");
    return [`make_readonly ${at(path, state)}`];
  },

  linkUp: ({ name }, state) =>
    hoist(state, [
      `if command -v ip >/dev/null; then ip link set dev ${word(name)} up; else ifconfig ${word(name)} up; fi`,
    ]),

  setHostname: ({ name }, state) => hoist(state, [`hostname ${operands(name).join(" ")}`]),

  setDomainname: ({ name }, state) => hoist(state, [`domainname ${operands(name).join(" ")}`]),

  openPty({ console }, state) {
    state.launch.terminal = true;
    if (!console || !state.needsBag) return note("script(1) at the end of this script");
    state.functions.add("place_tree");
    state.tools.add("mkdir").add("mount");
    return ["[ ! -e ./console ] || place_tree console /dev/console"];
  },

  newSession({ controllingTerminal }, state) {
    if (controllingTerminal) return note("script(1) did that");
    state.command.session = true;
    return LATER;
  },

  newKeyring: ({ name }, state) =>
    hoist(state, [
      `if command -v keyctl >/dev/null; then keyctl new_session ${word(name)} >/dev/null; else`,
      `  ${warn(state, "keyctl(1) is missing: the container keeps the caller's session keyring")}`,
      "fi",
    ]),

  ownStdio: ({ uid }, state) =>
    hoist(state, [`for fd in 0 1 2; do [ ! -p "/proc/self/fd/$fd" ] || chown ${uid} "/proc/self/fd/$fd"; done`]),

  setUmask(step, state) {
    const isLast = state.plan.steps.findLast(({ op }) => op === "setUmask") === step;
    if (!isLast) return note("here the commands say the modes themselves, and keep the umask 022 for all others");
    state.command.umaskIsSet = true;
    return [`umask ${octal(step.mask)}`];
  },

  limitBoundingSet({ keep }, state) {
    state.command.setpriv.set("bounding", ["--bounding-set", capabilities(keep)]);
    return LATER;
  },

  setUser({ uid, gid, groups }, state) {
    const which =
      groups === undefined
        ? ["--keep-groups"]
        : groups.length === 0
          ? ["--clear-groups"]
          : ["--groups", groups.join(",")];
    state.command.setpriv.set("user", ["--reuid", String(uid), "--regid", String(gid), ...which]);
    return LATER;
  },

  setCapabilities({ sets }, state) {
    state.command.setpriv.set("sets", [
      "--inh-caps",
      capabilities(sets.inheritable ?? []),
      "--ambient-caps",
      capabilities(sets.ambient ?? []),
    ]);
    return [
      ...LATER,
      ...note(
        "effective and permitted follow at execve: for root the bounding set, for others the ambient set; capabilities(7)",
      ),
    ];
  },

  noNewPrivileges(_step, state) {
    state.command.setpriv.set("new privileges", ["--no-new-privs"]);
    return LATER;
  },

  seccomp({ program, listener }, state) {
    state.filter = program;
    state.command.filterFirst = !state.command.setpriv.has("new privileges");
    if (listener === undefined) return LATER;
    return [
      ...LATER,
      ...note(`no shell hands a filter to the agent at ${listener.path}: its calls answer ENOSYS here`),
    ];
  },

  closeDescriptors({ from }, state) {
    state.command.closeFrom = from;
    return LATER;
  },

  forkInit(_step, state) {
    state.command.init = true;
    return LATER;
  },

  exec(step, state) {
    const { command: last } = state;
    const lines: string[] = [];
    // The shell's own descriptors are above 9 and close-on-exec; POSIX sh can name no others.
    if (last.closeFrom !== undefined) {
      const closed = [3, 4, 5, 6, 7, 8, 9].filter((fd) => fd >= (last.closeFrom ?? 0));
      lines.push(`exec ${closed.map((fd) => `${fd}>&-`).join(" ")}`);
    }
    if (!last.umaskIsSet) lines.push('umask "$umask_before"');
    return [...lines, ...commandLine(step, state)];
  },
};

const NAMESPACE_FILES: Readonly<Record<NamespaceType, string>> = {
  mount: "mnt",
  pid: "pid",
  network: "net",
  ipc: "ipc",
  uts: "uts",
  user: "user",
  cgroup: "cgroup",
  time: "time",
};

/** A mount namespace takes the machine's files away, so it is joined by the shell itself, from the bag; all others before. */
function join(state: ScriptState, joins: ScriptState["launch"]["joins"]): string[] {
  state.launch.joins.push(...joins.filter(({ type }) => type !== "mount"));
  const mount = joins.find(({ type }) => type === "mount");
  if (mount === undefined) return note("`nsenter` at the end of this script, before `unshare`");
  const lines = packBag(state);
  state.pendingStage = ["nsenter", `--mount=${mount.file}`, '--wd="$bag"'];
  state.inside = true;
  return joins.length === 1
    ? lines
    : [...note("all but the mount namespace: `nsenter` at the end of this script"), ...lines];
}

const octal = (mode: number): string => `0${mode.toString(8)}`.replace(/^00/, "0");

function writeLine(path: string, value: string): string {
  // echo of some shells reads backslashes and a leading -.
  const plain = /^[A-Za-z0-9:*.,=+/_][A-Za-z0-9:*.,=+/_ -]*$/.test(value);
  return `${plain ? "echo" : "printf '%s'"} ${word(value)} >${word(path)}`;
}

function setFlags(state: ScriptState, which: "this" | "recursive", flags: readonly string[], target: string): string {
  state.functions.add("set_mount_flags");
  if (state.inside) state.tools.add("mount");
  return `set_mount_flags ${which} ${word(flags.join(","))} ${target}`;
}

/** mount(8) takes flags away by options of their own. */
const opposites = (flags: readonly MountFlag[] = []): string[] =>
  flags.map((flag) =>
    flag === "ro" ? "rw" : flag === "relatime" || flag === "strictatime" ? `no${flag}` : flag.slice(2),
  );

function capabilities(names: readonly string[]): string {
  return ["-all", ...names.map((name) => `+${name.replace(/^CAP_/, "").toLowerCase()}`)].join(",");
}

const mapText = (mappings: readonly IdMapping[]): string =>
  mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\\n`).join("");

/** Waits until the init process is in its user namespace, writes its id maps from outside, and lets it go on. */
function mapperOf({ uidMappings, gidMappings, helper, denySetgroups, pid }: StepOf<"mapIds">): string[] {
  const name = variable(pid.slot);
  const write = helper
    ? [
        ...(
          [
            ["newuidmap", uidMappings],
            ["newgidmap", gidMappings],
          ] as const
        ).map(
          ([program, mappings]) =>
            `  ${program} "$${name}" ${mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}`).join(" ")}`,
        ),
      ]
    : [
        ...(denySetgroups ? [`  echo deny >"/proc/$${name}/setgroups"`] : []),
        `  printf '${mapText(uidMappings)}' >"/proc/$${name}/uid_map"`,
        `  printf '${mapText(gidMappings)}' >"/proc/$${name}/gid_map"`,
      ];
  const rootGroup = gidMappings.find(({ containerID }) => containerID === 0)?.hostID ?? 0;
  return [
    "# Writes the id maps of the init process, from outside, once it has said its process id.",
    'mkfifo "$work/ready" "$work/mapped"',
    ...(helper || denySetgroups
      ? []
      : [
          "# The root of the user namespace reads the files of the set-up too.",
          `chgrp -R ${rootGroup} "$work"`,
          'chmod -R g+rX "$work"',
        ]),
    "{",
    `  read -r ${name} <"$work/ready"`,
    ...write,
    '  echo >"$work/mapped"',
    "} &",
    "mapper=$!",
  ];
}
