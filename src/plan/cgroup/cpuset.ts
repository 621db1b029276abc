/**
 * `linux.resources.cpu.cpus` and `mems`: which processors and memory nodes. cgroup-v1/cpusets.rst.
 *
 * On v1 a new cpuset is empty and nobody can join it (ENOSPC): what is not asked for is inherited, see groups.ts. Engines
 * write "" for unset.
 */
import type { Resources } from "../../spec/config.ts";
import type { CgroupRequest, Controller } from "./request.ts";

export const cpuset: Controller = { v1: "cpuset", v2: "cpuset", requestsV1: requests, requestsV2: requests };

function requests({ cpu: { cpus, mems } = {} }: Resources): CgroupRequest[] {
  const found: CgroupRequest[] = [];
  if (cpus !== undefined && cpus !== "") {
    found.push({
      file: "cpuset.cpus",
      value: cpus,
      field: "linux.resources.cpu.cpus",
      because: "the container runs on these processors only",
    });
  }
  if (mems !== undefined && mems !== "") {
    found.push({
      file: "cpuset.mems",
      value: mems,
      field: "linux.resources.cpu.mems",
      because: "the container's memory comes from these nodes only",
    });
  }
  return found;
}
