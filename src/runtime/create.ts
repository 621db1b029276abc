/** `create`: everything of a container but its command, which waits for `start`. runtime.md, "Create". */
import { unlock } from "./container.ts";
import { type LaunchRequest, launch } from "./launch.ts";

/** Returns when the container is in the state `created`. Throws a ContainerError; then nothing is left of it. */
export function createContainer(request: LaunchRequest): void {
  unlock(launch(request, { waits: true, attached: false }).lock);
}
