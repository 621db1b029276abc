/** The flags that create and run share. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { LaunchRequest } from "../../runtime/launch.ts";
import { runtimeContext } from "./global-options.ts";

interface LaunchOptions {
  bundle: string;
  config?: string;
  consoleSocket?: string;
  pidfdSocket?: string;
  pidFile?: string;
  preserveFds: number;
  /** False with --no-new-keyring, --no-pivot; commander's default for such flags is lost where its state is saved in the build. */
  newKeyring?: boolean;
  pivot?: boolean;
}

export function addLaunchOptions(command: Command): Command {
  return command
    .argument("<ID>", "its name, unique on this machine")
    .option("-b, --bundle <DIRECTORY>", "the bundle", ".")
    .option("-f, --config <FILE>", "a file in place of the bundle's config.json")
    .option("-c, --console-socket <PATH>", "the unix socket that receives the terminal's master")
    .option("--pidfd-socket <PATH>", "the unix socket that receives a descriptor of the container's first process")
    .option("-p, --pid-file <FILE>", "a file that gets the pid of the container's first process")
    .option("--preserve-fds <N>", "so many more descriptors, from 3 up, stay open for the command", parseCount, 0)
    .option("--no-new-keyring", "leave the caller's session keyring to the container")
    .option("--no-pivot", "enter the root by MS_MOVE and chroot, for a machine that runs from an initramfs")
    .addOption(new Option("--no-subreaper", "orphans of the container do not become our children"));
}

/** The value of `--preserve-fds`. */
export function parseCount(text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("a number of descriptors is expected.");
}

export function launchRequest(id: string, command: Command): LaunchRequest {
  const { bundle, config, consoleSocket, pidfdSocket, pidFile, preserveFds, newKeyring, pivot } =
    command.opts<LaunchOptions>();
  return {
    ...runtimeContext(command),
    id,
    bundle,
    preserveFds,
    newKeyring: newKeyring !== false,
    // An empty value is none, as for runc.
    ...(config ? { configPath: config } : {}),
    ...(consoleSocket ? { consoleSocket } : {}),
    ...(pidfdSocket ? { pidfdSocket } : {}),
    ...(pidFile ? { pidFile } : {}),
    ...(pivot === false ? { noPivot: true } : {}),
  };
}
