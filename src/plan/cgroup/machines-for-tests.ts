/** Machines and configs for the tests of control groups, and steps as lines. */
import { ContainerError } from "../../error.ts";
import type { Config, Resources } from "../../spec/config.ts";
import type { Host, HostCgroups } from "../host.ts";
import type { Step } from "../step.ts";
import { planCgroups } from "./groups.ts";

export const V1: HostCgroups = {
  mode: "v1",
  hierarchies: [
    { controllers: ["cpuset"], mountPoint: "/cg/cpuset", ownPath: "/" },
    { controllers: ["cpu", "cpuacct"], mountPoint: "/cg/cpu,cpuacct", ownPath: "/own" },
    { controllers: ["memory"], mountPoint: "/cg/memory", ownPath: "/own" },
  ],
  writable: true,
};

export const ALL_V1: HostCgroups = {
  mode: "v1",
  hierarchies: "cpu cpuset memory pids blkio hugetlb net_cls net_prio rdma devices"
    .split(" ")
    .map((controller) => ({ controllers: [controller], mountPoint: `/cg/${controller}`, ownPath: "/" })),
  writable: true,
};

export const HYBRID: HostCgroups = {
  mode: "hybrid",
  hierarchies: [
    { controllers: ["pids"], mountPoint: "/cg/pids", ownPath: "/" },
    { controllers: ["name=systemd"], mountPoint: "/cg/systemd", ownPath: "/" },
  ],
  unified: { mountPoint: "/cg/unified", ownPath: "/", controllers: ["hugetlb"] },
  writable: true,
};

export const V2: HostCgroups = {
  mode: "v2",
  hierarchies: [],
  unified: {
    mountPoint: "/cg",
    ownPath: "/user.slice/session-1.scope",
    controllers: ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"],
  },
  writable: true,
};

export const NONE: HostCgroups = { mode: "none", hierarchies: [], writable: false };

export function makeHost(cgroups: HostCgroups, more: Partial<Host> = {}): Host {
  return {
    kernel: [6, 18],
    architecture: "x86_64",
    uid: 0,
    gid: 0,
    stateRoot: "/run/tupper",
    cgroups,
    mountinfo: "",
    rootEntries: [],
    fileMounts: [],
    idMapHelpers: false,
    subuids: [],
    subgids: [],
    privileged: true,
    ...more,
  };
}

export function makeConfig(resources?: Resources, cgroupsPath?: string): Config {
  return {
    ociVersion: "1.3.0",
    root: { path: "/rootfs" },
    process: { user: { uid: 0, gid: 0 }, args: ["true"], cwd: "/" },
    linux: {
      ...(resources === undefined ? {} : { resources }),
      ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
    },
  };
}

/** A step without its reasons, as a line. */
export function show(step: Step): string {
  switch (step.op) {
    case "makeCgroup":
      return `makeCgroup ${step.controller} ${step.path}${step.mayExist ? " (may exist)" : ""}`;
    case "write": {
      const otherwise = "otherwise" in step && step.otherwise;
      return `${step.path} = ${step.value}${otherwise ? ` or ${otherwise.path} = ${otherwise.value}` : ""}`;
    }
    case "inheritCgroupValue":
      return `inherit ${step.path}`;
    case "vacateCgroup":
      return `vacate ${step.path} into ${step.into}`;
    case "joinCgroup":
      return `joinCgroup ${step.controller} ${step.path}`;
    case "attachDeviceProgram":
      return `attachDeviceProgram ${step.path} (${step.program.length / 8} instructions)`;
    default:
      return step.op;
  }
}

/** The writes of one container `/c` with field and file, and the warnings. */
export function limits(cgroups: HostCgroups, resources: Resources, more: Partial<Host> = {}) {
  const { create, warnings } = planCgroups(makeConfig(resources, "/c"), makeHost(cgroups, more), "c");
  const writes = create.flatMap((step) =>
    step.op === "write" && !step.path.endsWith("subtree_control")
      ? [`${step.field?.replace("linux.resources.", "") ?? "-"}: ${show(step).replaceAll(/\/cg\/(\w+\/)?c\//g, "")}`]
      : [],
  );
  return { writes, warnings };
}

export function codeOf(attempt: () => unknown): string {
  try {
    attempt();
  } catch (error) {
    if (error instanceof ContainerError) return `${error.code} ${error.field}`;
    throw error;
  }
  return "no error";
}
