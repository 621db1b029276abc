/**
 * `tupper explain run …` before, `tupper explain NAME` while a container runs: the plan in words, or as JSON.
 * `tupper explain PID`, or two of anything: what isolates the processes (explain-process.ts).
 *
 * A word of at most seven digits is a process; `container:7` is the container 7.
 */
import { Command } from "commander";
import { loadState } from "../engine/containers/state.ts";
import { containerName, isForeign, isPid, MEANT } from "../engine/processes/find-process.ts";
import { probeHost } from "../execute/probe.ts";
import { explainPlan } from "../explain/explain.ts";
import { plan } from "../plan/plan.ts";
import type { Plan } from "../plan/step.ts";
import { compareProcesses, explainProcess } from "./explain-process.ts";
import { formatOption } from "./flags.ts";
import { planOfRun } from "./plan-of-run.ts";
import { addRunOptions } from "./run-flags.ts";
import { wantsColor, writeOut } from "./terminal.ts";

interface ExplainOptions {
  process?: boolean;
  format: "table" | "json";
}

const explainRun = addRunOptions(new Command("run"))
  .summary("explain what `tupper run` with the same words would do")
  .description("Explains each step that `tupper run` with the same words would take, and does nothing.")
  .addOption(formatOption())
  .action((root: string, args: string[], options: ExplainOptions, command: Command) => {
    // `explain --format json run …` means the same as `explain run --format json …`.
    const own = command.getOptionValueSource("format") === "cli";
    const { format } = own ? options : (command.parent?.opts<ExplainOptions>() ?? options);
    show(planOfRun(root, args, command), format);
  });

export const explainCommand = new Command("explain")
  .enablePositionalOptions()
  .usage("NAME | PID | A B | run [OPTIONS] ROOT [COMMAND [ARG…]]")
  .summary("say how a container is made, or what isolates a process")
  .description(
    "Explains how a running container was made: each step, what asks for it, what it isolates. With the number of any process, made by " +
      "whatever program, or with --process: what isolates it and what does not. With two: how they differ.",
  )
  .argument(
    "<NAME>",
    "a running container of tupper, a process number, or 12 digits or more of an ID of docker or podman",
  )
  .argument("[OTHER]", "another one, to compare with")
  .option("--process", "of a container: what isolates its process, as for a number")
  .addOption(formatOption())
  .helpCommand(false)
  .addCommand(explainRun)
  .action((word: string, other: string | undefined, { format, process }: ExplainOptions) => {
    if (other !== undefined) compareProcesses(word, other, format);
    else if (process || isPid(word) || isForeign(containerName(word))) explainProcess(word, format);
    else show(plan(loadState(containerName(word), MEANT).config, probeHost(), { id: containerName(word) }), format);
  });

function show(made: Plan, format: ExplainOptions["format"]): void {
  const color = format === "table" && wantsColor(1);
  writeOut(withLineFeed(explainPlan(made, { color, format: format === "json" ? "json" : "text" })));
}

const withLineFeed = (text: string): string => (text.endsWith("\n") ? text : `${text}\n`);
