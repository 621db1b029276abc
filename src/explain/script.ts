/**
 * A plan as a script for a POSIX shell, util-linux and coreutils that ends in the same state: the notes' "commands
 * that should be made into a shell script".
 *
 * The script is a parent, which makes the control groups and at last removes them, and one or more stages of the init
 * process, which are written to files so that standard input stays the user's. A new stage begins where a program has to
 * be executed to change the shell itself (`exec unshare --cgroup sh init-2.sh`). See script-functions.ts for how the
 * tools are found after pivot_root, and script-steps.ts for each step.
 */
import type { Plan, Step } from "../plan/step.ts";
import { manOf } from "./knowledge.ts";
import { fieldOf, runsOf } from "./runs.ts";
import { fillBag, shellInBag } from "./script-bag.ts";
import { CALLS, FUNCTIONS, type FunctionName, REAPER } from "./script-functions.ts";
import type { ScriptState } from "./script-state.ts";
import { NAMESPACE_OPTIONS, writeStep } from "./script-steps.ts";
import { comment, hereDocument, oneLine, word } from "./shell.ts";

/** The script; it ends with the command's exit code, and with 125 when the set-up fails. Throws when a value has a NUL. */
export function scriptOf(plan: Plan): string {
  const state = newState(plan);
  for (const [, run] of runsOf(detachLate(cutTiesEarly(plan.steps)), isLike)) {
    const written = run.map((step) => writeStep(step, state));
    const same = new Set(written.map((lines) => lines.join("\n"))).size === 1;
    const lines = same ? (written[0] ?? []) : written.flat();
    const into = run[0].by === "parent" ? state.parent : (state.stages.at(-1) ?? []);
    into.push("", ...runComment(plan.steps.indexOf(run[0]) + 1, run), ...lines);
    if (state.pendingStage !== undefined) nextStage(state);
  }
  fillBag(state);
  return `${[...header(plan), ...parentPart(plan, state), ...stageFiles(state), ...launch(state)].join("\n")}\n`;
}

/**
 * mount(8) moves mounts between places that both are in the namespace: what was taken from the machine must be placed
 * before the old root goes. (tupper itself holds descriptors, and detaches first: `..` at the root leads into the old one.)
 */
function detachLate(steps: readonly Step[]): Step[] {
  const detach = steps.find(({ op }) => op === "detach");
  const last = steps.findLastIndex(({ op }) => ON_MOUNTS.has(op));
  if (detach === undefined || last < steps.indexOf(detach)) return [...steps];
  const rest = steps.filter((step) => step !== detach);
  return [...rest.slice(0, last), detach, ...rest.slice(last)];
}

/** The script works in directories of its own from the first take on: they must not show on the machine. */
function cutTiesEarly(steps: readonly Step[]): Step[] {
  const ties = steps.find(({ op }) => op === "propagation");
  const take = steps.findIndex((step) => (step.op === "takeTree" && !step.ifReachable) || step.op === "takeFilesystem");
  if (ties === undefined || take < 0 || steps.indexOf(ties) < take) return [...steps];
  return [...steps.slice(0, take), ties, ...steps.slice(take).filter((step) => step !== ties)];
}

const ON_MOUNTS: ReadonlySet<Step["op"]> = new Set([
  "mount",
  "placeTree",
  "propagation",
  "setMountFlags",
  "makeNode",
  "makeLink",
  "mask",
  "makeReadonly",
  "openPty",
]);

function newState(plan: Plan): ScriptState {
  const { steps } = plan;
  const joinsMount = steps.some(
    (step) =>
      (step.op === "joinNamespace" && step.type === "mount") ||
      (step.op === "joinProcess" && step.namespaces.includes("mount")),
  );
  return {
    plan,
    parent: [],
    stages: [[]],
    pendingStage: undefined,
    inside: false,
    bagPacked: false,
    startsInside: false,
    needsBag: joinsMount || steps.some((step) => step.op === "pivotRoot"),
    tools: new Set(),
    functions: new Set(),
    directory: "/",
    launch: { namespaces: [], joins: [], signal: undefined, clocks: [], mapIds: undefined, terminal: false },
    hoisted: [],
    slots: new Set(),
    command: {
      limits: [],
      personality: undefined,
      setpriv: new Map(),
      filterFirst: false,
      session: false,
      init: false,
      umaskIsSet: false,
      cwd: "/",
      closeFrom: undefined,
    },
    filter: undefined,
  };
}

