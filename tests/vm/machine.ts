/**
 * A virtual machine that runs one job and is gone.
 *
 * Booting takes seconds to minutes without KVM, so each machine is booted once up to the point where its agent waits for a
 * job, and then saved; every run wakes a copy of that up. What went in is in the names of the cache: kernel and root
 * filesystem, their build scripts, qemu's version and arguments.
 */
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { cached, contentsOf, keyOf } from "./cache.ts";
import type { Machine } from "./places.ts";
import { type Disk, MACHINE_ARGUMENTS, type Qemu, startQemu } from "./qemu.ts";
import { makeTemporary } from "./temporary.ts";

const here = import.meta.dirname;
const file = (name: string) => join(here, name);
/** The disk with the job has always this size: a saved machine remembers it. */
export const PAYLOAD_BYTES = 512 << 20;
const BOOT_LIMIT_MS = 900_000;

export interface Job {
  /** A filesystem image of PAYLOAD_BYTES with the program `job`. */
  payload: string;
  /** The job is given up when nothing came of it for so long. */
  silenceMs: number;
  onOutput(text: string): void;
  onErrorOutput(text: string): void;
}

export interface Outcome {
  /** The job's exit code, undefined when it came to none. */
  code: number | undefined;
  /** Why there is none. */
  failure?: string;
  /** The kernel's log. */
  log: string;
}

/** Wakes a copy of this machine up and runs the job there. */
export async function runJob(machine: Machine, job: Job): Promise<Outcome> {
  const saved = await savedMachine(machine);
  return inDirectory(async (directory) => {
    const qemu = await startQemu({
      directory,
      ...saved.boot,
      disks: disksOf(saved, { root: join(saved.state, "root.qcow2"), payload: job.payload, temporary: true }),
      incoming: join(saved.state, "memory"),
    });
    endWithUs(qemu);
    const limit = timer(job.silenceMs);
    try {
      const outcome = await Promise.race([
        perform(qemu, job, limit.again),
        qemu.ended.then(() => ({ code: undefined, failure: "the virtual machine ended before its job did" })),
        limit.over.then(() => ({ code: undefined, failure: `nothing came of the job for ${job.silenceMs / 1000} s` })),
      ]);
      return { ...outcome, log: qemu.log() };
    } finally {
      limit.stop();
      await qemu.kill();
    }
  });
}

/** However we end, qemu ends: the watcher's stdin closes with us. */
function endWithUs({ pid }: Qemu): void {
  const script = `cat >/dev/null; case $(cat /proc/${pid}/comm 2>/dev/null) in qemu*) kill -9 ${pid} ;; esac`;
  const watcher = spawn("sh", ["-c", script], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  watcher.unref();
  (watcher.stdin as Socket).unref();
}

async function perform(qemu: Qemu, job: Job, heard: () => void): Promise<{ code: number }> {
  const token = randomBytes(8).toString("hex");
  const [control, out, err] = await Promise.all([qemu.channel("control"), qemu.channel("out"), qemu.channel("err")]);
  const ends = [untilToken(out, token, job.onOutput), untilToken(err, token, job.onErrorOutput)];
  for (const socket of [out, err]) socket.on("data", heard);
  control.write(`go ${(Date.now() / 1000).toFixed(3)} ${token}\n`);
  const [code = 0] = await Promise.all(ends);
  return { code };
}

/** Hands on what comes until the agent says that the job has ended; its exit code. */
function untilToken(socket: Socket, token: string, hand: (text: string) => void): Promise<number> {
  return new Promise((done) => {
    let held = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      held += chunk;
      const end = new RegExp(`\x1e${token} (\\d+)\n`).exec(held);
      const ready = end === null ? held.lastIndexOf("\n") + 1 : end.index;
      if (ready > 0) hand(held.slice(0, ready));
      held = held.slice(ready);
      if (end !== null) done(Number(end[1]));
    });
  });
}

interface Saved {
  boot: { kernel: string; initrd: string; append: string };
  modules: string;
  root: string;
  /** Holds `memory` and `root.qcow2`. */
  state: string;
}

