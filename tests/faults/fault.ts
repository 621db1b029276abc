/**
 * Faults planted for real: the shape of one, and how a runtime is run into it. What the cause is, and what would mend it, is
 * written down here as patterns before anybody looks at what a runtime prints; words that all runtimes could say count for all.
 */
import { spawnSync } from "node:child_process";
import { chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../../src/spec/config.ts";

/** What a case has to work with: a root filesystem with broken programs in it, and an empty directory of its own. */
export interface Place {
  rootfs: string;
  own: string;
}

export interface Fault {
  /** What is wrong, as the table names it. */
  name: string;
  /** What the sentence must name. */
  cause: RegExp;
  /** What would mend it. */
  remedy: RegExp;
  /** Changes the usual config of a bundle, or gives the text of config.json. */
  config?: (config: Config, place: Place) => unknown;
  /** Commands that make the fault in a mount namespace of the case's own, before the runtime starts in it (POSIX sh). */
  before?: (place: Place) => string;
  /** What starts the runtime, such as `setpriv --bounding-set=-all`. */
  prefix?: (place: Place) => readonly string[];
  /** The number of the ordinary user who runs it: no name, no subordinate ids. */
  user?: number;
  /** Flags before and after the word `run`. */
  globals?: readonly string[];
  flags?: readonly string[];
  /** What is missing on this machine for it. */
  skip?: string | false;
  /** Of other runtimes: what keeps them from being asked the same. */
  only?: "tupper";
}

export interface Saying {
  /** The line that says most, made fit for a table. */
  sentence: string;
  /** All of stderr. */
  text: string;
  code: number | null;
  cause: boolean;
  remedy: boolean;
}

export interface Runtime {
  name: string;
  argv0: string;
  file: string;
  /** What it needs of the machine first, in the case's mount namespace. */
  before?: string;
}

export const usualConfig = (rootfs: string): Config => ({
  ociVersion: "1.0.2",
  root: { path: rootfs, readonly: true },
  process: {
    user: { uid: 0, gid: 0 },
    args: ["true"],
    env: ["PATH=/usr/bin:/bin"],
    cwd: "/",
    capabilities: Object.fromEntries(
      ["bounding", "effective", "permitted"].map((set) => [set, ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]]),
    ),
  },
  hostname: "box",
  mounts: [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
  ],
  linux: { namespaces: (["pid", "network", "ipc", "uts", "mount"] as const).map((type) => ({ type })) },
});

/** In the place of `config.linux`: a user namespace in which `uid` is root. */
export const inUserNamespace = (config: Config, uid = 0): Config => ({
  ...config,
  linux: {
    ...config.linux,
    namespaces: [...(config.linux.namespaces ?? []), { type: "user" }],
    uidMappings: [{ containerID: 0, hostID: uid, size: 1 }],
    gidMappings: [{ containerID: 0, hostID: uid, size: 1 }],
  },
});

/** The config with these options of the process. */
export const withProcess = (config: Config, process: Partial<Config["process"]>): Config => ({
  ...config,
  process: { ...config.process, ...process },
});

export const withArgs = (config: Config, ...args: string[]): Config => withProcess(config, { args });

export const withMount = (config: Config, ...mounts: NonNullable<Config["mounts"]>): Config => ({
  ...config,
  mounts: [...(config.mounts ?? []), ...mounts],
});

export const withLinux = (config: Config, linux: Partial<Config["linux"]>): Config => ({
  ...config,
  linux: { ...config.linux, ...linux },
});

export const withNamespace = (config: Config, ...namespaces: NonNullable<Config["linux"]["namespaces"]>): Config =>
  withLinux(config, {
    namespaces: [
      ...(config.linux.namespaces ?? []).filter(({ type }) => !namespaces.some((other) => other.type === type)),
      ...namespaces,
    ],
  });