/** The shell becomes another one that differs in what `via` changes, and goes on with the next file. */
function nextStage(state: ScriptState): void {
  const via = state.pendingStage ?? [];
  state.pendingStage = undefined;
  const stage = state.stages.at(-1);
  const name = `init-${state.stages.length + 1}.sh`;
  if (state.inside) {
    stage?.push(`exec ${via.join(" ")} ${shellInBag(state)} ./${name}`);
  } else {
    stage?.push(`exec ${via.join(" ")} sh "$work/${name}"`);
  }
  state.stages.push([]);
}

/** Steps that one comment is enough for. */
function isLike(step: Step, before: Step): boolean {
  return step.op === before.op && step.because === before.because && step.by === before.by;
}

function runComment(number: number, run: readonly [Step, ...Step[]]): string[] {
  const [step] = run;
  const numbers = run.length === 1 ? `${number}` : `${number}-${number + run.length - 1}`;
  const field = fieldOf(run);
  const man = [...new Set(run.flatMap(manOf))].join(", ");
  return comment(`${numbers}. ${step.op}: ${step.because}${field === undefined ? "" : ` [${field}]`}. See ${man}.`);
}

function header(plan: Plan): string[] {
  return [
    "#!/bin/sh",
    ...comment(
      `The container "${oneLine(plan.id)}" as a script for sh, util-linux and coreutils, printed by \`tupper script\`.`,
    ),
    ...comment(
      "Run it with the privileges of the user it was printed for. It does in the same order what tupper does; the number before each comment is that of the step in `tupper explain`.",
    ),
    "set -eu",
    ...plan.warnings.flatMap((warning) => comment(`Warning: ${warning}`)),
  ];
}

function parentPart(plan: Plan, state: ScriptState): string[] {
  const parent = plan.cleanup.state?.split("/").slice(0, -2).join("/") || "/tmp";
  const slots = [...state.slots];
  const groups = plan.cleanup.cgroups;
  const closes = plan.steps.some((step) => step.op === "closeDescriptors");
  return [
    "",
    ...FUNCTIONS.die,
    "",
    ...FUNCTIONS.warn,
    "",
    ...slots.flatMap((name, i) => [`${name}=\${${i + 1}:?"usage: sh SCRIPT PID"}`, `export ${name}`, ""]),
    ...(closes ? [...CLOSE_INHERITED, ""] : []),
    ...comment("What new files get until the container's own umask is set; the caller's is restored for it otherwise."),
    "umask_before=$(umask)",
    "umask 022",
    `work=$(mktemp -d ${word(`${parent}/tupper-script.XXXXXX`)})`,
    "state=$work/state bag=$work/bag",
    'mkdir "$state" "$bag"',
    "export umask_before work state bag",
    "",
    ...comment(
      "Whatever happens, nothing is left: the control groups and the directory go when the script ends. Mounts need no care, they vanish with the mount namespace.",
    ),
    ...(state.launch.mapIds === undefined ? [] : ["mapper="]),
    "cleanup() {",
    ...(state.launch.mapIds === undefined ? [] : ['  [ -z "$mapper" ] || kill "$mapper" 2>/dev/null || :']),
    ...groups.map((path) => `  remove_cgroup ${word(path)}`),
    '  rm -rf "$work"',
    "}",
    ...(groups.length === 0
      ? []
      : [
          "# A group is busy for some milliseconds after its last process has ended.",
          "remove_cgroup() {",
          "  tries=0",
          '  while [ -d "$1" ] && ! rmdir "$1" 2>/dev/null; do',
          "    tries=$((tries + 1))",
          '    [ "$tries" -lt 100 ] || { warn "the control group $1 stays: it is busy"; return; }',
          '    while read -r pid; do kill -s KILL "$pid" 2>/dev/null || :; done <"$1/cgroup.procs"',
          "    sleep 0.02",
          "  done",
          "}",
        ]),
    "trap cleanup EXIT",
    "trap 'exit 129' HUP",
    "trap 'exit 130' INT",
    "trap 'exit 143' TERM",
    ...state.parent,
  ];
}

