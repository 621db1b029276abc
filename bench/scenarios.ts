/** What is measured: commands that do the same thing with each runtime. */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { DEFAULT_CAPABILITIES } from "../src/plan/seccomp/default-profile.ts";
import { DEFAULT_PROFILE } from "../src/plan/seccomp/profile-program.ts";
import { find, output, pause, repository, startInBackground } from "./machine.ts";

export interface Candidate {
  /** Column of the table: `tupper`, `crun`, `runc`, `true`. */
  name: string;
  command: string[];
  /** Commands that follow it, measured with it as one. */
  sequel?: string[][];
  /** The measuring program mounts this overlay before the command and takes it away after, within the measured time. */
  overlay?: { lower: string; stage: string };
}

export interface Scenario {
  title: string;
  candidates: Candidate[];
}

const tupper = `${repository}/build/tupper`;
const runtime = `${repository}/build/tupper-runtime`;

/** `peers`: names of those of crun and runc that are installed. `work`: an empty directory. */
export function startUpScenario(peers: readonly string[]): Scenario {
  return {
    title: "start-up alone (`--version`)",
    candidates: [
      { name: "tupper", command: [runtime, "--version"] },
      ...peers.map((name) => ({ name, command: [find(name), "--version"] })),
      { name: "true", command: ["/bin/true"] },
    ],
  };
}

/** `true` of busybox, as a bind mounted root and as a copy-on-write one, without and with the default seccomp profile. */
export function runScenarios(peers: readonly string[], work: string): Scenario[] {
  const rootfs = makeRootfs(`${work}/rootfs`);
  const stage = `${work}/stage`;
  mkdirSync(stage);
  return [false, true].flatMap((seccomp) =>
    (["bind", "overlay"] as const).map((kind): Scenario => {
      const root = kind === "bind" ? rootfs : `${stage}/root`;
      return {
        title: `run \`true\`, ${kind} root, ${seccomp ? "default seccomp profile" : "no seccomp"}`,
        candidates: [
          { name: "tupper", command: tupperRun(rootfs, kind, seccomp, [], ["true"]) },
          ...peers.map((name): Candidate => {
            const bundle = makeBundle(`${work}/${name}-${kind}-${seccomp}`, root, seccomp, ["true"]);
            const command = [find(name), "run", "--bundle", bundle, `bench-${name}`];
            return kind === "bind" ? { name, command } : { name, command, overlay: { lower: rootfs, stage } };
          }),
        ],
      };
    }),
  );
}

const RUNTIMES: Readonly<Record<string, string>> = { tupper: runtime };

/** The OCI runtime command line: the same bundle for all, as a whole `run` and as an engine calls it. */
export function runtimeScenarios(peers: readonly string[], work: string): Scenario[] {
  const rootfs = makeRootfs(`${work}/runtime-rootfs`);
  return [false, true].flatMap((seccomp): Scenario[] => {
    const bundle = makeBundle(`${work}/runtime-${seccomp}`, rootfs, seccomp, ["true"]);
    const profile = seccomp ? "default seccomp profile" : "no seccomp";
    const programs = ["tupper", ...peers].map((name) => ({ name, program: RUNTIMES[name] ?? find(name) }));
    return [
      {
        title: `OCI run \`true\`, ${profile}`,
        candidates: programs.map(({ name, program }) => ({
          name,
          command: [program, "run", "--bundle", bundle, `bench-${name}`],
        })),
      },
      {
        title: `OCI create, start, delete of \`true\`, ${profile}`,
        candidates: programs.map(({ name, program }) => ({
          name,
          command: [program, "create", "--bundle", bundle, `bench-${name}`],
          sequel: [
            [program, "start", `bench-${name}`],
            [program, "delete", "--force", `bench-${name}`],
          ],
        })),
      },
    ];
  });
}

/** What is asked of containers that are there already: 100 of them that sleep. Calls `measure` while they do. */
export async function withRunningScenarios(
  peers: readonly string[],
  work: string,
  measure: (scenario: Scenario) => Promise<void>,
): Promise<void> {
  const bundle = makeBundle(`${work}/running`, makeRootfs(`${work}/running-rootfs`), true, ["sleep", "3600"]);
  const programs = ["tupper", ...peers].map((name) => ({ name, program: RUNTIMES[name] ?? find(name) }));
  const ids = Array.from({ length: 100 }, (_, i) => `bench-${process.pid}-${i}`);
  const [id = ""] = ids;
  try {
    for (const { program } of programs)
      for (const each of ids) startInBackground([program, "run", "--detach", "--bundle", bundle, each]);
    for (const { program } of programs) await untilItRuns([program, "exec", ids.at(-1) ?? "", "true"]);
    const of = (title: string, args: string[]): Scenario => ({
      title,
      candidates: programs.map(({ name, program }) => ({ name, command: [program, ...args] })),
    });
    await measure(of("OCI exec `true`, default seccomp profile", ["exec", id, "true"]));
    await measure(of("OCI state", ["state", id]));
    await measure(of("OCI list of 100", ["list"]));
  } finally {
    for (const { program } of programs) for (const each of ids) output([program, "delete", "--force", each]);
  }
}

