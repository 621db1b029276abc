/**
 * One `qemu-system-x86_64` process, without KVM: started, spoken to, and ended whatever happens.
 *
 * The guest's consoles: the first serial line is the kernel's log (a file), the second says "ready" and takes the command
 * `go` (guest/agent.sh), two virtio ports bring what the job prints. Machines have no network and share no directory.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";

export interface Disk {
  /** What the guest reads in /sys/block/NAME/serial. */
  name: "root" | "modules" | "payload";
  file: string;
  format: "raw" | "qcow2";
  /** What the guest writes is forgotten. */
  temporary: boolean;
}

export interface QemuOptions {
  /** Holds the sockets and the log. */
  directory: string;
  kernel: string;
  initrd: string;
  /** The kernel's command line, besides what every machine gets. */
  append: string;
  disks: readonly Disk[];
  /** Wakes up as it was when `save` wrote this. */
  incoming?: string;
}

export interface Qemu {
  pid: number;
  /** Resolves to the guest's side of a channel. */
  channel(name: "control" | "out" | "err"): Promise<Socket>;
  /** Writes what is in the memory of the guest, which stops, to this file. */
  save(file: string): Promise<void>;
  /** The kernel's log up to now. */
  log(): string;
  /** When the process is gone: a panic, a reboot, or `kill`. */
  ended: Promise<void>;
  kill(): Promise<void>;
}

/**
 * Two processors on one thread: with a thread for each, the guest's kernel sometimes ran into the breakpoint by which it
 * patches its own code ("Oops: int3", seen with qemu 7.2), and the host has no core to spare for the second anyway.
 */
export const MACHINE_ARGUMENTS: readonly string[] = [
  ...["-machine", "pc", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "2048"],
  ...["-nodefaults", "-display", "none", "-no-reboot", "-nic", "none", "-device", "virtio-rng-pci"],
];

const CHANNELS = ["control", "out", "err", "monitor"] as const;
type Channel = (typeof CHANNELS)[number];

export async function startQemu(options: QemuOptions): Promise<Qemu> {
  const { directory, kernel, initrd, append, disks, incoming } = options;
  const sockets = new Map<Channel, Promise<Socket>>();
  const servers = await Promise.all(
    CHANNELS.map(async (name) => {
      const server = createServer();
      sockets.set(
        name,
        once(server, "connection").then(([socket]) => (socket as Socket).on("error", () => {})), // a killed qemu resets it
      );
      server.listen(join(directory, `${name}.sock`));
      await once(server, "listening");
      return server;
    }),
  );
  const socket = (name: Channel) => `socket,id=${name},path=${join(directory, `${name}.sock`)},server=off`;
  const log = join(directory, "console.log");
  const child = spawn(
    "qemu-system-x86_64",
    [
      ...MACHINE_ARGUMENTS,
      ...["-kernel", kernel, "-initrd", initrd],
      ...["-append", `console=ttyS0 quiet panic=1 oops=panic mitigations=off rcupdate.rcu_expedited=1 ${append}`],
      ...["-serial", `file:${log}`, "-chardev", socket("control"), "-serial", "chardev:control"],
      ...["-device", "virtio-serial-pci"],
      ...["-chardev", socket("out"), "-device", "virtserialport,chardev=out,nr=1,name=out"],
      ...["-chardev", socket("err"), "-device", "virtserialport,chardev=err,nr=2,name=err"],
      ...["-chardev", socket("monitor"), "-mon", "chardev=monitor,mode=control"],
      ...disks.flatMap(({ name, file, format, temporary }) => [
        "-drive",
        `id=${name},file=${file},format=${format},if=none,cache=unsafe,snapshot=${temporary ? "on" : "off"}`,
        "-device",
        `virtio-blk-pci,drive=${name},serial=${name}`,
      ]),
      ...(incoming === undefined ? [] : ["-incoming", `exec:cat ${incoming}`]),
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const ended = new Promise<void>((done) => {
    child.on("error", (error) => {
      complaint += `${error.message}\n`;
      done();
    });
    child.on("exit", () => done());
  });
  const killOnExit = () => child.kill("SIGKILL");
  process.on("exit", killOnExit);
  const kill = async () => {
    child.kill("SIGKILL");
    await ended;
    process.off("exit", killOnExit);
    for (const server of servers) server.close();
    for (const socket of sockets.values()) socket.then((open) => open.destroy()).catch(() => {});
  };
  const readLog = () => {
    try {
      return `${readFileSync(log, "utf8")}${complaint}`;
    } catch {
      return complaint;
    }
  };
  const channel = (name: Channel): Promise<Socket> =>
    Promise.race([
      sockets.get(name) as Promise<Socket>,
      ended.then(() => {
        throw new Error(`the virtual machine ended\n${readLog()}`);
      }),
    ]);
  return {
    pid: pidOf(child),
    channel,
    save: async (file) => saveState(await channel("monitor"), file),
    log: readLog,
    ended,
    kill,
  };
}

const pidOf = (child: ChildProcess): number => child.pid ?? 0;

/** QEMU Machine Protocol: a greeting, then a JSON object a line each way. */
async function saveState(monitor: Socket, file: string): Promise<void> {
  const lines: string[] = [];
  let text = "";
  monitor.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
    const parts = text.split("\n");
    text = parts.pop() ?? "";
    lines.push(...parts);
    monitor.emit("lines");
  });
  const execute = async (command: object): Promise<unknown> => {
    monitor.write(`${JSON.stringify(command)}\n`);
    for (;;) {
      while (lines.length === 0) await once(monitor, "lines");
      const answer = JSON.parse(lines.shift() ?? "") as { return?: unknown; error?: { desc: string } };
      if (answer.error !== undefined) throw new Error(`qemu: ${answer.error.desc}`);
      if (answer.return !== undefined) return answer.return; // others are the greeting and events
    }
  };
  await execute({ execute: "qmp_capabilities" });
  // Not stopped before: a machine wakes up as it went to sleep.
  const limits = { "max-bandwidth": 4_000_000_000, "downtime-limit": 60_000 };
  await execute({ execute: "migrate-set-parameters", arguments: limits });
  await execute({ execute: "migrate", arguments: { uri: `exec:cat >${file}` } });
  for (;;) {
    const { status, "error-desc": error } = (await execute({ execute: "query-migrate" })) as Record<string, string>;
    if (status === "completed") return;
    if (status === "failed" || status === "cancelled") throw new Error(`qemu cannot save the machine: ${error}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
