/** The flags that create and run share. */
import { type Command, Option } from "commander";
import type { LaunchRequest } from "../../runtime/launch.ts";
import { runtimeContext } from "./global-options.ts";

interface LaunchOptions {
  bundle: string;
  config?: string;
  consoleSocket?: string;
  pidFile?: string;
}

export function addLaunchOptions(command: Command): Command {
  return command
    .argument("<ID>", "its name, unique on this machine")
    .option("-b, --bundle <DIRECTORY>", "the bundle", ".")
    .option("-f, --config <FILE>", "a file in place of the bundle's config.json")
    .option("--console-socket <PATH>", "the unix socket that receives the terminal's master")
    .option("--pid-file <FILE>", "a file that gets the pid of the container's first process")
    .addOption(new Option("--no-subreaper", "orphans of the container do not become our children"));
}

export function launchRequest(id: string, command: Command): LaunchRequest {
  const { bundle, config, consoleSocket, pidFile } = command.opts<LaunchOptions>();
  return {
    ...runtimeContext(command),
    id,
    bundle,
    ...(config === undefined ? {} : { configPath: config }),
    ...(consoleSocket === undefined ? {} : { consoleSocket }),
    ...(pidFile === undefined ? {} : { pidFile }),
  };
}
