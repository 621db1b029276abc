/** The processors that this process may run on. sched_setaffinity(2). */
import { ContainerError } from "../error.ts";

import { check, raw } from "../sys/sys.ts";
import { packNumberList } from "./number-mask.ts";

/** `all`: those of the control group; the kernel leaves out what is not there. */
export function setCpuAffinity(cpus: string): void {
  const mask = cpus === "all" ? new Uint8Array(1024).fill(0xff).buffer : packNumberList(cpus);
  if (mask === undefined) {
    throw new ContainerError("CPU_LIST_INVALID", `${JSON.stringify(cpus)} is no list of processors`, {
      hint: "numbers and ranges with commas between them, such as 0-3,7",
    });
  }
  check(raw.schedSetaffinity(0, mask.byteLength, mask), "sched_setaffinity", 0, cpus);
}