async function savedMachine(machine: Machine): Promise<Saved> {
  const { kernel, init } = machine;
  const shared = contentsOf(file("apt-sources.sh"));
  const kernelKey = keyOf(kernel, ...shared, ...contentsOf(file("build-kernel.sh")));
  const kernelDirectory = await cached(`kernel-${kernel}`, kernelKey, (out) => build("build-kernel.sh", kernel, out));
  const rootInputs = contentsOf(file("build-debian.sh"), file("debian-packages.txt"));
  const rootKey = keyOf(process.version, ...shared, ...rootInputs);
  const rootDirectory = await cached("debian", rootKey, (out) => build("build-debian.sh", "trixie", out));
  const append = init === "plain" ? "TUPPER_INIT=/usr/lib/tupper-vm/plain-init.sh" : "systemd.show_status=false";
  const version = execFileSync("qemu-system-x86_64", ["--version"], { encoding: "utf8" });
  const guest = contentsOf(...GUEST_FILES.map((name) => file(`guest/${name}`)), file("qemu.ts"));
  const stateKey = keyOf(kernelKey, rootKey, version, append, ...MACHINE_ARGUMENTS, ...guest);
  const savedAt = (state: string): Saved => ({
    boot: { kernel: join(kernelDirectory, "vmlinuz"), initrd: join(state, "initrd"), append },
    modules: join(kernelDirectory, "modules.ext4"),
    root: join(rootDirectory, "root.ext4"),
    state,
  });
  const state = await cached(`state-${init}-${kernel}`, stateKey, async (out) => {
    execFileSync("sh", ["-c", PACK_INITRD, "sh", here, join(kernelDirectory, "modules.cpio"), join(out, "initrd")]);
    await bootAndSave(savedAt(out));
  });
  return savedAt(state);
}

const GUEST_FILES = ["agent.sh", "initramfs-init.sh", "plain-init.sh", "tupper-agent.service"];

/** The kernel unpacks archives one after the other: the one with the modules, then ours. */
const PACK_INITRD = `set -e
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/guest"
cp "$1"/guest/*.sh "$1/guest/tupper-agent.service" "$work/guest/"
chmod 755 "$work"/guest/*.sh
cp "$work/guest/initramfs-init.sh" "$work/init"
cp "$2" "$3"
cd "$work"
find . | busybox cpio -o -H newc 2>/dev/null >>"$3"`;

function build(script: string, suite: string, out: string): void {
  progress(`building ${script.replace(/^build-|\.sh$/g, "")} of ${suite}`);
  execFileSync("sh", [file(script), suite, out], { stdio: ["ignore", "ignore", "inherit"], timeout: 900_000 });
}

async function bootAndSave(saved: Saved): Promise<void> {
  progress(`booting ${saved.boot.append.includes("plain") ? "without" : "with"} systemd, to save the machine`);
  const root = join(saved.state, "root.qcow2");
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", saved.root, root]);
  await inDirectory(async (directory) => {
    const payload = join(directory, "empty");
    writeFileSync(payload, "");
    truncateSync(payload, PAYLOAD_BYTES);
    const disks = disksOf(saved, { root, payload, temporary: false });
    const qemu = await startQemu({ directory, ...saved.boot, disks });
    endWithUs(qemu);
    const limit = timer(BOOT_LIMIT_MS);
    try {
      const control = await qemu.channel("control");
      const ready = new Promise<void>((done) => {
        let text = "";
        control.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
          if (text.includes("ready")) done();
        });
      });
      await Promise.race([
        ready,
        Promise.race([qemu.ended, limit.over]).then(() => {
          throw new Error(`the virtual machine did not boot\n${qemu.log()}`);
        }),
      ]);
      await qemu.save(join(saved.state, "memory"));
      writeFileSync(join(saved.state, "boot.log"), qemu.log());
    } finally {
      limit.stop();
      await qemu.kill();
    }
  });
  progress(`saved: ${statSync(join(saved.state, "memory")).size >> 20} MiB of memory`);
}

const disksOf = (
  { modules }: Saved,
  { root, payload, temporary }: { root: string; payload: string; temporary: boolean },
): Disk[] => [
  { name: "root", file: root, format: "qcow2", temporary },
  { name: "modules", file: modules, format: "raw", temporary: true },
  { name: "payload", file: payload, format: "raw", temporary: true },
];

function timer(milliseconds: number): { over: Promise<void>; again(): void; stop(): void } {
  let running: NodeJS.Timeout | undefined;
  const over = new Promise<void>((done) => {
    running = setTimeout(done, milliseconds);
  });
  return { over, again: () => running?.refresh(), stop: () => clearTimeout(running) };
}

async function inDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const { path, remove } = makeTemporary("tupper-vm-");
  try {
    return await work(path);
  } finally {
    remove();
  }
}

const startedAt = Date.now();

/** To the person who waits. */
export function progress(text: string): void {
  process.stderr.write(`vm: ${((Date.now() - startedAt) / 1000).toFixed(1)} s: ${text}\n`);
}
