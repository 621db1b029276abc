/** `ps`: the processes of a container, by their numbers on the machine. */
import { ContainerError } from "../error.ts";
import { runHelper } from "../execute/helper-program.ts";
import { loadContainer } from "./container.ts";
import { processTable } from "./process-table.ts";
import { processesOf } from "./processes.ts";

/** Throws CONTAINER_UNKNOWN. A container that has stopped has none. */
export const listProcesses = (root: string, id: string): number[] => processesOf(loadContainer(root, id));

/**
 * What ps(1) prints with these arguments, without the lines of other processes; `-ef` is the default. Throws PROC_MISSING,
 * PS_FAILED, PS_WITHOUT_PID.
 */
export function tableOf(pids: readonly number[], args: readonly string[]): string {
  if (args.length === 0 || (args.length === 1 && args[0] === "-ef")) return processTable(pids);
  const { code, output } = runHelper(["ps", ...args]);
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
