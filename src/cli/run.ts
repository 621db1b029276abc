/** `tupper run`: a container in the foreground. */
import { Command } from "commander";
import { byFlag } from "../engine/containers/config/flag-behind.ts";
import { asksForLimits, configFromOptions } from "../engine/containers/config.ts";
import { gatherRootFacts } from "../engine/containers/root-facts.ts";
import { runContainer } from "../engine/containers/run.ts";
import { probeHost } from "../execute/probe.ts";
import { hostForLimits } from "../execute/user-scope.ts";
import { type DiagnosisFormat, diagnosisFormat, runDiagnosed } from "./diagnose.ts";
import { exitsWith } from "./exit-code.ts";
import { addRunOptions, addTraceOption, runOptionsOf, traceOf } from "./run-flags.ts";
import { UsageError } from "./usage-error.ts";

export const runCommand = addTraceOption(addRunOptions(new Command("run")))
  .option("--diagnose", "tell each call that is denied to the command: by which layer, and what would allow it")
  .addOption(diagnosisFormat("how --diagnose tells it; json: one object on the last line of stderr"))
  .summary("run a command in a new container")
  .description(
    "Runs a command in a new container, in the foreground, and cleans up when it ends. The exit code is the command's, " +
      "128 + n when signal n ended it, 127 when it was not found, 126 when it cannot be executed, 125 when tupper failed.",
  )
  .action(
    exitsWith((root: string, args: string[], _options: unknown, command: Command): number => {
      const isDiagnosed = command.getOptionValue("diagnose") === true;
      const format = command.getOptionValue("format") as DiagnosisFormat;
      if (format === "json" && !isDiagnosed) throw formatAlone(command);
      const options = runOptionsOf(command, args);
      const early: string[] = [];
      const probed = probeHost();
      const host = asksForLimits(options) ? hostForLimits(probed, options.id, (text) => early.push(text)) : probed;
      const { config, warnings } = configFromOptions(options, gatherRootFacts(root, host));
      const request = { config, id: options.id, trace: traceOf(command), warnings: [...early, ...warnings], host };
      try {
        return isDiagnosed ? runDiagnosed(request, format) : runContainer(request);
      } catch (error) {
        throw byFlag(error, options, config);
      }
    }),
  );

const formatAlone = (command: Command): UsageError =>
  new UsageError(
    "USAGE",
    "--format says how --diagnose tells what is denied, and --diagnose is not given",
    "add --diagnose; for errors as JSON: tupper --error-format json run …",
    command,
  );