const CLOSE_INHERITED = [
  "# Open descriptors that the caller left to us, as ls(1) inherits them. Some shells, dash for one, can close none",
  "# above 9: those stay open inside the container, and a directory among them would be a way out.",
  "for fd in $(ls /proc/self/fd); do",
  '  if [ "$fd" -gt 2 ] && [ -e "/proc/self/fd/$fd" ]; then',
  '    if (eval "exec $fd>&-") 2>/dev/null; then eval "exec $fd>&-"; else warn "descriptor $fd stays open inside: run this with bash"; fi',
  "  fi",
  "done",
];

function stageFiles(state: ScriptState): string[] {
  const used = new Set<FunctionName>(["die"]);
  const use = (name: FunctionName): void => {
    used.add(name);
    for (const called of CALLS[name] ?? []) use(called);
  };
  for (const name of state.functions) use(name);
  const order = Object.keys(FUNCTIONS) as FunctionName[];
  const functions = order.filter((name) => used.has(name)).flatMap((name) => [...FUNCTIONS[name], ""]);
  const lines = [
    "",
    ...comment("The init process: its functions, then what it does, in files so that standard input stays free."),
  ];
  const preamble = [
    "set -eu",
    "# Only a set-up that failed gets as far as this: the last command replaces the shell.",
    "trap 'exit 125' EXIT",
    "export LC_ALL=C",
    "unset LD_LIBRARY_PATH LD_PRELOAD",
    'tool= # "tool" after pivot_root',
    ...(state.functions.has("mask") ? ["masked= # the first masked directory"] : []),
    "",
  ];
  lines.push(
    ...hereDocument('cat >"$work/functions.sh"', "END_OF_FUNCTIONS", [...preamble, ...functions.slice(0, -1)]),
  );
  for (const [i, stage] of state.stages.entries()) {
    const body = [
      ...(i > 0 && startsInside(state, i) ? [". ./functions.sh", "tool=tool"] : ['. "$work/functions.sh"']),
      ...stage,
    ];
    lines.push("", ...hereDocument(`cat >"$work/init-${i + 1}.sh"`, "END_OF_INIT", body));
  }
  if (state.command.init) lines.push("", ...hereDocument('cat >"$work/reaper.sh"', "END_OF_REAPER", REAPER));
  return lines;
}

const startsInside = (state: ScriptState, stage: number): boolean =>
  state.stages[stage - 1]?.at(-1)?.endsWith(`./init-${stage + 1}.sh`) ?? false;

function launch(state: ScriptState): string[] {
  const { namespaces, joins, signal, clocks, mapIds, terminal } = state.launch;
  const lines = [""];
  if (mapIds !== undefined) lines.push(...mapIds, "");
  const unshare = ["unshare", ...[...new Set(namespaces)].map((type) => NAMESPACE_OPTIONS[type])];
  if (namespaces.includes("mount")) unshare.push("--propagation", "unchanged");
  else if (state.needsBag) unshare.push("--mount");
  if (mapIds !== undefined) unshare.push("--keep-caps");
  unshare.push(...clocks, "--fork", ...(signal === undefined ? [] : [`--kill-child=${signal}`]));
  const parts = [
    ...(signal === undefined ? [] : [`setpriv --pdeathsig ${signal}`]),
    ...(joins.length === 0
      ? []
      : [`nsenter ${joins.map(({ type, file }) => `${NAMESPACE_OPTIONS[type]}=${file}`).join(" ")}`]),
    unshare.join(" "),
    'sh "$work/init-1.sh"',
  ];
  lines.push(
    ...comment(
      "The process that becomes the container, as a child in new namespaces: the caller stays outside, waits, and takes over its exit code. A new PID namespace is for children only, hence --fork.",
    ),
  );
  if (terminal) {
    lines.push(
      ...comment(
        "With a terminal the container gets one of its own from script(1), if the caller has one. It is of the machine's devpts, not the container's.",
      ),
      ...hereDocument('cat >"$work/launch.sh"', "END_OF_LAUNCH", [`exec ${parts.join(" \\\n  ")}`]),
      "status=0",
      "if [ -t 0 ] && [ -t 1 ] && command -v script >/dev/null; then",
      '  SHELL=/bin/sh script -q -e -c ". \\"$work/launch.sh\\"" /dev/null || status=$?',
      "else",
      '  sh "$work/launch.sh" || status=$?',
      "fi",
    );
  } else {
    lines.push("status=0", `${parts.join(" \\\n  ")} || status=$?`);
  }
  lines.push('exit "$status"');
  return lines;
}
