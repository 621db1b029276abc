/**
 * Which process a word of the command line means: a number is a process, anything else a container of tupper's, or the
 * beginning (12 digits at least) of an ID that docker, podman or containerd gave, which stands in the path of its control group.
 */
import { ContainerError } from "../../error.ts";
import { startTimeOf } from "../../runtime/start-time.ts";
import { readDirectory, readFileIfThere } from "../../sys/files.ts";
import { loadState } from "../containers/state.ts";

/** Whether the word is a process number. pid_max is 4194304 at most, so an ID of 12 digits is none. proc_sys_kernel(5). */
export const isPid = (word: string): boolean => /^[1-9][0-9]{0,6}$/.test(word);

/** `container:NAME` is NAME, also where that is a number. */
export const containerName = (word: string): string => word.replace(/^container:/, "");

/** Whether it can only be the ID of another engine's container: tupper has no plan of it. */
export function isForeign(name: string): boolean {
  if (!/^[0-9a-f]{12,64}$/.test(name)) return false;
  try {
    loadState(name);
    return false;
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    return error.code === "CONTAINER_UNKNOWN";
  }
}

/** What a word can be: the hint where it is nothing. */
export const MEANT =
  "a process number, a name that `tupper ps` lists, or 12 digits or more of an ID of docker or podman";

/** Throws CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING. */
export function processMeant(word: string): number {
  if (isPid(word)) return Number(word);
  const name = containerName(word);
  try {
    const { pid, startTime } = loadState(name, MEANT);
    if (pid > 0 && startTimeOf(pid) === startTime) return pid;
    throw new ContainerError("CONTAINER_NOT_RUNNING", `the container ${name} is not running`);
  } catch (error) {
    if (!(error instanceof ContainerError) || error.code !== "CONTAINER_UNKNOWN") throw error;
    const pid = /^[0-9a-f]{12,64}$/.test(name) ? processInGroup(name) : undefined;
    if (pid !== undefined) return pid;
    throw error;
  }
}

/** The first process of the control group whose name has this ID: process 1 in its own PID namespace, else the oldest number. */
function processInGroup(id: string): number | undefined {
  const pids = readDirectory("/proc")
    .map(({ name }) => Number(name))
    .filter((pid) => Number.isInteger(pid) && inGroup(pid, id))
    .sort((a, b) => a - b);
  return pids.find((pid) => /^NSpid:.*\t1$/m.test(readFileIfThere(`/proc/${pid}/status`) ?? "")) ?? pids[0];
}

/** conmon, which watches over a container of podman, has a group with the same ID beside it. */
function inGroup(pid: number, id: string): boolean {
  const text = readFileIfThere(`/proc/${pid}/cgroup`) ?? "";
  return new RegExp(`[/:-]${id}[0-9a-f]*(\\.scope)?(/|$)`, "m").test(text.replace(/libpod-conmon-.*/g, ""));
}
