/** What tupper is compared with: taken from Debian where it is missing, and what cannot be had is left out with the reason. */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { find, isRoot, output, repository } from "./machine.ts";

/** Programs, and the packages they are in. */
const PACKAGES: Readonly<Record<string, string>> = {
  crun: "crun",
  runc: "runc",
  podman: "podman",
  dockerd: "docker.io",
  bwrap: "bubblewrap",
  unshare: "util-linux",
  "systemd-nspawn": "systemd-container",
  patchelf: "patchelf",
  strace: "strace",
  busybox: "busybox-static",
  "musl-gcc": "musl-tools",
};
/** Where the newest crun is kept from one measurement to the next. */
const CACHE = "/var/cache/tupper-bench";
/** Debian's suites that may have a newer crun, newest first. */
const SUITES = ["sid", "trixie"];

/** Installs from Debian what is missing, as root; says what stays missing. */
export function installPeers(): void {
  const missing = Object.keys(PACKAGES).filter((program) => find(program) === "");
  if (missing.length === 0) return;
  const wanted = missing.map((program) => PACKAGES[program] ?? program);
  if (!isRoot) return console.error(`bench: missing, and only root can install them: ${wanted.join(", ")}`);
  console.error(`bench: installing ${wanted.join(", ")}`);
  // Where no policy forbids it, docker.io would start its daemon.
  const policy = "/usr/sbin/policy-rc.d";
  const mine = !existsSync(policy);
  if (mine) {
    writeFileSync(policy, "#!/bin/sh\nexit 101\n");
    chmodSync(policy, 0o755);
  }
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const stdio = ["ignore", 2, 2] as const;
  try {
    execFileSync("apt-get", ["update", "-qq"], { stdio: [...stdio] });
    const install = ["install", "-y", "-qq", "--no-install-recommends", ...wanted];
    execFileSync("apt-get", install, { stdio: [...stdio], env });
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : error}`);
  } finally {
    if (mine) rmSync(policy, { force: true });
  }
}

/** The newest crun's path, "" where there is none newer than the installed one. */
function newestCrun(): string {
  for (const suite of SUITES) {
    const directory = `${CACHE}/crun-${suite}`;
    const program = `${directory}/crun`;
    if (!existsSync(program) && isRoot) {
      console.error(`bench: fetching crun of Debian ${suite}`);
      rmSync(directory, { recursive: true, force: true });
      mkdirSync(CACHE, { recursive: true });
      const { code, stderr } = output(["sh", `${repository}/bench/peers.sh`, directory, suite], CACHE, 300_000);
      if (code !== 0) console.error(`bench: crun of Debian ${suite}: ${stderr.trim()}`);
    }
    if (existsSync(program) && output([program, "--version"]).code === 0) return program;
  }
  return "";
}

const versionOf = (program: string): string =>
  /(\d+\.\d+(?:\.\d+)?)/.exec(output([program, "--version"]).stdout)?.[1] ?? "?";

/** The OCI runtimes that are there, tupper first: the names that head the columns, and their paths. */
export function runtimes(): Record<string, string> {
  const [crun, newest, runc] = [find("crun"), newestCrun(), find("runc")];
  return {
    tupper: `${repository}/build/tupper-runtime`,
    ...(crun === "" ? {} : { [`crun ${versionOf(crun)}`]: crun }),
    ...(newest === "" ? {} : { [`crun ${versionOf(newest)}`]: newest }),
    ...(runc === "" ? {} : { [`runc ${versionOf(runc)}`]: runc }),
  };
}

/** Our programs in C: small and static, as the host is. */
export function buildProgram(name: string, work: string): string {
  const multiarch = output(["gcc", "-print-multiarch"]).stdout.trim();
  const headers = ["/usr/include", `/usr/include/${multiarch}`].flatMap((directory) => ["-idirafter", directory]);
  const file = `${work}/${name}`;
  execFileSync("musl-gcc", [
    ...["-O2", "-Wall", "-Wextra", "-static", "-s"],
    ...headers,
    `${repository}/bench/${name}.c`,
    "-o",
    file,
  ]);
  return file;
}
