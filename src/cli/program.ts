/**
 * tupper's command line: all commands, and how commander behaves in each of them. It is assembled when the bundle is
 * evaluated, so it is part of the snapshot: at start only the arguments are left to parse.
 */
import { Command, Option } from "commander";
import { completionCommand } from "./completion.ts";
import { configureProgram } from "./configure-program.ts";
import { execCommand } from "./exec.ts";
import { explainCommand } from "./explain.ts";
import { inspectCommand } from "./inspect.ts";
import { killCommand } from "./kill.ts";
import { learnCommand } from "./learn.ts";
import { lessonCommand } from "./lesson.ts";
import { nsCommand } from "./ns.ts";
import { psCommand } from "./ps.ts";
import { runCommand } from "./run.ts";
import { scriptCommand } from "./script.ts";
import { statsCommand } from "./stats.ts";
import { versionText } from "./version.ts";
import { waitCommand } from "./wait.ts";
import { whyCommand } from "./why.ts";

export const program = new Command("tupper")
  .usage("[OPTIONS] COMMAND [ARG…]")
  .description("Runs containers, and says what it does and why. Try: tupper run host sh -c 'hostname; ps; mount; id'")
  .version(versionText("tupper"), "-v, --version", "show the version")
  .helpOption("-h, --help", "show this help")
  .addOption(new Option("--error-format <FORMAT>", "errors for people, or one JSON object").choices(["text", "json"]))
  .enablePositionalOptions()
  .commandsGroup("Containers:")
  .addCommand(runCommand)
  .addCommand(execCommand)
  .addCommand(psCommand)
  .addCommand(killCommand)
  .addCommand(waitCommand)
  .addCommand(inspectCommand)
  .addCommand(statsCommand)
  .commandsGroup("Looking inside:")
  .addCommand(explainCommand)
  .addCommand(whyCommand)
  .addCommand(learnCommand)
  .addCommand(lessonCommand)
  .addCommand(scriptCommand)
  .addCommand(nsCommand)
  .commandsGroup("This program:")
  .addCommand(completionCommand("tupper"))
  .helpCommand("help [COMMAND]", "show the help of a command");

configureProgram(program);
