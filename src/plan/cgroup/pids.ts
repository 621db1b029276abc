/** `linux.resources.pids`: 0 is a limit as 1 is (nothing can fork), and written as 1, as under runc; -1 is none. cgroup-v1/pids.rst. */
import type { Resources } from "../../spec/config.ts";
import { type CgroupRequest, type Controller, orMax } from "./request.ts";

export const pids: Controller = { v1: "pids", v2: "pids", requestsV1: requests, requestsV2: requests };

function requests({ pids }: Resources): CgroupRequest[] {
  if (pids === undefined) return [];
  return [
    {
      file: "pids.max",
      value: orMax(pids.limit === 0 ? 1 : pids.limit),
      field: "linux.resources.pids.limit",
      because: "no more processes and threads than this: fork fails beyond it, so a fork bomb stays in the container",
    },
  ];
}
