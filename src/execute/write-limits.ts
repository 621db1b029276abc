/**
 * New limits in the files of groups that have some already. The kernel checks each value against the others (a memory limit
 * against the swap limit, a period against the quota), so what it refuses is tried again after the rest: growing needs one
 * order, shrinking the other. memcg_resize_max() and tg_set_cfs_bandwidth() in the kernel.
 */
import { ContainerError } from "../error.ts";
import { explainCgroupRefusal } from "../plan/cgroup/refusal.ts";
import type { CgroupWrite } from "../plan/cgroup/request.ts";
import { readIfReadable, writeFile } from "../sys/files.ts";
import { SysError } from "../sys/sys.ts";
import { requireCgroups } from "./require-cgroups.ts";

interface Limit {
  group: string;
  request: CgroupWrite;
}

/**
 * Throws a {@link ContainerError} that names the file; then the values are as they were. What cannot be put back, the rules of
 * devices for one, comes last.
 */
export function writeLimits(limits: readonly Limit[]): void {
  const known = limits.map((limit) => ({ limit, value: currentValue(limit) }));
  const before = known.flatMap(({ limit: { group, request }, value }) =>
    value === undefined ? [] : [{ group, request: { file: request.file, value, because: "it was so before" } }],
  );
  const order = [
    ...known.filter(({ value }) => value !== undefined),
    ...known.filter(({ value }) => value === undefined),
  ];
  try {
    writeAll(order.map(({ limit }) => limit));
  } catch (error) {
    restore(before);
    throw error;
  }
}

function writeAll(limits: readonly Limit[]): void {
  for (let left = limits; left.length > 0; ) {
    const refused: { limit: Limit; error: SysError }[] = [];
    for (const limit of left) {
      const error = tryWrite(limit);
      if (error?.code === "EINVAL") refused.push({ limit, error });
      else if (error !== undefined) throw explain(limit, error);
    }
    const [first] = refused;
    if (first !== undefined && refused.length === left.length) throw explain(first.limit, first.error);
    left = refused.map(({ limit }) => limit);
  }
}

/** Undefined for files that cannot be read, and for those of which nobody knows here how they are read. */
function currentValue({ group, request: { file, value } }: Limit): string | undefined {
  const text = readIfReadable(`${group}/${file}`); // some can only be written to
  if (text === undefined || file.startsWith("devices.")) return undefined;
  const lines = text.trim().split("\n");
  const [device, limit] = /^(\d+:\d+ )(.*)$/.exec(value)?.slice(1) ?? [];
  if (device !== undefined && limit !== undefined) {
    const none = limit.includes("=") ? limit.replace(/=\d+/g, "=max") : file.startsWith("io.") ? "default" : "0";
    return lines.find((line) => line.startsWith(device)) ?? `${device}${none}`;
  }
  // An empty list of processors is what nobody has asked for yet.
  if (text === "\n") return text;
  return lines.length === 1 && /^(-?\d+|max)( \d+)?$|^default \d+$|^[\d,-]+$/.test(lines[0] ?? "")
    ? lines[0]
    : undefined;
}

/** As well as it goes: what counts is the error that led here. */
function restore(limits: readonly Limit[]): void {
  try {
    writeAll(limits);
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
  }
}

function tryWrite({ group, request: { file, value, otherwise, mayBeMissing } }: Limit): SysError | undefined {
  try {
    writeFile(`${group}/${file}`, value);
    return undefined;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.code !== "ENOENT" || (otherwise === undefined && !mayBeMissing)) return error;
    return otherwise === undefined ? undefined : tryWrite({ group, request: { ...otherwise, because: "" } });
  }
}

function explain({ group, request: { file, value, field } }: Limit, error: SysError): ContainerError {
  if (error.code === "ENOENT") requireCgroups();
  const refusal = explainCgroupRefusal(`${group}/${file}`, value, error.code);
  const { code, message, hint } = refusal ?? {
    code: "CGROUP_WRITE_FAILED",
    message: `cannot write ${value} to ${file}`,
  };
  return new ContainerError(code, message, {
    cause: error,
    ...(field === undefined ? {} : { field }),
    ...(hint === undefined ? {} : { hint }),
  });
}
