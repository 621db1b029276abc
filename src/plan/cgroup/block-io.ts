/**
 * `linux.resources.blockIO`. cgroup-v1/blkio-controller.rst, cgroup-v2.rst "IO".
 *
 * Weights are for the BFQ scheduler: CFQ and its blkio.weight went with Linux 5.0. On v2 a kernel without BFQ may have
 * io.weight (iocost) with a scale of its own, 1 to 10000: it is the second choice, as in runc.
 */
import type { BlockIoResources, Throttle } from "../../spec/config.ts";
import { type CgroupRequest, type Controller, since, unlessZero } from "./request.ts";

const FIELD = "linux.resources.blockIO";

const THROTTLES = [
  ["throttleReadBpsDevice", "read_bps_device", "rbps", "bytes read per second"],
  ["throttleWriteBpsDevice", "write_bps_device", "wbps", "bytes written per second"],
  ["throttleReadIOPSDevice", "read_iops_device", "riops", "reads per second"],
  ["throttleWriteIOPSDevice", "write_iops_device", "wiops", "writes per second"],
] as const;

export const blockIo: Controller = {
  v1: "blkio",
  v2: "io",
  requestsV1({ blockIO = {} }, kernel) {
    const prefix = since(kernel, 5, 0) ? "blkio.bfq" : "blkio";
    return [
      ...weights(blockIO, (file, value) => ({ file: `${prefix}.${file}`, value })),
      ...leafWeights(blockIO),
      ...throttles(blockIO, ({ major, minor, rate }, file) => ({
        file: `blkio.throttle.${file}`,
        value: `${major}:${minor} ${rate}`,
      })),
    ];
  },
  requestsV2({ blockIO = {} }) {
    return [
      ...weights(blockIO, (_, value, weight) => ({
        file: "io.bfq.weight",
        value,
        // A device's value is `major:minor weight`, the group's own only the weight.
        otherwise: { file: "io.weight", value: value.replace(/\d+$/, String(toIoWeight(weight))) },
      })),
      ...leafWeights(blockIO),
      ...throttles(blockIO, ({ major, minor, rate }, _, key) => ({
        file: "io.max",
        // v1 takes 0 for no limit, v2 answers ERANGE.
        value: `${major}:${minor} ${key}=${rate > 0 ? rate : "max"}`,
      })),
    ];
  },
};

/** BFQ's 10..1000 on the scale of io.weight, 1..10000. */
export const toIoWeight = (weight: number): number => Math.floor(1 + ((weight - 10) * 9999) / 990);

type Target = { file: string; value: string; otherwise?: { file: string; value: string } };

function weights(
  blockIO: BlockIoResources,
  target: (file: "weight" | "weight_device", value: string, weight: number) => Target,
): CgroupRequest[] {
  const requests: CgroupRequest[] = [];
  const weight = unlessZero(blockIO.weight);
  if (weight !== undefined) {
    requests.push({
      ...target("weight", String(weight), weight),
      field: `${FIELD}.weight`,
      because: "the part of the disks' time that the container gets when others want them too",
    });
  }
  for (const [i, { major, minor, ...device }] of (blockIO.weightDevice ?? []).entries()) {
    const weight = unlessZero(device.weight);
    if (weight === undefined) continue;
    requests.push({
      ...target("weight_device", `${major}:${minor} ${weight}`, weight),
      field: `${FIELD}.weightDevice[${i}].weight`,
      because: `the part of the time of disk ${major}:${minor} that the container gets`,
    });
  }
  return requests;
}

function leafWeights({ leafWeight, weightDevice = [] }: BlockIoResources): CgroupRequest[] {
  const gap = "leaf weights went with the CFQ scheduler in Linux 5.0";
  const requests: CgroupRequest[] = [];
  if (unlessZero(leafWeight) !== undefined) requests.push({ field: `${FIELD}.leafWeight`, gap });
  for (const [i, { leafWeight }] of weightDevice.entries()) {
    if (unlessZero(leafWeight) === undefined) continue;
    requests.push({ field: `${FIELD}.weightDevice[${i}].leafWeight`, gap });
  }
  return requests;
}

function throttles(
  blockIO: BlockIoResources,
  target: (throttle: Throttle, file: string, key: string) => { file: string; value: string },
): CgroupRequest[] {
  return THROTTLES.flatMap(([name, file, key, what]) =>
    (blockIO[name] ?? []).map((throttle, i) => ({
      // The kernel's counters of operations have 32 bits: v1 cuts 2^32 to no operation at all (tg_set_conf_uint).
      ...target(throttle.rate < 2 ** (key.endsWith("iops") ? 32 : 63) ? throttle : { ...throttle, rate: 0 }, file, key),
      field: `${FIELD}.${name}[${i}]`,
      because: `${what} on disk ${throttle.major}:${throttle.minor} are limited`,
    })),
  );
}
