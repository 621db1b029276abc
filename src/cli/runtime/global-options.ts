/** The flags that stand before the command, and what a command makes of them. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { absolute } from "../../runtime/bundle.ts";
import { runtimeRoot } from "../../runtime/container.ts";
import type { CgroupManager } from "../../runtime/launch.ts";
import { debugTo, type LogOptions, logDestination, warnTo } from "./log.ts";

export interface GlobalOptions extends LogOptions {
  root?: string;
  systemdCgroup?: boolean;
  cgroupManager?: CgroupManager;
  criu?: string;
}

export function addGlobalOptions(program: Command): Command {
  return program
    .option(
      "-r, --root <DIRECTORY>",
      "where containers are on record; default /run/tupper-runtime, of users $XDG_RUNTIME_DIR/tupper-runtime",
    )
    .option(
      "-l, --log <FILE>",
      "where errors and warnings go, beside stderr; opened for the first of them. Or syslog:NAME, journald:NAME",
      logDestination,
    )
    .addOption(new Option("--log-format <FORMAT>", "of the log file").choices(["text", "json"]).default("text"))
    .addOption(
      new Option("--log-level <LEVEL>", "debug: as --debug; errors and warnings are always logged").choices([
        "error",
        "warning",
        "debug",
      ]),
    )
    .option("--debug", "log each step too: to the log file, else to stderr")
    .option("-s, --systemd-cgroup", "control groups by systemd")
    .addOption(
      new Option("--cgroup-manager <MANAGER>", "who makes control groups").choices(["cgroupfs", "systemd", "disabled"]),
    )
    .addOption(new Option("--rootless <MODE>", "accepted: the kernel says who the caller is").argParser(boolOrAuto))
    .option("--criu <PATH>", "the program that checkpoint and restore call; default criu of the usual directories");
}

/** As Go reads it. */
function boolOrAuto(value: string): string {
  if (/^(auto|[01tf]|true|false)?$/i.test(value)) return value;
  throw new InvalidArgumentError("one of true, false, auto");
}

export interface RuntimeContext {
  root: string;
  cgroupManager: CgroupManager;
  warn: (text: string) => void;
  /** With `--debug`. */
  debug?: (text: string) => void;
}

/** What every command needs of them. */
export function runtimeContext(command: Command): RuntimeContext {
  const options = command.optsWithGlobals<GlobalOptions>();
  const debug = debugTo(options);
  debug?.(`${command.name()} ${command.args.join(" ")}`);
  return {
    root: runtimeRoot(options.root ? absolute(options.root) : undefined),
    cgroupManager: options.systemdCgroup ? "systemd" : (options.cgroupManager ?? "cgroupfs"),
    warn: warnTo(options),
    ...(debug === undefined ? {} : { debug }),
  };
}

/** The same for checkpoint and restore. */
export function criuContext(command: Command): ReturnType<typeof runtimeContext> & { criu?: string } {
  const { criu } = command.optsWithGlobals<GlobalOptions>();
  return {
    ...runtimeContext(command),
    ...(criu === undefined ? {} : { criu: criu.includes("/") ? absolute(criu) : criu }),
  };
}
