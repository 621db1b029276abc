/** `linux.resources.network`: marks on packets, by two controllers that cgroup v2 left out. net_cls.rst, net_prio.rst. */
import { type Controller, unlessZero } from "./request.ts";

const FIELD = "linux.resources.network";
const gap = "cgroup v2 has no such controller; nftables matches the control group of a socket instead";

export const netCls: Controller = {
  v1: "net_cls",
  requestsV1({ network }) {
    const classID = unlessZero(network?.classID);
    if (classID === undefined) return [];
    const because = "packets of the container carry this class, for tc and nftables";
    return [{ file: "net_cls.classid", value: String(classID), field: `${FIELD}.classID`, because }];
  },
  requestsV2: ({ network }) => (unlessZero(network?.classID) === undefined ? [] : [{ field: `${FIELD}.classID`, gap }]),
};

export const netPrio: Controller = {
  v1: "net_prio",
  requestsV1({ network: { priorities = [] } = {} }) {
    return priorities.map(({ name, priority }, i) => ({
      file: "net_prio.ifpriomap",
      value: `${name} ${priority}`,
      field: `${FIELD}.priorities[${i}]`,
      because: `packets of the container leave ${name} with this priority`,
    }));
  },
  requestsV2: ({ network }) => (network?.priorities ?? []).map((_, i) => ({ field: `${FIELD}.priorities[${i}]`, gap })),
};
