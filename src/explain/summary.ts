/** A container in a few lines: what is its own, what it shares, what it may use and do. Read off its plan. */

import type { Op, Plan, Step } from "../plan/step.ts";
import type { NamespaceType } from "../spec/config.ts";
import { bytes, names } from "./effects.ts";
import { NAMESPACES } from "./knowledge-surroundings.ts";

export interface SummaryLine {
  label: string;
  text: string;
  /** Something that a reader who expects a container would not expect. */
  alarming?: boolean;
}

export function summaryOf(plan: Plan): SummaryLine[] {
  const namespaces = namespacesOf(plan);
  const lines: SummaryLine[] = [{ label: "Command", text: commandOf(plan) }];
  const list = (types: readonly NamespaceType[]): string => types.join(", ");
  lines.push({ label: "Namespaces", text: `new: ${list(namespaces.made) || "none"}` });
  if (namespaces.joined.length > 0) {
    lines.push({
      label: "",
      text: `joined: ${namespaces.joined.map(({ type, path }) => `${type} (${path})`).join(", ")}`,
    });
  }
  for (const type of namespaces.shared) {
    lines.push({ label: "", text: `NOT isolated: ${type}. ${capitalized(NAMESPACES[type].shared)}`, alarming: true });
  }
  lines.push({ label: "Root", text: rootOf(plan) }, ...limitsOf(plan), ...privilegesOf(plan));
  return lines.concat(plan.warnings.map((text) => ({ label: "Warning", text, alarming: true })));
}

const find = <O extends Op>(plan: Plan, op: O): Extract<Step, { op: O }> | undefined =>
  plan.steps.find((step): step is Extract<Step, { op: O }> => step.op === op);

const all = <O extends Op>(plan: Plan, op: O): Extract<Step, { op: O }>[] =>
  plan.steps.filter((step): step is Extract<Step, { op: O }> => step.op === op);

function commandOf(plan: Plan): string {
  const init = find(plan, "forkInit") === undefined ? "as PID 1" : "as the child of tupper-init, which is PID 1";
  const args = find(plan, "exec")?.args ?? [];
  const isFirst = namespacesOf(plan).made.includes("pid");
  return `${args.map((arg) => (/\s/.test(arg) || arg === "" ? JSON.stringify(arg) : arg)).join(" ")}${isFirst ? `, ${init}` : ""}`;
}

function namespacesOf(plan: Plan) {
  const made = [...all(plan, "clone"), ...all(plan, "unshare")].flatMap((step) => step.namespaces);
  const joined = [
    ...all(plan, "joinNamespace"),
    ...all(plan, "joinProcess").flatMap(({ namespaces }) =>
      namespaces.map((type) => ({ type, path: "the container's" })),
    ),
  ];
  const types = Object.keys(NAMESPACES) as NamespaceType[];
  const shared = types.filter((type) => !made.includes(type) && !joined.some((step) => step.type === type));
  return { made, joined, shared };
}

function rootOf(plan: Plan): string {
  const pivot = plan.steps.findIndex(({ op }) => op === "pivotRoot");
  if (pivot < 0) return "that of the joined mount namespace";
  const before = plan.steps.slice(0, pivot);
  const steps = { ...plan, steps: before };
  const readonly = all(plan, "setMountFlags").some(({ target, flags }) => target === "/" && flags.includes("ro"))
    ? ", read-only"
    : "";
  const size = all(steps, "mount")
    .find(({ fstype }) => fstype === "tmpfs")
    ?.data.match(/size=(\d+)$/)?.[1];
  const memory = size === undefined ? "memory" : `memory (at most ${bytes(Number(size))})`;
  const copy = find(steps, "copyTree");
  if (copy !== undefined) return `a copy of ${copy.source} in ${memory}; it vanishes with the container${readonly}`;
  const source = find(steps, "bind")?.source ?? "?";
  if (all(steps, "mount").some(({ fstype }) => fstype === "overlay")) {
    return `an overlay: reads come from ${source}, writes go to ${memory} and vanish with the container${readonly}`;
  }
  return `the directory ${source} itself${readonly === "" ? ": what the container writes stays there" : readonly}`;
}

function limitsOf(plan: Plan): SummaryLine[] {
  const limits = all(plan, "write")
    .filter(({ by, field }) => by === "parent" && field?.startsWith("linux.resources"))
    .filter(({ field }) => !field?.startsWith("linux.resources.devices"))
    .map(({ path, value }) => `${path.slice(path.lastIndexOf("/") + 1)} = ${value}`);
  const processLimits = all(plan, "setRlimit").map(({ type, soft, hard }) => `${type} ${soft}:${hard}`);
  const none =
    find(plan, "makeCgroup") === undefined ? "none, and no control group of its own: usage is not counted" : "none";
  return [
    { label: "Limits", text: limits.join("; ") || none, alarming: limits.length === 0 },
    ...(processLimits.length === 0 ? [] : [{ label: "", text: `for each process: ${processLimits.join("; ")}` }]),
  ];
}

function privilegesOf(plan: Plan): SummaryLine[] {
  const user = find(plan, "setUser");
  const sets = find(plan, "setCapabilities")?.sets;
  const inUserNamespace = namespacesOf(plan).shared.includes("user") ? "" : ", in a user namespace of its own";
  const filter = find(plan, "seccomp");
  const bounding = find(plan, "limitBoundingSet")?.keep;
  const unlimited = sets === undefined || bounding === undefined;
  return [
    { label: "User", text: user === undefined ? "the caller" : `uid ${user.uid}, gid ${user.gid}${inUserNamespace}` },
    {
      label: "Capabilities",
      text: unlimited ? "all of the caller's" : names(user?.uid === 0 ? (sets.effective ?? []) : (sets.ambient ?? [])),
      alarming: unlimited || names(bounding) === "all",
    },
    {
      label: "New privileges",
      text:
        find(plan, "noNewPrivileges") === undefined
          ? "may be gained by set-user-id programs, up to the bounding set"
          : "none",
    },
    {
      label: "Seccomp",
      text:
        filter === undefined
          ? "no filter: every system call is allowed"
          : `${filter.profile}, ${filter.program.length / 8} instructions`,
      alarming: filter === undefined,
    },
  ];
}

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
