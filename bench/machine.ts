/** The machine that is measured on: what it is, and a view of it that all runtimes understand. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { cpus, hostname, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
export const isRoot = process.geteuid?.() === 0;

/** Runs a command to its end. */
export function output([file = "", ...args]: readonly string[], cwd = repository, timeout = 60_000) {
  const { status, stdout, stderr, error } = spawnSync(file, args, { cwd, encoding: "utf8", timeout });
  return { code: status ?? -1, stdout: stdout ?? "", stderr: `${stderr ?? ""}${error?.message ?? ""}` };
}

/** `stderr`: what it says is shown. Whoever has a pipe of ours would keep us waiting for its end, so it is never one. */
export function startInBackground([file = "", ...args]: readonly string[], stderr: "ignore" | "inherit" = "ignore") {
  const child = spawn(file, args, { stdio: ["ignore", "ignore", stderr] });
  return { child, ended: new Promise((resolve) => child.on("exit", resolve).on("error", resolve)) };
}

/** A program's path, or "" where it is not installed. */
export function find(name: string): string {
  const directories = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
  return directories.map((directory) => `${directory}/${name}`).find((path) => existsSync(path)) ?? "";
}

/**
 * Starts this program again in a mount namespace of its own: what it mounts there ends with it, however it ends. Where v1
 * hierarchies have a v2 tree beside them, that is out of sight there: crun refuses a v2 tree that has a controller, and all
 * shall have the same groups to make.
 */
export async function enterOwnMountNamespace(): Promise<void> {
  const MARK = "TUPPER_BENCH_MOUNTS";
  if (process.env[MARK] !== undefined) {
    if (cgroupLayout() === "hybrid") execFileSync("umount", ["/sys/fs/cgroup/unified"]);
    return;
  }
  const args = ["--mount", "--propagation", "private", process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn("unshare", args, { stdio: "inherit", env: { ...process.env, [MARK]: "own" } });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  process.exit(await new Promise<number>((resolve) => child.on("exit", (code) => resolve(code ?? 1))));
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
  /** Programs' names and what their `--version` says first. */
  peers: Record<string, string>;
  /** Bytes of each program's file, without the libraries it loads. */
  programBytes: Record<string, number>;
  /** Running and runnable processes of the last minute: above the number of processors the figures are of no use. */
  loadBefore: string;
}

/** `programs`: names and paths of those that are installed. */
export function describeMachine(programs: Readonly<Record<string, string>>): Machine {
  const processors = cpus();
  const changed = output(["git", "status", "--porcelain", "--", "src", "host", "scripts"]).stdout !== "";
  const commit = output(["git", "rev-parse", "--short", "HEAD"]).stdout.trim();
  const entries = Object.entries(programs).filter(([name]) => name !== "tupper");
  return {
    host: hostname(),
    processor: processors[0]?.model.trim() ?? "unknown",
    processors: processors.length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    system: /^PRETTY_NAME="(.*)"$/m.exec(readIfThere("/etc/os-release") ?? "")?.[1] ?? "unknown",
    cgroups: cgroupLayout(),
    tupper: `${commit}${changed ? " with changes" : ""}`,
    peers: Object.fromEntries(
      entries.map(([name, path]) => [name, output([path, "--version"]).stdout.split("\n")[0] ?? ""]),
    ),
    programBytes: Object.fromEntries(
      Object.entries(programs).map(([name, path]) => [name, statSync(path).size] as const),
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

export function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
