/** `tupper-runtime checkpoint`. */
import { Command, InvalidArgumentError } from "commander";
import { ContainerError } from "../../error.ts";
import type { CheckpointFlags } from "../../plan/criu-options.ts";
import { checkpointContainer } from "../../runtime/checkpoint.ts";
import { addCriuOptions, criuFlags } from "./criu-options.ts";
import { criuContext } from "./global-options.ts";

export const checkpointCommand = addCriuOptions(new Command("checkpoint"))
  .summary("write a running container into files")
  .description("Writes the processes of a container into files, by CRIU, and ends it. `restore` brings it back.")
  .argument("<ID>", "a running container")
  .option("--parent-path <DIRECTORY>", "an earlier checkpoint, from the image path: only what has changed is written")
  .option("--leave-running", "the container goes on")
  .option("--pre-dump", "only the memory, and the container goes on")
  .option("--tcp-skip-in-flight", "without TCP connections that are not open yet")
  .option("--link-remap", "with open files that have been unlinked")
  .option("--status-fd <FD>", "gets a zero byte when the server of lazy pages is ready", parseDescriptor)
  .option("--page-server <ADDRESS:PORT>", "memory goes there, not into the images", parsePageServer)
  .action((id: string, options: CheckpointFlags, command: Command) => {
    if (options.parentPath?.startsWith("/"))
      throw new ContainerError("CHECKPOINT_PARENT", "--parent-path must be relative to the image path", {
        field: "--parent-path",
      });
    checkpointContainer({ ...criuContext(command), id, flags: { ...options, ...criuFlags(options) } });
  });

function parseDescriptor(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("the number of a descriptor is expected.");
}

function parsePageServer(text: string): { address: string; port: number } {
  const [, address, port] = /^\[?([^[\]]+)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (address !== undefined && port !== undefined) return { address, port: Number(port) };
  throw new InvalidArgumentError("ADDRESS:PORT is expected.");
}
