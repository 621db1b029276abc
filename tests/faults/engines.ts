/**
 * podman and docker with runc, started for the faults alone: storage, sockets and records in directories of the run. Where one is not
 * installed it is left out.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ENGINE_WORDS, IMAGE } from "./engine-words.ts";
import { type Fault, type Saying, sayingOf } from "./fault.ts";

export interface Engine {
  name: string;
  /** Runs into the fault; undefined where its command line cannot express that. */
  meet(fault: Fault): Saying | undefined;
  end(): Promise<void>;
}

const FLAGS = ["--rm", "--network=none"];

/** `words`: the engine, up to its command. */
function engine(name: string, words: readonly string[], base: string, end: () => Promise<void>): Engine {
  const [program = "", ...globals] = words;
  let runs = 0;
  return {
    name,
    meet(fault) {
      const wordsOf = ENGINE_WORDS[fault.name];
      if (wordsOf === undefined) return undefined;
      const own = join(base, `${name}-${++runs}`);
      mkdirSync(own, { recursive: true });
      const asked = wordsOf({ rootfs: join(base, "rootfs"), own });
      const network = asked.some((word) => word.startsWith("--network")) ? FLAGS.slice(0, 1) : FLAGS;
      const { stderr, stdout, status } = spawnSync(program, [...globals, "run", ...network, ...asked], {
        cwd: "/",
        input: "",
        encoding: "utf8",
        timeout: 60_000,
        env: { ...process.env, HOME: base },
      });
      rmSync(own, { recursive: true, force: true });
      const text = (stderr + stdout)
        .replaceAll(own, "OWN")
        .replaceAll(base, "BASE")
        .replace(/[0-9a-f]{64}/g, "ID");
      return sayingOf(fault, text, status);
    },
    end,
  };
}

const isInstalled = (program: string): boolean => spawnSync(program, ["--version"]).status === 0;

function mustRun(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
}

export async function startEngines(base: string): Promise<Engine[]> {
  const archive = join(base, "rootfs.tar");
  mustRun("tar", "--create", "--xattrs", "--directory", join(base, "rootfs"), "--file", archive, ".");
  const engines: Engine[] = [];
  if (isInstalled("podman")) engines.push(startPodman(base, archive));
  if (isInstalled("dockerd")) engines.push(await startDocker(base, archive));
  return engines;
}

function startPodman(base: string, archive: string): Engine {
  const words = [
    ...["podman", `--root=${base}/storage`, `--runroot=${base}/runroot`, `--tmpdir=${base}/libpod`],
    ...["--cgroup-manager=cgroupfs", "--events-backend=none", "--runtime=runc", "--log-level=error"],
  ];
  mustRun(words[0] ?? "", ...words.slice(1), "import", "--quiet", archive, IMAGE);
  return engine("podman", words, base, async () => {});
}

async function startDocker(base: string, archive: string): Promise<Engine> {
  const socket = `unix://${base}/docker.sock`;
  const log = openSync(join(base, "dockerd.log"), "w");
  const flags = {
    "config-file": join(base, "no-daemon.json"),
    "data-root": join(base, "docker"),
    "exec-root": join(base, "exec"),
    pidfile: join(base, "docker.pid"),
    host: socket,
    bridge: "none",
    iptables: "false",
    "oom-score-adjust": "0", // a lower one takes CAP_SYS_RESOURCE
  };
  mustRun("sh", "-c", `echo '{}' >${flags["config-file"]}`);
  const daemon = spawn(
    "dockerd",
    Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
    { stdio: ["ignore", log, log] },
  );
  const words = ["docker", "--host", socket];
  const isReady = () => spawnSync("docker", [...words.slice(1), "version"]).status === 0;
  for (let left = 300; !isReady(); left--) {
    if (left === 0 || daemon.exitCode !== null)
      throw new Error(`dockerd: ${readFileSync(join(base, "dockerd.log"), "utf8")}`);
    await sleep(100);
  }
  mustRun("docker", ...words.slice(1), "import", archive, IMAGE);
  return engine("docker", words, base, () => endOf(daemon));
}

/** What the engines leave mounted below the directory, the last first. */
export function unmountBelow(base: string): void {
  const points = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((point) => point.startsWith(`${base}/`));
  for (const point of points.reverse()) spawnSync("umount", ["-l", point]);
}

async function endOf(daemon: ChildProcess): Promise<void> {
  daemon.kill("SIGTERM");
  for (let left = 100; left > 0 && daemon.exitCode === null && daemon.signalCode === null; left--) await sleep(100);
  daemon.kill("SIGKILL");
}
