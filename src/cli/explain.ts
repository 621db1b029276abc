/** `tupper explain run …` before, `tupper explain NAME` while a container runs: the plan in words, or as JSON. */
import { Command } from "commander";
import { loadState } from "../engine/containers/state.ts";
import { probeHost } from "../execute/probe.ts";
import { explainPlan } from "../explain/explain.ts";
import { plan } from "../plan/plan.ts";
import type { Plan } from "../plan/step.ts";
import { formatOption } from "./flags.ts";
import { planOfRun } from "./plan-of-run.ts";
import { addRunOptions } from "./run-flags.ts";
import { wantsColor, writeOut } from "./terminal.ts";

interface ExplainOptions {
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
  .usage("NAME | run [OPTIONS] ROOT [COMMAND [ARG…]]")
  .summary("say how a container is made, step by step, and why")
  .description("Explains how a running container was made: each step, what asks for it, what it isolates.")
  .argument("<NAME>", "a running container")
  .addOption(formatOption())
  .helpCommand(false)
  .addCommand(explainRun)
  .action((id: string, { format }: ExplainOptions) => show(plan(loadState(id).config, probeHost(), { id }), format));

function show(made: Plan, format: ExplainOptions["format"]): void {
  const color = format === "table" && wantsColor(1);
  writeOut(withLineFeed(explainPlan(made, { color, format: format === "json" ? "json" : "text" })));
}

const withLineFeed = (text: string): string => (text.endsWith("\n") ? text : `${text}\n`);
