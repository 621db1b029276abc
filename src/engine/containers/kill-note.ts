/**
 * Which process's `tupper kill` sent which signal: a link `killed` in the container's state directory, whose target is `SIGNAL PID`.
 * The runner looks for it when a signal has ended the container: the kernel tells nobody who sent it.
 */
import type { Sent } from "../../explain-failure/end.ts";
import { AT_FDCWD } from "../../sys/constants.ts";
import { raw } from "../../sys/sys.ts";
import { ownStateRoot, type StateLock } from "./state.ts";

/** To be written before the signal is sent. Where it cannot be, the signal counts all the same. */
export function noteKill(id: string, signal: number): void {
  const path = `${ownStateRoot()}/${id}/killed`;
  raw.unlinkat(AT_FDCWD, path, 0);
  raw.symlinkat(`${signal} ${raw.getpid()}`, AT_FDCWD, path);
}

export function readKillNote({ path }: StateLock): Sent | undefined {
  const note = raw.readlinkText(AT_FDCWD, `${path}/killed`);
  const [signal, pid] = typeof note === "string" ? note.split(" ").map(Number) : [];
  return signal === undefined || pid === undefined ? undefined : { signal, pid };
}
