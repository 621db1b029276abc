/** `ps`: the processes of a container, by their numbers on the machine. */
import { ContainerError } from "../error.ts";
import { runHelper } from "../execute/helper-program.ts";
import { loadContainer } from "./container.ts";
import { processesOf } from "./processes.ts";

/** Throws CONTAINER_UNKNOWN. A container that has stopped has none. */
export const listProcesses = (root: string, id: string): number[] => processesOf(loadContainer(root, id));

/**
 * The head of ps(1)'s output and its lines for these processes. `args` are ps's own, `-ef` when there are none. Throws
 * PS_FAILED, PS_WITHOUT_PID.
 */
export function processTable(pids: readonly number[], args: readonly string[]): string {
  const { code, output } = runHelper(["ps", ...(args.length === 0 ? ["-ef"] : args)]);
  if (code !== 0) throw new ContainerError("PS_FAILED", `ps ended with ${code}: ${output.trim()}`);
  return selectProcesses(output, pids);
}

/** Pure. */
export function selectProcesses(output: string, pids: readonly number[]): string {
  const [head = "", ...lines] = output.split("\n");
  const column = words(head).indexOf("PID");
  if (column < 0) {
    throw new ContainerError("PS_WITHOUT_PID", "couldn't find PID field in ps output", {
      hint: "name pid among the columns: ps ID -o pid,cmd",
    });
  }
  const wanted = new Set(pids);
  return [head, ...lines.filter((line) => wanted.has(Number(words(line)[column])))].map((line) => `${line}\n`).join("");
}

const words = (line: string): string[] => line.trim().split(/\s+/);
