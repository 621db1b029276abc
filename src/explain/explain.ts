/**
 * A plan as prose, for people who want to understand what a container is: every step in order, what it does, why it is
 * there, what would break or leak without it, and its man page. Or the same as JSON, one object a step.
 */
import { createColors } from "picocolors";
import type { Plan, Step } from "../plan/step.ts";
import { effectOf, namespaceLines } from "./effects.ts";
import { type Knowledge, knowledgeOf, manOf } from "./knowledge.ts";
import { OPERATIONS } from "./knowledge-operations.ts";
import { fieldOf, type Run, runsOf } from "./runs.ts";
import { oneLine, wrap } from "./shell.ts";
import { summaryOf } from "./summary.ts";

export interface ExplainOptions {
  color: boolean;
  format?: "text" | "json";
}

const WIDTH = 88;

type Colors = ReturnType<typeof createColors>;

/** Text of at most 88 columns where no single value is longer, or a JSON array of {by, op, because, field, effect, without, man}. */
export function explainPlan(plan: Plan, { color, format = "text" }: ExplainOptions): string {
  if (format === "json") return `${JSON.stringify(plan.steps.map(jsonOf), null, 2)}\n`;
  const colors = createColors(color);
  const lines = [...title(`Container ${oneLine(plan.id)}`, colors), "", ...summary(plan, colors)];
  let group = "";
  for (const [first, run] of runsOf(plan.steps, isLike)) {
    const next = groupOf(run[0], plan);
    if (next !== group) lines.push("", ...title(next, colors));
    group = next;
    lines.push("", ...paragraph(first + 1, run, colors));
  }
  return `${lines.join("\n")}\n`;
}

function jsonOf(step: Step): object {
  const { by, op, because, field } = step;
  return {
    by,
    op,
    because,
    field: field ?? null,
    effect: effectOf(step),
    without: knowledgeOf(step).without,
    man: manOf(step),
  };
}

function title(text: string, colors: Colors): string[] {
  return [colors.bold(text), colors.dim("─".repeat(text.length))];
}

function summary(plan: Plan, colors: Colors): string[] {
  return summaryOf(plan).flatMap(({ label, text, alarming }) => {
    const lines = wrap(oneLine(text), WIDTH - 16).map((line) => (alarming ? colors.yellow(line) : line));
    return lines.map((line, i) => `${i === 0 ? colors.bold(label.padEnd(15)) : " ".repeat(15)} ${line}`);
  });
}

const GROUPS = [
  "Before the container exists",
  "Namespaces",
  "Root filesystem",
  "Mounts",
  "Devices",
  "What is hidden",
  "Names and network",
  "Limits",
  "Hooks",
  "Identity and privileges",
  "The command",
] as const;

type Group = (typeof GROUPS)[number];

