/**
 * What the machine offers: the second argument of `plan`. Pure data, gathered once by `probeHost` (src/execute/probe.ts),
 * written by hand in tests.
 */
import type { IdMaps } from "../spec/config.ts";

export interface Host {
  /** `[6, 18]` */
  kernel: readonly [number, number];
  architecture: "x86_64" | "aarch64";
  /** Effective ids of the caller. */
  uid: number;
  gid: number;
  /** Directory that holds the state directories, such as `/run/tupper`. */
  stateRoot: string;
  cgroups: HostCgroups;
  /** /proc/self/mountinfo: parsed only for roots that have mounts below them. */
  mountinfo: string;
  /** Mount points that are files, not directories: no overlay can lie over them. */
  fileMounts: readonly string[];
  /** Directories and links in the machine's `/`, for an ordinary user only: see overlay.ts. */
  rootEntries: readonly { name: string; link?: string }[];
  /** Whether newuidmap and newgidmap are both there. */
  idMapHelpers: boolean;
  /** Ranges of /etc/subuid and /etc/subgid for the caller. */
  subuids: readonly { start: number; count: number }[];
  subgids: readonly { start: number; count: number }[];
  /** For root of a user namespace that is not the machine's: the ids that there are in it, each mapped to itself. */
  ownIds?: IdMaps;
  /** Whether the caller may make device nodes and real mounts: root in the initial user namespace, or close to it. */
  privileged: boolean;
}

/** The control group layout. `v1`: a hierarchy per controller; `hybrid`: v1 beside a v2 tree; `v2`: one unified tree. */
export interface HostCgroups {
  mode: "v1" | "hybrid" | "v2" | "none";
  /** v1 hierarchies: controllers share one when mounted together (`cpu,cpuacct`). */
  hierarchies: readonly { controllers: readonly string[]; mountPoint: string; ownPath: string }[];
  /**
   * The v2 tree, where there is one. `controllers`: what it offers, at its root for root, in `base` for
   * a user. `occupied`: the mounted root is not the machine's and holds this very process (a container's own tree), so it
   * hands no controllers down before they have moved.
   */
  unified?: {
    mountPoint: string;
    ownPath: string;
    controllers: readonly string[];
    occupied?: boolean;
    /** What the tree is mounted with, such as `nsdelegate,memory_recursiveprot`; unset where that is nothing. */
    mountedWith?: string;
    /** A user's: the group in which the containers' groups are made. Our own, where that is what is delegated. */
    base?: string;
  };
  /** `v2`: the hierarchy `name=systemd` of v1, where it is mounted too; it has no controllers. */
  systemdV1?: HostCgroups["hierarchies"][number];
  /** An ordinary user's: the v1 hierarchies in which the group that the config names may be made. Unset where there is none. */
  delegated?: HostCgroups["hierarchies"];
  /** Whether the caller may create groups there. */
  writable: boolean;
}
