/** The machine that is measured on: what it is, what is installed on it, and what is lent from it for the time. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { cpus, hostname, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
export const isRoot = process.geteuid?.() === 0;

/** Runs a command to its end. */
export function output([file = "", ...args]: readonly string[], cwd = repository) {
  const { status, stdout, stderr, error } = spawnSync(file, args, { cwd, encoding: "utf8" });
  return { code: status ?? -1, stdout: stdout ?? "", stderr: `${stderr ?? ""}${error?.message ?? ""}` };
}

export function startInBackground([file = "", ...args]: readonly string[]): { ended: Promise<unknown> } {
  const child = spawn(file, args, { stdio: "ignore" });
  return { ended: new Promise((resolve) => child.on("exit", resolve).on("error", resolve)) };
}

/** A program's path, or "" where it is not installed. */
export function find(name: string): string {
  const directories = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
  return directories.map((directory) => `${directory}/${name}`).find((path) => existsSync(path)) ?? "";
}

/** Installs from Debian what is missing, as root; says what stays missing. */
export function installPeers(): void {
  const packages: Record<string, string> = { crun: "crun", runc: "runc", strace: "strace", busybox: "busybox-static" };
  const missing = Object.keys(packages).filter((program) => find(program) === "");
  if (missing.length === 0) return;
  const wanted = missing.map((program) => packages[program] ?? program);
  if (!isRoot) return console.error(`bench: missing, and only root can install them: ${wanted.join(", ")}`);
  console.error(`bench: installing ${wanted.join(", ")}`);
  execFileSync("apt-get", ["update", "-qq"], { stdio: "inherit" });
  const install = ["install", "-y", "-qq", "--no-install-recommends", ...wanted];
  execFileSync("apt-get", install, { stdio: "inherit", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
}

/** Starts this program again in a mount namespace of its own: what it mounts there ends with it, however it ends. */
export async function enterOwnMountNamespace(): Promise<void> {
  const MARK = "TUPPER_BENCH_MOUNTS";
  if (process.env[MARK] !== undefined) return;
  const args = ["--mount", "--propagation", "private", process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn("unshare", args, { stdio: "inherit", env: { ...process.env, [MARK]: "own" } });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  process.exit(await new Promise<number>((resolve) => child.on("exit", (code) => resolve(code ?? 1))));
}

const HUGETLB = "/sys/fs/cgroup/hugetlb";

/**
 * crun refuses a v2 tree that has a controller beside v1 hierarchies. Where that controller is hugetlb, it is mounted as
 * v1 for the time. Returns the undoing.
 */
export function lendHugetlb(): () => Promise<void> {
  const unified = "/sys/fs/cgroup/unified/cgroup.controllers";
  // Just after another measurement the hierarchy may be unmounted and not yet dissolved: in neither place.
  const offered = readIfThere(unified)?.trim();
  if (cgroupLayout() !== "hybrid" || (offered !== "hugetlb" && offered !== "")) return async () => {};
  const mine = !existsSync(HUGETLB);
  if (mine) mkdirSync(HUGETLB);
  const mount = () => output(["mount", "-t", "cgroup", "-o", "hugetlb", "cgroup", HUGETLB]);
  const mounted = mount();
  if (mounted.code !== 0) console.error(`bench: ${mounted.stderr.trim()}`);
  return async () => {
    if (mounted.code === 0) execFileSync("umount", [HUGETLB]);
    // The kernel gives the controller back to the v2 tree when the hierarchy has no groups any more at umount. Removed
    // groups count for some time: until then the mount is repeated.
    for (let attempt = 0; attempt < 40 && readIfThere(unified)?.trim() !== "hugetlb"; attempt++) {
      await pause(250);
      if (attempt % 4 === 3 && mount().code === 0) execFileSync("umount", [HUGETLB]);
    }
    if (readIfThere(unified)?.trim() !== "hugetlb")
      console.error("bench: hugetlb did not return to the cgroup v2 tree");
    if (mine) rmdirSync(HUGETLB);
  };
}

export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export interface Machine {
  host: string;
  processor: string;
  processors: number;
  memoryMiB: number;
  kernel: string;
  system: string;
  cgroups: string;
  tupper: string;
  tupperBytes: number;
  peers: Record<string, string>;
  /** Running and runnable processes of the last minute: above the number of processors the figures are of no use. */
  loadBefore: string;
}

export function describeMachine(peers: readonly string[]): Machine {
  const processors = cpus();
  const changed = output(["git", "status", "--porcelain", "--", "src", "host", "scripts"]).stdout !== "";
  const commit = output(["git", "rev-parse", "--short", "HEAD"]).stdout.trim();
  return {
    host: hostname(),
    processor: processors[0]?.model.trim() ?? "unknown",
    processors: processors.length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    system: /^PRETTY_NAME="(.*)"$/m.exec(readIfThere("/etc/os-release") ?? "")?.[1] ?? "unknown",
    cgroups: cgroupLayout(),
    tupper: `${commit}${changed ? " with changes" : ""}`,
    tupperBytes: statSync(`${repository}/build/tupper`).size,
    peers: Object.fromEntries(
      peers.map((name) => [name, output([find(name), "--version"]).stdout.split("\n")[0] ?? ""]),
    ),
    loadBefore: readIfThere("/proc/loadavg")?.split(" ")[0] ?? "unknown",
  };
}

function cgroupLayout(): string {
  const mounts = readIfThere("/proc/self/mountinfo") ?? "";
  const v1 = / - cgroup /.test(mounts);
  const v2 = / - cgroup2 /.test(mounts);
  return v1 && v2 ? "hybrid" : v1 ? "v1" : v2 ? "v2" : "none";
}

function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
