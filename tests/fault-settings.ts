/**
 * Commands that are to stand faults, in other settings than those of fault-trials.ts: hooks, a user namespace, an agent, CRIU, systemd.
 * In the gate each has the faults that were found, with TUPPER_TORTURE all.
 */
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import type { Config } from "../src/spec/config.ts";
import { runtime } from "./bundle.ts";
import { hasStatus, reported, rt, type Trial, type Verb } from "./fault-trials.ts";
import { atEnd, output } from "./harness.ts";
import { standInCriu } from "./stand-in-criu.ts";
import { StandIn } from "./stand-in-systemd.ts";

const beside = ({ directory }: Trial, name: string): string => join(dirname(directory), name);

/** What a trial has beside it, made once. */
const made = new Map<string, unknown>();
async function once<T>(trial: Trial, make: () => T): Promise<Awaited<T>> {
  if (!made.has(trial.id)) made.set(trial.id, await make());
  return made.get(trial.id) as Awaited<T>;
}

/** Somebody who takes what comes, and says nothing. */
const listen = (trial: Trial, name: string) =>
  once(trial, async () => {
    const server = createServer((client) => client.on("error", () => {}).resume());
    await new Promise<void>((done) => server.listen(beside(trial, name), done));
    atEnd(() => server.close());
  });

function inUserNamespace({ linux, mounts, process }: Config): void {
  linux.namespaces?.push({ type: "user" }, { type: "time" });
  linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  linux.gidMappings = linux.uidMappings;
  linux.timeOffsets = { boottime: { secs: 100, nanosecs: 5 }, monotonic: { secs: 3 } };
  linux.devices = [{ path: "/dev/made", type: "c", major: 1, minor: 5, uid: 1, gid: 2 }];
  delete linux.sysctl;
  process.cwd = "/";
  const { uidMappings, gidMappings } = linux;
  mounts?.push({ destination: "/run", type: "tmpfs", source: "tmpfs" });
  mounts?.push({
    destination: "/home",
    type: "bind",
    source: "/usr/share",
    options: ["rbind", "ro"],
    uidMappings,
    gidMappings,
  });
}

function withHooks(config: Config): void {
  const hook = [{ path: "/bin/sh", args: ["sh", "-c", "cat >/dev/null"] }];
  const startContainer = [{ path: "/bin/true" }];
  config.hooks = {
    prestart: hook,
    createRuntime: hook,
    createContainer: hook,
    startContainer,
    poststart: hook,
    poststop: hook,
  };
}

function withAgent({ linux: { seccomp } }: Config, directory: string): void {
  if (seccomp === undefined) return;
  seccomp.listenerPath = join(directory, "agent");
  seccomp.syscalls?.push({ names: ["mincore"], action: "SCMP_ACT_NOTIFY" });
}

const SLICE = "tupper.slice";
const criuOf = (trial: Trial) => (made.get(trial.id) as ReturnType<typeof standInCriu>).program;
const withoutSeccomp = ({ linux }: Config) => delete linux.seccomp;

export const SETTINGS: readonly Verb[] = [
  {
    name: "create in a user namespace",
    change: inUserNamespace,
    command: ({ id, stays }) => rt("create", "--bundle", stays, id),
    env: () => ({ NOTIFY_SOCKET: "/nowhere/notify" }),
    makes: true,
    succeeded: ({ id }) => hasStatus(id, "created"),
  },
  {
    name: "create with hooks",
    change: withHooks,
    command: ({ id, stays }) => rt("create", "--bundle", stays, id),
    makes: true,
    succeeded: ({ id }) => hasStatus(id, "created"),
  },
  { name: "start with hooks", change: withHooks, before: ["create"], command: ({ id }) => rt("start", id) },
  {
    name: "delete with hooks",
    change: withHooks,
    before: ["create", "start"],
    command: ({ id }) => rt("delete", "--force", id),
  },
  {
    name: "start with an agent",
    change: withAgent,
    before: ["create"],
    ready: (trial) => listen(trial, "agent"),
    command: ({ id }) => rt("start", id),
    succeeded: reported,
  },
  {
    name: "checkpoint",
    before: ["create", "start"],
    ready: (trial) => once(trial, standInCriu),
    command: (trial) => rt("--criu", criuOf(trial), "checkpoint", "--image-path", beside(trial, "images"), trial.id),
    failed: ({ id }) => hasStatus(id, "running"),
  },
  ...(["cgroupfs", "disabled"] as const).map(
    (manager): Verb => ({
      name: `restore by ${manager}`,
      change: withoutSeccomp,
      async ready(trial) {
        await once(trial, standInCriu);
        const images = beside(trial, "images");
        if (existsSync(images)) return;
        await runtime(["run", "--detach", "--bundle", trial.stays, trial.id]);
        await runtime(["--criu", criuOf(trial), "checkpoint", "--image-path", images, trial.id]);
      },
      command(trial) {
        const flags = ["--detach", "--image-path", beside(trial, "images"), "--bundle", trial.stays];
        return rt("--criu", criuOf(trial), "--cgroup-manager", manager, "restore", ...flags, trial.id);
      },
      makes: true,
      succeeded: ({ id }) => hasStatus(id, "running"),
    }),
  ),
  {
    name: "create --systemd-cgroup",
    change({ linux }) {
      linux.cgroupsPath = `${SLICE}:tupper:${linux.cgroupsPath?.slice("/tupper-".length)}`;
    },
    ready: (trial) =>
      once(trial, () => {
        // systemd keeps its slices, and so does what plays it.
        atEnd(() => output("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-name", SLICE, "-delete"));
        return StandIn.start();
      }),
    env: (trial) => (made.get(trial.id) as StandIn | undefined)?.env ?? {},
    flags: ["--systemd-cgroup"],
    command: ({ id, stays }) => rt("--systemd-cgroup", "create", "--bundle", stays, id),
    makes: true,
    async failed(trial) {
      const { units } = made.get(trial.id) as StandIn;
      return units.length === 0 ? undefined : `units: ${units}`;
    },
  },
];