/** Ends what faults have left in groups of their own, and removes those. */
export async function removeFaultGroups(): Promise<void> {
  const script = `for g in $(find /sys/fs/cgroup -depth -type d -name 'tupper-fault*'); do
    [ ! -e $g/freezer.state ] || echo THAWED >$g/freezer.state
    for p in $(cat $g/cgroup.procs); do kill -9 $p; done
    rmdir $g
  done`;
  for (let left = 100; left > 0; left--) {
    spawnSync("sh", ["-c", script]);
    const found = spawnSync("find", ["/sys/fs/cgroup", "-type", "d", "-name", "tupper-fault*"], { encoding: "utf8" });
    if (found.stdout === "") return;
    await sleep(50);
  }
}

let runs = 0;

/** Plants the fault and has the runtime run into it. */
export function meet(fault: Fault, runtime: Runtime, base: string): Saying {
  const own = join(base, `case-${++runs}`);
  const rootfs = join(base, "rootfs");
  const bundle = join(own, "bundle");
  mkdirSync(bundle, { recursive: true });
  mkdirSync(join(own, "state"));
  if (fault.user !== undefined) for (const path of [own, join(own, "state")]) chownSync(path, fault.user, fault.user);
  const place = { rootfs, own };
  const config = fault.config?.(usualConfig(rootfs), place) ?? usualConfig(rootfs);
  writeFileSync(
    join(bundle, "config.json"),
    typeof config === "string"
      ? config
      : JSON.stringify(config, (_key, value) => (typeof value === "bigint" ? Number(value) : value)),
  );
  const id = `fault-${process.pid}-${runs}`;
  const script = `set -e\nmount --make-rprivate /\n${runtime.before ?? ""}\n${fault.before?.(place) ?? ""}\nset +e\nexec "$@"`;
  const mine = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    script,
    "sh",
    ...(fault.user === undefined
      ? []
      : ["setpriv", `--reuid=${fault.user}`, `--regid=${fault.user}`, "--clear-groups"]),
    ...(fault.prefix?.(place) ?? []),
  ];
  const named = ["bash", "--norc", "-c", 'exec -a "$0" "$@"', runtime.argv0, runtime.file];
  const globals = fault.globals ?? ["--root", join(own, "state")];
  const [program = "", ...args] = [
    ...mine,
    ...named,
    ...globals,
    "run",
    ...(fault.flags ?? []),
    "--bundle",
    bundle,
    id,
  ];
  const { stderr, stdout, status } = spawnSync(program, args, {
    cwd: "/",
    input: "",
    encoding: "utf8",
    timeout: 30_000,
    env: { ...process.env, XDG_RUNTIME_DIR: own },
  });
  rmSync(own, { recursive: true, force: true });
  const text = (stderr + stdout).replaceAll(own, "OWN").replaceAll(base, "BASE").replaceAll(id, "ID");
  return sayingOf(fault, text, status);
}

export const sayingOf = ({ cause, remedy }: Fault, text: string, code: number | null): Saying => ({
  text,
  sentence: sentenceOf(text),
  code,
  cause: cause.test(text),
  remedy: remedy.test(text),
});

/** The error of many lines: without times, levels and colours; the last of several, for those come from deeper down. */
function sentenceOf(text: string): string {
  const lines = text
    .split("\n")
    .map((line) => /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replace(/\\"/g, '"') ?? line)
    .map((line) => line.replace(/^\S*T?\d\d:\d\d:\d\d\S* /, "").trim())
    .filter(
      (line) =>
        line !== "" &&
        !/^(config|flag|arg|kernel|evidence):|^(See|Run) '|^Usage:|^error waiting for container/.test(line),
    );
  const error = lines.findIndex((line) => line.startsWith("error:"));
  const hint = lines.find((line) => line.startsWith("hint:"));
  if (error >= 0) return `${lines[error]?.slice(7)}${hint === undefined ? "" : ` — ${hint.replace(/^hint: +/, "")}`}`;
  return lines.at(-1) ?? "";
}

/** Whether a file is there and says so. */
export function says(path: string, pattern: RegExp): boolean {
  try {
    return pattern.test(readFileSync(path, "utf8"));
  } catch {
    return false;
  }
}
