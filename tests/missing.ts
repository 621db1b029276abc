/** What a test needs of the machine: `{ skip: missing("root", "cgroup:memory") }` says what is not there. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { release, userInfo } from "node:os";
import { weakenedBinary } from "./weakened.ts";

/**
 * - `root`: the tests run as root; `subuid`: as root or as a user with a range of subordinate ids, who can make containers too
 * - `cgroups`: as root or as a user to whom systemd delegates control groups
 * - `cap:SYS_RESOURCE`: root has this capability (some machines withhold it even from root)
 * - `cgroup:memory`: the controller is mounted (v1) or available (v2); `cgroup1`, `cgroup2`: such a hierarchy is mounted;
 *   `unified`: v2 alone
 * - `programs`: those of tests/programs can be compiled, or have been
 * - `weakened`: that build is there (scripts/build.ts --weakened)
 * - `package:tmux`: its program is installed; `file:/dev/kmsg`: the file is there; `arch:x64`; `kernel:5.15`: at least that
 */
export function missing(...needs: string[]): string | false {
  const lacking = needs.filter((need) => !isThere(need));
  return lacking.length > 0 && `missing: ${lacking.join(", ")}`;
}

/** Packages whose program has another name. */
const PROGRAMS: Readonly<Record<string, string>> = {
  "busybox-static": "busybox",
  "musl-tools": "musl-gcc",
  uidmap: "newuidmap",
  "libcap2-bin": "setcap",
  iproute2: "ip",
  procps: "ps",
  passwd: "useradd",
  "docker.io": "dockerd",
  "util-linux": "script",
  bubblewrap: "bwrap",
  apparmor: "apparmor_parser",
  e2fsprogs: "chattr",
};

function isThere(need: string): boolean {
  const [kind, name = ""] = need.split(/:(.*)/s);
  switch (kind) {
    case "root":
      return process.getuid?.() === 0;
    case "subuid":
      return process.getuid?.() === 0 || hasSubordinateIds();
    case "cgroups":
      return process.getuid?.() === 0 || existsSync(`${process.env.XDG_RUNTIME_DIR}/systemd/private`);
    case "cap":
      return hasCapability(name);
    case "cgroup":
      return controllers().has(name);
    case "cgroup1":
    case "cgroup2":
      return mountTypes().has(kind === "cgroup1" ? "cgroup" : kind);
    case "unified":
      return mountTypes().has("cgroup2") && !mountTypes().has("cgroup");
    case "programs":
      return process.env.TUPPER_TEST_PROGRAMS !== undefined || isThere("package:musl-tools");
    case "weakened":
      return existsSync(weakenedBinary);
    case "package":
      return spawnSync("sh", ["-c", `command -v ${PROGRAMS[name] ?? name}`]).status === 0;
    case "file":
      return existsSync(name);
    case "kernel":
      return compareVersions(release(), name) >= 0;
    case "arch":
      return process.arch === name;
    default:
      throw new Error(`missing("${need}") asks for nothing known`);
  }
}

function hasSubordinateIds(): boolean {
  const { uid, username } = userInfo();
  const isOwn = (line: string) => [String(uid), username].includes(line.split(":")[0] ?? "");
  const hasRange = ["/etc/subuid", "/etc/subgid"].every(
    (file) => existsSync(file) && readFileSync(file, "utf8").split("\n").some(isOwn),
  );
  return hasRange && isThere("package:uidmap");
}

function compareVersions(a: string, b: string): number {
  const [[major = 0, minor = 0], [otherMajor = 0, otherMinor = 0]] = [a, b].map((text) =>
    text.split(".").map(Number),
  ) as [number[], number[]];
  return major - otherMajor || minor - otherMinor;
}

const CAPABILITY_BITS: Readonly<Record<string, number>> = {
  CHOWN: 0,
  NET_ADMIN: 12,
  SYS_ADMIN: 21,
  SYS_NICE: 23,
  SYS_RESOURCE: 24,
  SYS_TIME: 25,
  MKNOD: 27,
};

function hasCapability(name: string): boolean {
  const bit = CAPABILITY_BITS[name];
  if (bit === undefined) throw new Error(`the bit of CAP_${name} is not in the list`);
  const mask = /^CapEff:\t([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${mask}`) >> BigInt(bit)) & 1n) === 1n;
}

const mountinfo = () =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" - ")[1]?.split(" ") ?? []);

const mountTypes = () => new Set(mountinfo().map(([type = ""]) => type));

/** Of v1 those that are mounted, of v2 those that the root group offers, or the user's systemd, and the freezer, which is in each group. */
function controllers(): Set<string> {
  const ofV1 = mountinfo().flatMap(([type, , options = ""]) => (type === "cgroup" ? options.split(",") : []));
  const uid = process.getuid?.() ?? 0;
  const delegated = uid === 0 ? [] : [`/sys/fs/cgroup/user.slice/user-${uid}.slice/user@${uid}.service`];
  const file = [...delegated, "/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
    .map((directory) => `${directory}/cgroup.controllers`)
    .find(existsSync);
  const ofV2 = file === undefined ? [] : readFileSync(file, "utf8").trim().split(" ");
  const always = ofV1.length === 0 && file !== undefined ? ["freezer"] : []; // since Linux 5.2
  return new Set([...ofV1, ...ofV2.map((name) => (name === "io" ? "blkio" : name)), ...always]);
}
