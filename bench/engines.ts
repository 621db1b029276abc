/** Sandboxes and engines: what each of them does by default to run `true`, and Podman and Docker over each runtime. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { find, output, pause, startInBackground } from "./machine.ts";
import { type Candidate, type Scenario, step } from "./measuring.ts";
import { untilItRuns } from "./running.ts";
import { each, type Setting, tupper } from "./scenarios.ts";

type Measure = (scenario: Scenario) => Promise<void>;

/** An engine's `run` takes hundreds of milliseconds. */
const RUNS = 10;
const IMAGE = "box";

/** The words before an engine's command; Docker's daemon runs while `measure` is called. */
export async function withEngines(setting: Setting, measure: Measure): Promise<void> {
  const { work, rootfs } = setting;
  const archive = `${work}/rootfs.tar`;
  execFileSync("tar", ["--create", "--exclude=./hidden", "--directory", rootfs, "--file", archive, "."]);
  const docker = await startDocker(setting);
  const podman = podmanWords(setting);
  try {
    if (podman !== undefined) output([...podman(find("runc")), "import", "--quiet", archive, IMAGE]);
    if (docker !== undefined) output([...docker.words, "import", archive, IMAGE]);
    await measure(sandboxes(setting, podman, docker?.words));
    if (podman !== undefined)
      await measure({
        ...engine("podman run --rm `true`, by runtime"),
        candidates: each(setting, ([program = ""]) => ({ steps: [step(...podman(program), ...RUN, IMAGE, "true")] })),
      });
    if (docker !== undefined)
      await measure({
        ...engine("docker run --rm `true`, by runtime"),
        candidates: each(setting, (_program, name) => ({
          steps: [step(...docker.words, ...RUN, `--runtime=${runtimeName(name)}`, IMAGE, "true")],
        })),
      });
  } finally {
    await docker?.end();
    output(["umount", `${work}/podman/storage/overlay`]);
  }
}

/** Their own limits may be above what the machine lets anybody have. */
const RUN = ["run", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"];
const engine = (title: string) => ({ title, group: "engine" as const, runs: RUNS, uncounted: true });

function sandboxes(
  { rootfs, floor }: Setting,
  podman: ((program: string) => string[]) | undefined,
  docker: readonly string[] | undefined,
): Scenario {
  const candidates: [string, string, string[]][] = [
    ["tupper", tupper, [tupper, "run", "--no-tty", rootfs, "true"]],
    [
      "bubblewrap",
      find("bwrap"),
      [find("bwrap"), "--unshare-all", "--bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"],
    ],
    ["unshare", find("unshare"), [find("unshare"), "-muinpCf", `--root=${rootfs}`, "--mount-proc=/proc", "/bin/true"]],
    [
      "systemd-nspawn",
      find("systemd-nspawn"),
      [
        ...[find("systemd-nspawn"), "--quiet", "--register=no", "--keep-unit", "--private-network"],
        ...["--console=pipe", `--directory=${rootfs}`, "/bin/true"],
      ],
    ],
    [
      "podman",
      podman === undefined ? "" : "podman",
      podman === undefined ? [] : [...podman(find("crun")), ...RUN, IMAGE, "true"],
    ],
    ["docker", docker === undefined ? "" : "docker", docker === undefined ? [] : [...docker, ...RUN, IMAGE, "true"]],
    ["floor", floor, [floor, "bench-floor-{}", rootfs, "/bin/true"]],
  ];
  return {
    ...engine("`true` as each does it by default"),
    candidates: candidates
      .filter(([, program]) => program !== "")
      .map(([name, , command]): Candidate => ({ name, steps: [step(...command)] })),
  };
}

function podmanWords({ work }: Setting): ((program: string) => string[]) | undefined {
  const podman = find("podman");
  if (podman === "") return undefined;
  mkdirSync(`${work}/podman`);
  return (program) => [
    ...[podman, `--root=${work}/podman/storage`, "--runroot=/run/bench-storage", "--tmpdir=/run/bench-podman"],
    ...["--cgroup-manager=cgroupfs", "--events-backend=none", `--runtime=${program}`],
  ];
}

/** Docker wants names of runtimes without spaces. */
const runtimeName = (name: string): string => name.replace(" ", "-");

async function startDocker({ work, programs }: Setting) {
  const [client, daemon] = ["/usr/bin/docker", find("dockerd")];
  if (daemon === "" || output([client, "--version"]).code !== 0) return undefined;
  const directory = `${work}/docker`;
  mkdirSync(directory);
  const configFile = `${directory}/daemon.json`;
  const runtimes = Object.fromEntries(Object.entries(programs).map(([name, path]) => [runtimeName(name), { path }]));
  writeFileSync(configFile, JSON.stringify({ runtimes }));
  const socket = `unix://${directory}/docker.sock`;
  const words = [client, "--host", socket];
  const { child, ended } = startInBackground([
    daemon,
    ...[`--config-file=${configFile}`, `--data-root=${directory}/data`, "--exec-root=/run/bench-docker"],
    ...["--pidfile=/run/bench-docker.pid", `--host=${socket}`, "--oom-score-adjust=0"],
    ...["--iptables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none"],
  ]);
  const end = async () => {
    child.kill("SIGTERM");
    await Promise.race([ended, pause(20_000)]);
  };
  try {
    await untilItRuns([...words, "version"]);
    return { words, end };
  } catch (error) {
    await end();
    console.error(`bench: dockerd: ${error instanceof Error ? error.message.trim() : error}`);
    return undefined;
  }
}
