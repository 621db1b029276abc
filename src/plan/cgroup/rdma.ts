/** `linux.resources.rdma`: handles and objects per RDMA device, one line each. cgroup-v1/rdma.rst. */
import type { Resources } from "../../spec/config.ts";
import type { CgroupRequest, Controller } from "./request.ts";

export const rdma: Controller = { v1: "rdma", v2: "rdma", requestsV1: requests, requestsV2: requests };

function requests({ rdma = {} }: Resources): CgroupRequest[] {
  return Object.entries(rdma).map(([device, { hcaHandles, hcaObjects }]) => {
    const limits: string[] = [];
    if (hcaHandles !== undefined) limits.push(`hca_handle=${hcaHandles}`);
    if (hcaObjects !== undefined) limits.push(`hca_object=${hcaObjects}`);
    return {
      file: "rdma.max",
      value: [device, ...limits].join(" "),
      field: `linux.resources.rdma.${device}`,
      because: `handles and objects of the RDMA device ${device} are limited`,
    };
  });
}