/** Where a step belongs. Steps stay in order, so a group may come twice. */
function groupOf(step: Step, plan: Plan): Group {
  const at = plan.steps.indexOf(step);
  const pivot = plan.steps.findIndex(({ op }) => op === "pivotRoot" || op === "moveRoot");
  switch (step.op) {
    case "clone":
    case "mapIds":
    case "takeMappedTree":
    case "joinNamespace":
    case "joinProcess":
    case "becomeMappedRoot":
    case "awaitParent":
    case "delegateBelow":
    case "awaitDelegation":
    case "unshare":
    case "timeOffset":
      return "Namespaces";
    case "recordState":
    case "listenForStart":
    case "makeCgroup":
    case "startScope":
    case "attachProcess":
    case "moveProcess":
    case "awaitScope":
    case "vacateCgroup":
    case "inheritCgroupValue":
    case "attachDeviceProgram":
    case "delegateCgroup":
    case "makeResctrlGroup":
      return "Before the container exists";
    case "write":
      if (step.by === "parent") return "Before the container exists";
      return "Names and network";
    case "joinCgroup":
    case "joinResctrl":
    case "setRlimit":
    case "setOomScore":
    case "setScheduler":
    case "setIoPriority":
    case "setCpuAffinity":
    case "setMemoryPolicy":
      return "Limits";
    case "copyMountNamespace":
    case "takeViewBack":
    case "enterTree":
    case "pivotRoot":
    case "moveRoot":
    case "copyTree":
    case "propagation":
    case "bind":
    case "detach":
      return at > pivot && step.op === "propagation" ? "Mounts" : "Root filesystem";
    case "mount":
    case "makeDirectory":
    case "setMountFlags":
      return at < pivot ? "Root filesystem" : "Mounts";
    case "takeTree":
    case "takeIdMappedTree":
    case "takeFilesystem":
    case "placeTree":
    case "placeInside":
      return step.tree.slot.startsWith("device.") ? "Devices" : "Mounts";
    case "unmountInside":
    case "reportPlaced":
      return "Mounts";
    case "makeNode":
    case "makeNodes":
    case "makeLink":
    case "openPty":
      return step.op === "makeLink" && !step.path.startsWith("/dev/") ? "Mounts" : "Devices";
    case "mask":
    case "makeReadonly":
      return "What is hidden";
    case "setHostname":
    case "setDomainname":
    case "setPersonality":
    case "linkUp":
    case "moveNetDevice":
      return "Names and network";
    case "changeDirectory":
      return at <= pivot ? "Root filesystem" : "The command";
    case "runHooks":
    case "awaitHooks":
      return "Hooks";
    case "exec":
    case "findCommand":
    case "reportCreated":
    case "waitForStart":
    case "forkInit":
    case "closeDescriptors":
      return "The command";
    case "setUmask":
      return at < pivot ? "Namespaces" : "The command";
    case "parentDeathSignal":
      return at < pivot ? "Namespaces" : "Identity and privileges";
    case "refuseTracing":
    case "newSession":
    case "newKeyring":
    case "limitBoundingSet":
    case "takeProc":
    case "setLabels":
    case "ownStdio":
    case "setUser":
    case "setCapabilities":
    case "noNewPrivileges":
    case "seccomp":
      return "Identity and privileges";
  }
}

const ALONE: ReadonlySet<Step["op"]> = new Set(["clone", "unshare", "mapIds", "joinProcess"]);

/** Steps told in one paragraph: the same operation for the same reason. */
function isLike(step: Step, before: Step): boolean {
  if (step.op !== before.op || step.because !== before.because || ALONE.has(step.op)) return false;
  return knowledgeOf(step) === knowledgeOf(before) || isCgroup(step);
}

const isCgroup = ({ op }: Step): boolean => op === "makeCgroup" || op === "joinCgroup";

/** A run of groups has a group for each controller: what they have in common is told. */
const runKnowledge = (run: Run): Knowledge =>
  run.length > 1 && isCgroup(run[0]) ? OPERATIONS[run[0].op] : knowledgeOf(run[0]);

/** A run of steps that begins with this number: what it does, why, what it gives, what would be without it, and where to read on. */
export function paragraph(number: number, run: Run, colors: Colors): string[] {
  const [step] = run;
  const last = number + run.length - 1;
  const numbers = run.length === 1 ? `${number}.` : `${number}-${last}.`;
  const knowledge = runKnowledge(run);
  const effects = run.map((each) => oneLine(effectOf(each)));
  const lines = folded(effects).flatMap((effect, i) =>
    wrap(effect, WIDTH - 8).map((line, j) => `${(i === 0 && j === 0 ? numbers : "").padEnd(7)} ${colors.cyan(line)}`),
  );
  const tell = (label: string, text: string, paint: (text: string) => string = String): void => {
    for (const [i, line] of wrap(oneLine(text), WIDTH - 17).entries())
      lines.push(`        ${(i === 0 ? label : "").padEnd(8)} ${paint(line)}`);
  };
  const field = fieldOf(run);
  tell("why", `${step.because}${field === undefined ? "" : ` (${field})`}`);
  if (step.op === "clone" || step.op === "unshare")
    for (const line of namespaceLines(step.namespaces)) tell(line.label, line.text);
  else tell("gives", knowledge.gives);
  tell("without", knowledge.without);
  tell("see", [...new Set(run.flatMap(manOf))].join(", "), colors.dim);
  return lines;
}

/** Many like effects, such as the devices, on few lines: "Make the device /dev/null…, /dev/zero…". */
function folded(effects: readonly string[]): string[] {
  const [first = "", ...others] = effects;
  if (others.length < 3) return [...effects];
  const words = first.split(" ");
  const shared = words.findIndex((part, i) => others.some((other) => other.split(" ")[i] !== part));
  if (shared < 1) return [...effects];
  return [
    `${words.slice(0, shared).join(" ")} ${effects.map((effect) => effect.split(" ").slice(shared).join(" ")).join("; ")}`,
  ];
}
