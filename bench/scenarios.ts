/** What is measured of runtimes that start with nothing there: commands that do the same thing with each of them. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { compileProfile, DEFAULT_PROFILE } from "../src/plan/seccomp/profile-program.ts";
import {
  type BundleConfig,
  inNetwork,
  MOUNTS,
  makeBundle,
  makeRootfs,
  rootless,
  THOUSAND,
  withDevices,
  withMaskedPaths,
  withMounts,
  withoutNetwork,
  withSeccomp,
  withUserNamespace,
} from "./bundles.ts";
import { output, repository } from "./machine.ts";
import { aside, type Candidate, type Scenario, step } from "./measuring.ts";

/** What the scenarios of a measurement share. */
export interface Setting {
  /** An empty directory that everybody may enter. */
  work: string;
  rootfs: string;
  /** The OCI runtimes: names that head columns, and paths. */
  programs: Readonly<Record<string, string>>;
  /** The built bench/floor.c. */
  floor: string;
}

export const tupper = `${repository}/build/tupper`;

export function makeSetting(work: string, programs: Readonly<Record<string, string>>, floor: string): Setting {
  return { work, rootfs: makeRootfs(`${work}/rootfs`), programs, floor };
}

/** Runtimes' names and the words that begin their commands: two versions of crun must not share their state. */
export const commands = ({ programs }: Pick<Setting, "programs">): [string, string[]][] =>
  Object.entries(programs).map(([name, path]) => [name, [path, "--root", `/run/bench-${name.replace(" ", "-")}`]]);

/** A candidate for each runtime. */
export const each = (
  setting: Pick<Setting, "programs">,
  make: (program: readonly string[], name: string) => Omit<Candidate, "name">,
): Candidate[] => commands(setting).map(([name, program]) => ({ name, ...make(program, name) }));

/** The C program that makes the same container. */
export const floorRun = ({ floor, rootfs }: Setting, ...flags: string[]): Candidate => ({
  name: "floor",
  steps: [step(floor, ...flags, "bench-floor-{}", rootfs, "/bin/true")],
});

export const startUp = (setting: Setting): Scenario => ({
  title: "start-up alone (`--version`)",
  group: "runtime",
  spaced: true,
  candidates: [
    ...each(setting, (program) => ({ steps: [step(program[0] ?? "", "--version")] })),
    { name: "floor", steps: [step("/bin/true")] },
  ],
});

/** The OCI runtime command line: the same bundle for all, as a whole `run` and as an engine calls it. */
export function runtimeScenarios(setting: Setting): Scenario[] {
  const { work, rootfs } = setting;
  const networkFile = `${work}/network`;
  writeFileSync(networkFile, "");
  execFileSync("unshare", [`--net=${networkFile}`, "true"]);
  const filterFile = `${work}/filter`;
  writeFileSync(filterFile, compileProfile(DEFAULT_PROFILE, process.arch === "arm64" ? "aarch64" : "x86_64").program);
  const bundle = (name: string, change?: (config: BundleConfig) => void) =>
    makeBundle(`${work}/bundle-${name}`, rootfs, ["true"], change);
  const run = (title: string, path: string, extra: Partial<Scenario> = {}, ...floors: Candidate[]): Scenario => ({
    title,
    group: "runtime",
    candidates: [
      ...each(setting, (program) => ({ steps: [step(...program, "run", "--bundle", path, "bench-{}")] })),
      ...floors,
    ],
    ...extra,
  });
  const [plain, seccomp] = [bundle("plain"), bundle("seccomp", withSeccomp)];
  const lifecycle = (title: string, path: string, measured: readonly string[], extra: Partial<Scenario> = {}) => ({
    title,
    group: "runtime" as const,
    candidates: each(setting, (program) => {
      const one = (verb: string, ...args: string[]) =>
        measured.includes(verb) ? step(...program, verb, ...args) : aside(...program, verb, ...args);
      // Between start and delete the command must have ended, where that is not part of what is measured.
      const wait = measured.length === 1 ? [aside("@orphans")] : [];
      return {
        steps: [
          one("create", "--bundle", path, "bench-{}"),
          one("start", "bench-{}"),
          ...wait,
          one("delete", "--force", "bench-{}"),
        ],
      };
    }),
    ...extra,
  });
  const many = (parallel: number, count: number): Scenario => {
    const title = `${count} × run \`true\`, ${parallel === 1 ? "one after the other" : `${parallel} at a time`}`;
    const { candidates, ...rest } = run(title, plain, { runs: 4, uncounted: true }, floorRun(setting));
    return { ...rest, candidates: candidates.map((candidate) => ({ ...candidate, times: { count, parallel } })) };
  };
  return [
    run("run `true`", plain, { spaced: true }, floorRun(setting)),
    run("run `true`, default seccomp profile", seccomp, { spaced: true }, floorRun(setting, `seccomp=${filterFile}`)),
    run("run `true`, the machine's network", bundle("no-network", withoutNetwork), {}, floorRun(setting, "no-network")),
    run(
      "run `true`, an existing network namespace",
      bundle("network", inNetwork(networkFile)),
      {},
      floorRun(setting, `network=${networkFile}`),
    ),
    lifecycle("create, start, delete of `true`", plain, ["create", "start", "delete"], { spaced: true }),
    lifecycle("create, start, delete, default seccomp profile", seccomp, ["create", "start", "delete"], {
      spaced: true,
    }),
    lifecycle("create alone", plain, ["create"]),
    lifecycle("start alone", plain, ["start"]),
    lifecycle("delete alone, of a stopped container", plain, ["delete"]),
    killAndDelete(setting),
    many(1, 100),
    many(8, 100),
    run(`run \`true\`, ${MOUNTS} bind mounts more`, bundle("mounts", withMounts), { runs: 20 }),
    run(`run \`true\`, ${THOUSAND} devices more`, bundle("devices", withDevices), { runs: 10 }),
    run(`run \`true\`, ${THOUSAND} masked paths more`, bundle("masked", withMaskedPaths), { runs: 10 }),
    run("run `true`, a user namespace", bundle("user", withUserNamespace(0, 65536))),
    rootlessScenario(setting),
  ];
}

