/** The last command of a script: the shell becomes the container's command, by a chain of programs that each execute the next. */
import { filterLines, shellInBag } from "./script-bag.ts";
import type { ScriptState, StepOf } from "./script-state.ts";
import { command, word } from "./shell.ts";

/** The last command: session, limits, privileges, environment, working directory, one program executing the next. */
export function commandLine({ args, env }: StepOf<"exec">, state: ScriptState): string[] {
  const { command: last } = state;
  const lines: string[] = [];
  const local = (name: string): string => {
    if (!state.inside) return name;
    state.tools.add(name);
    return `$ld ./${name}`;
  };
  if (args[0]?.includes("=")) lines.push(command("die", "env(1) takes a command with = in its name for a variable"));
  if (state.filter !== undefined && !state.bagPacked) lines.push(...filterLines(state.filter, "$work", state));
  const filter = state.filter === undefined ? "" : " $filter";
  const chain: string[] = [];
  if (last.limits.length > 0) chain.push(`${local("prlimit")} ${last.limits.join(" ")}`);
  if (last.personality !== undefined) chain.push(`${local("setarch")} ${last.personality}`);
  if (last.session && !last.init) chain.push(local("setsid"));
  if (last.filterFirst) chain.push(`${local("setpriv")}${filter} --`);
  const options = [...last.setpriv.values()].flat();
  if (options.length > 0 || filter !== "") {
    chain.push(`${local("setpriv")}${last.filterFirst ? "" : filter} ${options.map(word).join(" ")} --`);
  }
  if (last.init) {
    chain.push(state.inside ? `${shellInBag(state)} ./reaper.sh` : 'sh "$work/reaper.sh"');
    if (last.session) chain.push(local("setsid"));
  }
  // The shell of the reaper ignores these for a command in the background.
  const signals = last.init ? " --default-signal=INT --default-signal=QUIT" : "";
  chain.push(`${local("env")} -i${signals} -C ${word(last.cwd)} --`);
  const variables = env.filter((entry) => entry.indexOf("=") > 0);
  if (variables.length > 0) chain.push(variables.map(word).join(" "));
  chain.push(args.map(word).join(" "));
  lines.push(`exec ${chain.join(" \\\n  ")}`);
  return lines;
}
