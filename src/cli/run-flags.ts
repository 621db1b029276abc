/** The flags of `tupper run`, which `tupper explain run` and `tupper script run` share. */
import { type Command, Option } from "commander";
import { containerId } from "../engine/containers/container-id.ts";
import type { RunOptions } from "../engine/containers/run-options.ts";
import { addSwitch, FixedValue, repeatable } from "./flags.ts";

export type TraceFlag = "off" | "steps" | "syscalls";

type Flag = readonly [kind: "value" | "list" | "switch", flags: string, description: string];

const GROUPS: readonly (readonly [heading: string, flags: readonly Flag[]])[] = [
  [
    "Root filesystem:",
    [
      [
        "value",
        "--root-kind <KIND>",
        "overlay: writes go to memory (default); bind: they reach ROOT; copy: ROOT is copied to memory",
      ],
      ["value", "--size <BYTES>", "room for writes (overlay) or for all (copy); default 500m"],
      ["switch", "--read-only", "nothing in the root can be written"],
      [
        "list",
        "-v, --volume <SRC:DST[:OPTIONS]>",
        "show a file or directory of the machine: ro, nosuid, noexec, rslave …",
      ],
      ["list", "--mount <KEY=VALUE,…>", "type=bind or tmpfs, src=…, dst=…, readonly, tmpfs-size=…, bind-propagation=…"],
      ["list", "--tmpfs <DST[:OPTIONS]>", "an empty filesystem in memory: size=64m,mode=1777,exec"],
      ["value", "--shm-size <BYTES>", "size of /dev/shm; default 64m"],
    ],
  ],
  [
    "Namespaces (private, host, container:NAME, or a file such as /proc/PID/ns/net):",
    [
      ["value", "--pid <NAMESPACE>", "process numbers"],
      ["value", "--net, --network <NAMESPACE>", "network; private has the loopback interface alone, also called none"],
      ["value", "--ipc <NAMESPACE>", "message queues and shared memory"],
      ["value", "--uts <NAMESPACE>", "host and domain name"],
      ["value", "--cgroupns <NAMESPACE>", "root of the control groups"],
      ["value", "--userns <NAMESPACE>", "user and group ids; default host for root, private for others"],
      ["value", "--timens <NAMESPACE>", "monotonic and boot clock; default host"],
      ["list", "--uidmap <CONTAINER:HOST:SIZE>", "user ids of a private user namespace"],
      ["list", "--gidmap <CONTAINER:HOST:SIZE>", "group ids of a private user namespace"],
      ["list", "--time-offset <CLOCK=SECONDS>", "shift monotonic or boottime of a private time namespace"],
      ["value", "-h, --hostname <NAME>", "host name; default tupperware"],
      ["value", "--domainname <NAME>", "NIS domain name"],
      ["list", "--sysctl <KEY=VALUE>", "a kernel setting of the container's own namespaces"],
    ],
  ],
  [
    "Process:",
    [
      ["value", "-u, --user <USER[:GROUP]>", "names or numbers, by the root's own /etc/passwd and /etc/group"],
      ["list", "--group-add <GROUP>", "a further group"],
      ["list", "-e, --env <NAME[=VALUE]>", "an environment variable; without a value, the caller's"],
      ["list", "--env-file <FILE>", "environment variables, one a line"],
      ["value", "-w, --workdir <DIRECTORY>", "where the command starts; default /"],
      ["switch", "-t, --tty", "a terminal; default where stdin and stdout are one"],
      ["switch", "--no-tty", "no terminal"],
      ["switch", "-i, --interactive", "accepted: stdin is always passed on"],
      ["switch", "--init", "a small PID 1 that reaps zombies and passes signals on"],
      ["switch", "--rm", "accepted: a container in the foreground is always cleaned up"],
      ["list", "--ulimit <NAME=SOFT[:HARD]>", "a limit of each process, such as nofile=1024:4096"],
      ["value", "--umask <MASK>", "permissions that new files do not get; default 022"],
      ["value", "--oom-score-adj <NUMBER>", "-1000 to 1000: who is killed first when memory runs out"],
    ],
  ],
  [
    "Limits:",
    [
      ["value", "-m, --memory <BYTES>", "memory, such as 512m"],
      ["value", "--memory-swap <BYTES>", "memory and swap together; -1 is no limit; default twice the memory"],
      ["value", "--memory-reservation <BYTES>", "memory that it is left with when others need some"],
      ["value", "--memory-swappiness <NUMBER>", "0 to 100: how readily its memory is swapped"],
      ["switch", "--oom-kill-disable", "wait instead of being killed when the memory is used up"],
      ["value", "--cpus <NUMBER>", "processors, such as 1.5"],
      ["value", "-c, --cpu-shares <NUMBER>", "weight against others; 1024 is usual"],
      ["value", "--cpu-period <MICROSECONDS>", "period of the quota"],
      ["value", "--cpu-quota <MICROSECONDS>", "processor time per period"],
      ["value", "--cpuset-cpus <LIST>", "processors that it may run on, such as 0-3,5"],
      ["value", "--cpuset-mems <LIST>", "memory nodes that it may use"],
      ["value", "--pids-limit <NUMBER>", "processes and threads; -1 is no limit"],
      ["value", "--blkio-weight <NUMBER>", "10 to 1000: weight of its disk access"],
      ["list", "--blkio-weight-device <DEVICE:NUMBER>", "the same for one disk"],
      ["list", "--device-read-bps <DEVICE:BYTES>", "bytes per second read from a disk"],
      ["list", "--device-write-bps <DEVICE:BYTES>", "bytes per second written to a disk"],
      ["list", "--device-read-iops <DEVICE:NUMBER>", "reads per second from a disk"],
      ["list", "--device-write-iops <DEVICE:NUMBER>", "writes per second to a disk"],
      ["value", "--cgroup-parent <PATH>", "control group above the container's"],
    ],
  ],
  [
    "Privileges:",
    [
      ["list", "--cap-add <CAPABILITY>", "a capability more, such as NET_ADMIN or ALL"],
      ["list", "--cap-drop <CAPABILITY>", "a capability less"],
      [
        "list",
        "--security-opt <OPTION>",
        "seccomp=FILE, seccomp=unconfined, no-new-privileges, apparmor=…, label=…, systempaths=unconfined",
      ],
      ["switch", "--privileged", "all capabilities and devices, no seccomp, nothing masked"],
      ["list", "--device <SRC[:DST[:rwm]]>", "a device of the machine"],
      ["list", "--device-cgroup-rule <RULE>", 'access to devices, such as "c 42:* rwm"'],
    ],
  ],
  [
    "Notes:",
    [
      ["value", "--name <NAME>", "name of the container; default a random one"],
      ["list", "-l, --label <KEY=VALUE>", "the same as --annotation"],
      ["list", "--annotation <KEY=VALUE>", "an annotation of the config"],
    ],
  ],
];