function killAndDelete(setting: Setting): Scenario {
  const { work, rootfs } = setting;
  const bundle = makeBundle(`${work}/bundle-sleep`, rootfs, ["sleep", "3600"]);
  return {
    title: "kill and delete of a running container",
    group: "runtime",
    candidates: each(setting, (program) => ({
      steps: [
        aside(...program, "run", "--detach", "--bundle", bundle, "bench-{}"),
        step(...program, "kill", "bench-{}", "KILL"),
        step("@orphans"),
        step(...program, "delete", "bench-{}"),
      ],
    })),
  };
}

/** As a user without subordinate ids, without control groups. */
function rootlessScenario(setting: Setting): Scenario {
  const { work, rootfs } = setting;
  const uid = 54_321;
  const bundle = makeBundle(`${work}/bundle-rootless`, rootfs, ["true"], rootless(uid));
  const root = `${work}/rootless-state`;
  mkdirSync(root);
  execFileSync("chown", [`${uid}:${uid}`, root]);
  // The checkout may be closed to other users.
  const copy = `${work}/tupper-runtime`;
  copyFileSync(setting.programs.tupper ?? "", copy);
  return {
    title: "run `true`, rootless",
    group: "runtime",
    candidates: each({ ...setting, programs: { ...setting.programs, tupper: copy } }, (program) => ({
      uid,
      steps: [step(program[0] ?? "", "--root", root, "run", "--bundle", bundle, "bench-{}")],
    })),
  };
}

/** `tupper run`, the command line for people, beside runtimes that are given the same finished root. */
export function tupperScenarios(setting: Setting): Scenario[] {
  const { work, rootfs } = setting;
  const stage = `${work}/stage`;
  const memory = `${work}/memory`;
  mkdirSync(stage);
  mkdirSync(memory);
  execFileSync("mount", ["-t", "tmpfs", "tmpfs", memory]);
  const { tupper: _, ...peers } = setting.programs;
  return (["bind", "overlay", "copy"] as const).flatMap((kind) =>
    [false, true].map((seccomp): Scenario => {
      const root = { bind: rootfs, overlay: `${stage}/root`, copy: `${memory}/copy` }[kind];
      const path = `${work}/bundle-${kind}-${seccomp}`;
      const bundle = makeBundle(path, root, ["true"], seccomp ? withSeccomp : undefined);
      return {
        title: `tupper run \`true\`, ${kind} root${seccomp ? ", default seccomp profile" : ""}`,
        group: "tupper",
        ...(kind === "copy" ? { runs: 15 } : {}),
        candidates: [
          { name: "tupper", steps: [step(...tupperRun(rootfs, kind, seccomp, ["true"]))] },
          ...each({ ...setting, programs: peers }, (program): Omit<Candidate, "name"> => {
            const run = step(...program, "run", "--bundle", bundle, "bench-{}");
            if (kind === "copy")
              return { steps: [step("/bin/cp", "-a", rootfs, root), run, step("/bin/rm", "-rf", root)] };
            return { steps: [run], ...(kind === "overlay" ? { overlay: { lower: rootfs, stage } } : {}) };
          }),
        ],
      };
    }),
  );
}

/** What `crun spec` asks for and tupper does not do by default is asked for; it is without a terminal. */
export function tupperRun(
  rootfs: string,
  kind: string,
  seccomp: boolean,
  args: readonly string[],
  name = "",
): string[] {
  return [
    tupper,
    "run",
    ...["--root-kind", kind, "--no-tty", "--ulimit", "nofile=1024:1024", "--security-opt", "no-new-privileges"],
    ...(seccomp ? [] : ["--security-opt", "seccomp=unconfined"]),
    ...(name === "" ? [] : ["--name", name]),
    rootfs,
    ...args,
  ];
}

/** Undoes what the scenarios mounted in the work directory, so that it can be removed. */
export function clearWork(work: string): void {
  for (const name of ["network", "memory"]) output(["umount", `${work}/${name}`]);
  rmSync(work, { recursive: true, force: true });
}
