/**
 * Data: the faults that a command line of `podman run` or `docker run` can express, by name. What stands before IMAGE are flags, after it the command.
 * The image is the root filesystem of the faults.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./fault.ts";

export const IMAGE = "box";

type Words = (place: Place) => readonly string[];

const command =
  (...args: string[]): Words =>
  () => [IMAGE, ...args];

const flags =
  (...words: string[]): Words =>
  () => [...words, IMAGE, "true"];

const bind = (source: string, destination: string): Words =>
  flags("--mount", `type=bind,source=${source},destination=${destination}`);

function profile({ own }: Place, seccomp: object): string {
  const path = join(own, "seccomp.json");
  writeFileSync(path, JSON.stringify({ architectures: ["SCMP_ARCH_X86_64"], ...seccomp }));
  return `--security-opt=seccomp=${path}`;
}

export const ENGINE_WORDS: Readonly<Record<string, Words>> = {
  "a command that is in no directory of PATH": command("no-such-command"),
  "a command whose name differs in a letter (PATH has `busybox`)": command("bussybox"),
  "a path of which nothing but the last name is missing": command("/bin/no-such"),
  "a path of which a directory is missing": command("/opt/app/bin/server"),
  "a path that goes through a file": command("/etc/passwd/program"),
  "a directory on the way that the user may not enter": () => ["--user=1000:1000", IMAGE, "/srv/closed/program"],
  "a program without its x bit": command("/srv/not-executable"),
  "a program that only root may execute, started by another user": () => ["--user=1000:1000", IMAGE, "/srv/root-only"],
  "a program on a filesystem that is mounted noexec": () => [
    ...["--tmpfs", "/mnt:noexec,mode=755", IMAGE],
    ...["sh", "-c", "cp /bin/busybox /mnt/true && exec /mnt/true"],
  ],
  "a script whose interpreter is not there": command("/srv/missing-interpreter"),
  "a script with DOS line ends": command("/srv/dos-line-ends"),
  "a script whose first line is #! alone": command("/srv/no-interpreter"),
  "a script whose first line is longer than the kernel reads": command("/srv/long-shebang"),
  "a script whose interpreter may not be executed": command("/srv/bad-interpreter"),
  "a script that names itself as its interpreter": command("/srv/loop-interpreter"),
  "a script whose interpreter lacks its loader": command("/srv/script-of-dynamic"),
  "a text file without #!": command("/srv/no-program"),
  "an empty file": command("/srv/empty"),
  "a directory": command("/srv"),
  "a symbolic link that leads nowhere": command("/srv/dangling"),
  "a symbolic link that leads to itself": command("/srv/round"),
  "a program for another architecture": command("/srv/foreign"),
  "a program whose loader is not in the root filesystem": command("/srv/dynamic"),
  "a program of which only the beginning was copied": command("/srv/truncated"),
  "a seccomp profile that forbids execve": (place) => [
    profile(place, {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["execve"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }],
    }),
    IMAGE,
    "true",
  ],
  "a working directory that is a file": flags("--workdir=/etc/passwd"),
  "a bind mount whose source is not there": bind("/nowhere/data", "/mnt"),
  "a bind mount of a file over a directory": bind("/etc/passwd", "/mnt"),
  "a bind mount of a directory over a file": bind("/etc", "/etc/passwd"),
  "a mount point below a file": bind("/etc", "/etc/passwd/etc"),
  "a mount option that the filesystem does not know": flags("--tmpfs", "/mnt:sise=64m"),
  "a mount option whose value is none": flags("--tmpfs", "/mnt:size=lots"),
  "a mount into /proc that would hide the kernel's files": bind("/etc", "/proc/sys/kernel"),
  "a host name without a UTS namespace": flags("--uts=host", "--hostname=box"),
  "a setting of the network without a network namespace": flags("--network=host", "--sysctl=net.ipv4.ip_forward=1"),
  "a setting that the kernel does not have": flags("--sysctl=net.ipv4.no_such=1"),
  "a setting whose value the kernel does not take": flags("--sysctl=net.ipv4.ip_unprivileged_port_start=999999"),
  "processors that the machine does not have": flags("--cpuset-cpus=4000-4001"),
  "memory nodes that the machine does not have": flags("--cpuset-mems=63"),
  "a period of the processor quota that is too short": flags("--cpu-period=10", "--cpu-quota=5000"),
  "a limit of memory and swap that is less than that of memory": flags("--memory=64m", "--memory-swap=32m"),
  "a memory limit that leaves no room for the start": flags("--memory=64k"),
  "a limit of processes that is no number": flags("--pids-limit=many"),
  "a limit of a disk that is not there": flags("--device-read-bps=/dev/nodisk:1kb"),
  "a device rule of a kind that there is not": flags("--device-cgroup-rule=x 1:3 rwm"),
  "a device rule with an access that there is not": flags("--device-cgroup-rule=c 1:3 x"),
  "a soft limit above the hard one": flags("--ulimit=nofile=900:500"),
  "nofile above fs.nr_open": flags("--ulimit=nofile=4000000000:4000000000"),
  "a limit of a name that there is not": flags("--ulimit=nofiles=1:1"),
  "a capability of a name that there is not": flags("--cap-add=NET_ADMN"),
  "a seccomp profile with an action that there is not": (place) => [
    profile(place, { defaultAction: "SCMP_ACT_DENY" }),
    IMAGE,
    "true",
  ],
  "a config with a relative working directory": flags("--workdir=srv"),
  "ended: the memory limit was reached": () => [
    ...["--memory=32m", "--memory-swap=32m", IMAGE],
    ...["sh", "-c", "exec head -c 200m /dev/zero | tail"],
  ],
  "ended: the seccomp filter killed it for a system call": (place) => [
    profile(place, {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL_PROCESS" }],
    }),
    IMAGE,
    "mkdir",
    "/tmp/x",
  ],
};
