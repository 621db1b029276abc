/** What is known while a plan is written as a script: where its lines go, and what later lines must know of earlier steps. */
import type { Op, Plan, Step } from "../plan/step.ts";
import type { NamespaceType } from "../spec/config.ts";
import type { FunctionName } from "./script-functions.ts";
import { command, comment, word } from "./shell.ts";

export type StepOf<O extends Op> = Extract<Step, { op: O }>;

export interface ScriptState {
  plan: Plan;
  parent: string[];
  stages: string[][];
  /** The step just written ends this stage: the shell goes on through this command. */
  pendingStage: string[] | undefined;
  /** After pivot_root: the host's programs are reached through `tool` only. */
  inside: boolean;
  needsBag: boolean;
  bagPacked: boolean;
  /** A shell starts anew inside, from a file in the bag. */
  startsInside: boolean;
  /** Programs that go into the bag. */
  tools: Set<string>;
  functions: Set<FunctionName>;
  /** The plan's working directory; after pivot_root the shell's own is the bag. */
  directory: string;
  launch: {
    namespaces: NamespaceType[];
    /** `file` is a word of the shell. */
    joins: { type: NamespaceType; file: string }[];
    signal: string | undefined;
    clocks: string[];
    /** Lines of the helper that writes the id maps. */
    mapIds: string[] | undefined;
    terminal: boolean;
  };
  hoisted: string[];
  /** Variables that somebody else has to fill: arguments of the script. */
  slots: Set<string>;
  command: {
    limits: string[];
    /** An architecture as setarch(8) names it. */
    personality: string | undefined;
    /** Options of setpriv by subject, so that a later step takes an earlier one's place. */
    setpriv: Map<string, readonly string[]>;
    /** The filter is loaded before the identity changes. */
    filterFirst: boolean;
    session: boolean;
    init: boolean;
    umaskIsSet: boolean;
    cwd: string;
    closeFrom: number | undefined;
  };
  filter: Uint8Array | undefined;
}

/** A remark below the comment of a step. */
export const note = (text: string): string[] => comment(`   (${text})`);

export function resolve(directory: string, path: string): string {
  if (path.startsWith("/")) return path;
  if (path === "." || path === "") return directory;
  return directory === "/" ? `/${path}` : `${directory}/${path}`;
}

/** A path as a word. The container's state directory is one of the script's own. */
export function at(path: string, { plan, inside }: ScriptState): string {
  const { state } = plan.cleanup;
  if (inside || state === undefined || (path !== state && !path.startsWith(`${state}/`))) return word(path);
  return `"$state"${path === state ? "" : word(path.slice(state.length))}`;
}

/** Operands as words, which no leading - turns into an option. */
export function operands(...texts: readonly string[]): string[] {
  return [...(texts.some((text) => text.startsWith("-")) ? ["--"] : []), ...texts.map(word)];
}

/** The command word for a program, here or in the bag. */
export function tool(state: ScriptState, name: string): string {
  if (!state.inside) return name;
  state.tools.add(name);
  state.functions.add("tool");
  return `tool ${name}`;
}

/** -n: no mtab. -i: no mount.FSTYPE helper, which inside would be the container's. */
export function mount(state: ScriptState, args: readonly string[]): string {
  return `${tool(state, "mount")} -n -i ${args.join(" ")}`;
}

export function warn(state: ScriptState, text: string): string {
  state.functions.add("warn");
  return command("warn", text);
}

/** What the last command does. */
export const LATER = note("done by the last command of the init process");

/** Steps that do not depend on the root are done while the host's programs are in sight. */
export function hoist(state: ScriptState, lines: string[]): string[] {
  if (!state.inside) return lines;
  state.hoisted.push(...lines);
  return note("done above, before pivot_root: it does not depend on the root, and the host's program was in sight");
}