/** Everything but `--trace`, ROOT and the command that follows it. Options stop at ROOT: what comes after is the command's. */
export function addRunOptions(command: Command): Command {
  command
    .usage("[OPTIONS] ROOT [COMMAND [ARG…]]")
    .argument("<ROOT>", "a directory with a root filesystem (with a slash in its name), or host: this machine's own")
    .argument("[COMMAND...]", "what to run, with its arguments; default sh")
    .helpOption("--help", "show this help")
    .passThroughOptions();
  for (const [heading, flags] of GROUPS) {
    command.optionsGroup(heading);
    for (const [kind, names, description] of flags) {
      if (kind === "switch") addSwitch(command, names, description);
      else command.addOption(kind === "list" ? repeatable(names, description) : new Option(names, description));
    }
  }
  return command.optionsGroup("Other:");
}

/** `--trace`, `--trace=steps`, `--trace=syscalls`. An optional value of commander's would swallow ROOT, so each is a flag. */
export function addTraceOption(command: Command): Command {
  const trace = new Option(
    "--trace",
    "show each step, its result and microseconds; --trace=syscalls: each system call too",
  );
  command.addOption(trace);
  for (const level of ["steps", "syscalls"]) command.addOption(new FixedValue(`--trace=${level}`, trace, level));
  return command;
}

/** What commander collected, as the engine takes it. */
export function runOptionsOf(command: Command, args: readonly string[]): RunOptions {
  const { name, ...options } = command.opts<Partial<RunOptions> & { name?: string }>();
  return { ...options, id: containerId(name), command: args };
}

export function traceOf(command: Command): TraceFlag {
  const { trace } = command.opts<{ trace?: boolean | TraceFlag }>();
  return trace === true ? "steps" : trace === undefined || trace === false ? "off" : trace;
}