/** `true` in a container that runs `sleep`. Calls `measure` while the containers are there. */
export async function withExecScenario(
  peers: readonly string[],
  work: string,
  measure: (scenario: Scenario) => Promise<void>,
): Promise<void> {
  const name = `bench-exec-${process.pid}`;
  const sleep = ["sleep", "3600"];
  const rootfs = makeRootfs(`${work}/exec-rootfs`);
  const runner = startInBackground(tupperRun(rootfs, "bind", true, ["--name", name], sleep));
  const started: string[] = [];
  try {
    for (const peer of peers) {
      const bundle = makeBundle(`${work}/${peer}-exec`, rootfs, true, sleep);
      startInBackground([find(peer), "run", "--detach", "--bundle", bundle, `${name}-${peer}`]);
      started.push(peer);
    }
    await untilItRuns([tupper, "exec", name, "true"]);
    for (const peer of peers) await untilItRuns([find(peer), "exec", `${name}-${peer}`, "true"]);
    await measure({
      title: "exec `true` in a running container, default seccomp profile",
      candidates: [
        { name: "tupper", command: [tupper, "exec", "--no-tty", name, "true"] },
        ...peers.map((peer) => ({ name: peer, command: [find(peer), "exec", `${name}-${peer}`, "true"] })),
      ],
    });
  } finally {
    for (const peer of started) output([find(peer), "delete", "--force", `${name}-${peer}`]);
    output([tupper, "kill", name]);
    await runner.ended;
  }
}

async function untilItRuns(command: string[]): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const result = output(command);
    if (result.code === 0) return;
    if (attempt === 50) throw new Error(`${command.join(" ")}: exit ${result.code}\n${result.stderr}`);
    await pause(100);
  }
}

function tupperRun(rootfs: string, kind: string, seccomp: boolean, flags: string[], args: string[]): string[] {
  return [
    tupper,
    "run",
    ...["--root-kind", kind, "--no-tty", "--ulimit", "nofile=1024:1024", "--security-opt", "no-new-privileges"],
    ...(seccomp ? [] : ["--security-opt", "seccomp=unconfined"]),
    ...flags,
    rootfs,
    ...args,
  ];
}

function makeRootfs(path: string): string {
  for (const name of ["bin", "dev", "etc", "proc", "root", "sys", "tmp"])
    mkdirSync(`${path}/${name}`, { recursive: true });
  copyFileSync("/bin/busybox", `${path}/bin/busybox`);
  for (const applet of ["sh", "sleep", "true"]) symlinkSync("busybox", `${path}/bin/${applet}`);
  writeFileSync(`${path}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\n");
  return path;
}

interface BundleConfig {
  process: { terminal: boolean; args: string[]; capabilities: Record<string, readonly string[]> };
  root: { path: string; readonly: boolean };
  linux: { seccomp?: unknown; namespaces: { type: string }[] };
}

/**
 * What `crun spec` gives, with what tupper does by default where that costs time: the 14 capabilities, a root that can be
 * written, a cgroup namespace.
 */
function makeBundle(path: string, root: string, seccomp: boolean, args: string[]): string {
  mkdirSync(path);
  const made = output([find("crun") || find("runc"), "spec"], path);
  if (made.code !== 0) throw new Error(`spec: ${made.stderr}`);
  const config = JSON.parse(output(["cat", "config.json"], path).stdout) as BundleConfig;
  config.process.terminal = false;
  config.process.args = args;
  for (const set of ["bounding", "effective", "permitted"]) config.process.capabilities[set] = DEFAULT_CAPABILITIES;
  for (const set of ["inheritable", "ambient"]) config.process.capabilities[set] = [];
  config.root = { path: root, readonly: false };
  if (!config.linux.namespaces.some(({ type }) => type === "cgroup")) config.linux.namespaces.push({ type: "cgroup" });
  if (seccomp) config.linux.seccomp = DEFAULT_PROFILE;
  writeFileSync(`${path}/config.json`, JSON.stringify(config));
  return path;
}
