/**
 * A machine of its own for an engine's daemons (box.ts), with overlays on /etc and /var/lib.
 *
 * Its control groups, named `tupper-box-…`, and its directory are removed at the end of the suite, and then the machine
 * is compared with what it was before. To keep what the daemons said, name a directory in ENGINE_LOGS.
 */
import assert from "node:assert/strict";
import type { ChildProcess, SpawnOptions } from "node:child_process";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before } from "node:test";
import { type Box as MachineBox, makeBox } from "./box.ts";
import { eventually, type Result } from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { fillRootfs } from "./rootfs.ts";

export interface Box {
  /** A directory that is the same inside and outside; HOME and TMPDIR of what runs in the box. */
  directory: string;
  /** A root filesystem of busybox in it. */
  rootfs: string;
  /** Runs a command in the box to its end. */
  run(command: readonly string[], options?: RunOptions): Promise<Result>;
  /** What is left of containers in the box: records of runtimes, control groups, root filesystems. */
  leftovers(): Promise<string[]>;
  /** Starts a command in the box that the end of the box ends, and waits until `isReady`; what it printed is told when that never comes. */
  daemon(command: readonly string[], isReady: () => Promise<boolean>): Promise<void>;
}

export interface RunOptions {
  input?: string;
  timeoutMs?: number;
  env?: NodeJS.ProcessEnv;
}

/** runc and tupper call their records alike; engines name groups by ids of 64 digits, containerd by its namespace. Podman leaves those of pods. */
const LEFTOVERS = `find /run -name state.json
find /sys/fs/cgroup -mindepth 2 -type d | grep -E '/(docker/|libpod-)[0-9a-f]{64}|/default/'
grep -E ' /[^ ]*/(merged|rootfs) ' /proc/mounts`;

/** A suite may have several boxes: the machine is looked at before the first is made and after the last has ended. */
let openBoxes = 0;
let machine = new Set<string>();

/** Once per suite: made before its tests, ended after them. `prepare` starts what the tests talk to. */
export function engineBox(skip: string | false, prepare: () => Promise<void>): Box {
  let machineBox: MachineBox | undefined;
  const spawn = (command: readonly string[], options: SpawnOptions) => {
    assert.ok(machineBox !== undefined, "the box is made before the first test");
    return machineBox.spawn(command, options);
  };
  const environment = () => ({ ...process.env, HOME: box.directory, TMPDIR: box.directory });
  const box: Box = {
    directory: "",
    rootfs: "",
    run: (command, { input = "", timeoutMs = 60_000, env = {} } = {}) => {
      const child = spawn(command, { env: { ...environment(), ...env }, stdio: "pipe" });
      return endOf(child, command, input, timeoutMs);
    },
    leftovers: async () => {
      const { stdout } = await box.run(["sh", "-c", LEFTOVERS]);
      return stdout.split("\n").filter((line) => line !== "");
    },
    daemon: async (command, isReady) => {
      const log = join(box.directory, `${basename(command[0] ?? "")}.log`);
      const file = openSync(log, "w");
      spawn(command, { env: environment(), stdio: ["ignore", file, file] }).unref();
      closeSync(file);
      await eventually(`${command.join(" ")} answers`, isReady, 20_000).catch((error) =>
        assert.fail(`${error}\n${readFileSync(log, "utf8")}`),
      );
    },
  };
  const make = async () => {
    box.directory = mkdtempSync(join(tmpdir(), "tupper-box-"));
    chmodSync(box.directory, 0o755);
    box.rootfs = join(box.directory, "rootfs");
    mkdirSync(box.rootfs);
    fillRootfs(box.rootfs, { "mnt/": "" });
    machineBox = await makeBox({ name: basename(box.directory), overlays: ["etc", "var/lib"] });
  };
  const end = async () => {
    const { ENGINE_LOGS: logs } = process.env;
    if (logs !== undefined)
      for (const log of readdirSync(box.directory).filter((name) => name.endsWith(".log")))
        copyFileSync(join(box.directory, log), join(logs, log));
    await machineBox?.end();
    rmSync(box.directory, { recursive: true, force: true });
  };
  before(async () => {
    if (skip !== false) return;
    if (openBoxes++ === 0) machine = snapshot();
    try {
      await make();
      await prepare();
    } catch (error) {
      openBoxes--;
      await end(); // `after` is not called when `before` has failed
      throw error;
    }
  });
  after(async () => {
    if (skip !== false) return;
    await end();
    if (--openBoxes > 0) return;
    const left = () => [...snapshot()].filter((thing) => !machine.has(thing));
    await eventually("nothing is left", () => left().length === 0).catch(() => assert.deepEqual(left(), []));
  });
  return box;
}

function endOf(child: ChildProcess, command: readonly string[], input: string, timeoutMs: number): Promise<Result> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin?.on("error", () => {}); // it may end without having read all
  child.stdin?.end(input);
  return new Promise((done, failed) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      failed(
        new Error(`${command.join(" ")} did not end within ${timeoutMs} ms\nstdout: ${stdout}\nstderr: ${stderr}`),
      );
    }, timeoutMs);
    child.on("error", failed);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      done({ stdout, stderr, code, signal });
    });
  });
}
