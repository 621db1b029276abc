/** The plan that `tupper run` with the same words would perform, for `explain run` and `script run`. */
import type { Command } from "commander";
import { configFromOptions } from "../engine/containers/config.ts";
import { gatherRootFacts } from "../engine/containers/root-facts.ts";
import { probeHost } from "../execute/probe.ts";
import { plan } from "../plan/plan.ts";
import type { Plan } from "../plan/step.ts";
import { runOptionsOf } from "./run-flags.ts";

export function planOfRun(root: string, args: string[], command: Command): Plan {
  const options = runOptionsOf(command, args);
  const host = probeHost();
  const { config, warnings } = configFromOptions(options, gatherRootFacts(root, host));
  const made = plan(config, host, { id: options.id });
  return { ...made, warnings: [...warnings, ...made.warnings] };
}
