/** The OCI runtime command line that containerd, Docker, Podman and CRI-O call. It is assembled in the build, as tupper's is. */
import { Command, CommanderError, Option } from "commander";
import { completionCommand } from "../completion.ts";
import { configureProgram } from "../configure-program.ts";
import { writeOut } from "../terminal.ts";
import { pathOf } from "../usage-error.ts";
import { versionText } from "../version.ts";
import { checkpointCommand } from "./checkpoint.ts";
import { createCommand } from "./create.ts";
import { deleteCommand } from "./delete.ts";
import { eventsCommand } from "./events.ts";
import { execCommand } from "./exec.ts";
import { featuresCommand } from "./features.ts";
import { addGlobalOptions } from "./global-options.ts";
import { infoCommand } from "./info.ts";
import { killCommand } from "./kill.ts";
import { listCommand } from "./list.ts";
import { mountsCommand } from "./mounts.ts";
import { pauseCommand } from "./pause.ts";
import { processesCommand } from "./ps.ts";
import { restoreCommand } from "./restore.ts";
import { resumeCommand } from "./resume.ts";
import { runCommand } from "./run.ts";
import { specCommand } from "./spec.ts";
import { startCommand } from "./start.ts";
import { stateCommand } from "./state.ts";
import { updateCommand } from "./update.ts";

export const runtimeProgram = addGlobalOptions(new Command("tupper-runtime"))
  .usage("[OPTIONS] COMMAND [ARG…]")
  .description("Runs containers from OCI bundles, for engines and for people.")
  .version(versionText("tupper-runtime"), "-v, --version", "show the version")
  .helpOption("-h, --help", "show this help")
  .enablePositionalOptions()
  .commandsGroup("Containers:")
  .addCommand(createCommand)
  .addCommand(startCommand)
  .addCommand(stateCommand)
  .addCommand(killCommand)
  .addCommand(deleteCommand)
  .addCommand(runCommand)
  .addCommand(execCommand)
  .addCommand(listCommand)
  .addCommand(processesCommand)
  .addCommand(pauseCommand)
  .addCommand(resumeCommand)
  .addCommand(updateCommand)
  .addCommand(eventsCommand)
  .addCommand(mountsCommand)
  .addCommand(checkpointCommand)
  .addCommand(restoreCommand)
  .commandsGroup("This program:")
  .addCommand(specCommand)
  .addCommand(featuresCommand)
  .addCommand(infoCommand)
  .addCommand(completionCommand("tupper-runtime"))
  .helpCommand("help [COMMAND]", "show the help of a command");

configureProgram(runtimeProgram);
readAsGo(runtimeProgram);

/** How runc's command line is read, by Go: see findOption. */
function readAsGo(command: Command): void {
  Object.assign(command, { _findOption: findOption });
  command.commands.forEach(readAsGo);
}

/** What commander's types leave out. */
interface Emitter {
  emit(event: string, value?: string): boolean;
}

/** An option that nobody waits for. */
const DONE = new Option("--done");

/**
 * `-no-subreaper` is `--no-subreaper`: so containerd and Docker restore. A whole name goes before short flags put together. `-root=/x` is
 * `--root /x`, `-b=/x` is `-b /x`, and `--tty=false` nothing: such a word has done what it does by the time that this returns.
 * crun, which leaves that to argp(3), has `-V`, `-?`, `--usage` and `-tfalse`.
 */
function findOption(this: Command & Emitter, word: string): Option | undefined {
  if (word === "-V") return findOption.call(this, "-v");
  if (word === "-?") this.help();
  if (word === "--usage") {
    writeOut(`Usage: ${pathOf(this)} ${this.usage()}\n`);
    throw new CommanderError(0, "commander.help", "(usage)");
  }
  if (this.name() === "exec" && /^(-t=?|--tty=)(false|no)$/.test(word)) return DONE;
  const find = (name: string) => this.options.find(({ short, long }) => short === name || long === name);
  const whole = find(word) ?? (/^-[^-]./.test(word) ? find(`-${word}`) : undefined);
  if (whole !== undefined) return whole;
  const [, name, value = ""] = /^--?([^-=][^=]*)=(.*)$/s.exec(word) ?? [];
  const option = find(name?.length === 1 ? `-${name}` : `--${name}`);
  if (option === undefined) return undefined;
  if (option.required || option.optional) this.emit(`option:${option.name()}`, value);
  else if (/^(1|t|true)$/i.test(value)) this.emit(`option:${option.name()}`);
  else if (!/^(0|f|false)$/i.test(value)) return undefined;
  return DONE;
}
