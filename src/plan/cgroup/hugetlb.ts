/**
 * `linux.resources.hugepageLimits`. cgroup-v1/hugetlb.rst.
 *
 * Two files per page size: `rsvd` counts reservations and fails mmap with ENOMEM, the other counts faults and kills by
 * SIGBUS. The runtime-spec wants both, reservations first; they are since Linux 5.7.
 */
import type { Int64, Resources } from "../../spec/config.ts";
import { type CgroupRequest, type Controller, orMax, orMinusOne, since } from "./request.ts";

export const hugetlb: Controller = {
  v1: "hugetlb",
  v2: "hugetlb",
  requestsV1: ({ hugepageLimits }, kernel) => requests(hugepageLimits, kernel, "limit_in_bytes", orMinusOne),
  requestsV2: ({ hugepageLimits }, kernel) => requests(hugepageLimits, kernel, "max", orMax),
};

function requests(
  limits: Resources["hugepageLimits"] = [],
  kernel: readonly [number, number],
  file: string,
  show: (limit: Int64) => string,
): CgroupRequest[] {
  return limits.flatMap(({ pageSize, limit }, i) => {
    const value = show(limit);
    const field = `linux.resources.hugepageLimits[${i}]`;
    const used = { file: `hugetlb.${pageSize}.${file}`, value, field, because: `use of ${pageSize} pages is limited` };
    if (!since(kernel, 5, 7)) return [used];
    const because = `reservations of ${pageSize} pages fail cleanly at the limit, before their use would kill`;
    return [{ file: `hugetlb.${pageSize}.rsvd.${file}`, value, field, because }, used];
  });
}
