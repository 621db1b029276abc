/**
 * The bag: the host's tools for the time after pivot_root, see script-functions.ts. What goes into it is known only when
 * all steps are written, so a mark stands for it until then.
 */
import { type ScriptState, warn } from "./script-state.ts";
import { base64, comment, hereDocument } from "./shell.ts";

const BAG_MARK = "# (the bag)";

export function packBag(state: ScriptState): string[] {
  state.bagPacked = true;
  return [BAG_MARK];
}

function bagLines(state: ScriptState): string[] {
  state.functions.add("pack").add("tool");
  const tools = [...state.tools].sort();
  return [
    "",
    ...comment(
      "The bag: tools for the time after pivot_root, when the host's files are out of sight and the container may have none. It is a tmpfs that only this process sees. The shell stands in it when the old root is detached, and the bag with it: from then on it is in no mount table and has no path, but it is still the working directory, and ./setpriv can be executed. The last of the tools, env -C, goes to the container's directory and executes the command; then nothing refers to the bag, and the kernel drops it.",
    ),
    'mount -n -i -t tmpfs -o mode=755 tmpfs "$bag"',
    `pack ${tools.join(" ")}`,
    'ld=; [ ! -e "$bag/ld.so" ] || ld="./ld.so --library-path ."',
    "export ld",
    ...(state.startsInside ? ['cp "$work"/*.sh "$bag"'] : []),
    ...(state.filter === undefined ? [] : filterLines(state.filter, "$bag", state)),
    ...(state.launch.terminal
      ? ["if terminal=$(tty); then", '  : >"$bag/console"', '  mount -n -i --bind "$terminal" "$bag/console"', "fi"]
      : []),
    ...(state.hoisted.length === 0 ? [] : ["", ...comment("What does not depend on the root."), ...state.hoisted]),
  ];
}

/** What the script adds when all steps are written: the bag knows only now what goes into it. */
export function fillBag(state: ScriptState): void {
  for (const stage of state.stages) {
    const at = stage.indexOf(BAG_MARK);
    if (at >= 0) stage.splice(at, 1, ...bagLines(state));
  }
}

/** setpriv loads seccomp filters since util-linux 2.41. */
export function filterLines(program: Uint8Array, directory: string, state: ScriptState): string[] {
  return [
    "filter=",
    "if setpriv --help | grep -q -e --seccomp-filter; then",
    `  filter="--seccomp-filter ${directory === "$bag" ? "./filter.bpf" : `${directory}/filter.bpf`}"`,
    ...hereDocument(`  base64 -d >"${directory}/filter.bpf"`, "END_OF_FILTER", base64(program)),
    "else",
    `  ${warn(state, "this setpriv has no --seccomp-filter (util-linux 2.41): the container runs without the seccomp filter")}`,
    "fi",
    "export filter",
  ];
}

/** A shell that starts in the bag asks for its directory's name, which it has no more, and complains: PWD answers. */
export function shellInBag(state: ScriptState): string {
  state.tools.add("env").add("sh");
  state.startsInside = true;
  return "$ld ./env PWD=/proc/self/cwd $ld ./sh";
}
