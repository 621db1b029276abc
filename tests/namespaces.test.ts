import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  atEnd,
  background,
  eventually,
  fails,
  output,
  pidOf,
  prints,
  sees as seesIn,
  start,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
  withoutCopyWarning,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const sees = (flags: string[], script: string, options = {}) => seesIn(root, flags, script, options);
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };

/** Names below /proc/PID/ns, and the flag of each that has one. */
const FLAGS: Readonly<Record<string, string>> = {
  pid: "--pid",
  net: "--net",
  ipc: "--ipc",
  uts: "--uts",
  cgroup: "--cgroupns",
  user: "--userns",
  time: "--timens",
};
const TYPES = ["mnt", ...Object.keys(FLAGS)];
const own = (type: string) => readlinkSync(`/proc/self/ns/${type}`);
const READ_ALL = `for type in ${TYPES.join(" ")}; do readlink /proc/self/ns/$type; done`;

/** Which of the container's namespaces are not ours. */
async function privateOnes(flags: string[]): Promise<string[]> {
  const inside = (await sees(flags, READ_ALL)).trim().split("\n");
  return TYPES.filter((type, i) => inside[i] !== own(type)).sort();
}

/** A process in namespaces of its own, made by unshare(1); its number. */
async function unshared(...flags: string[]): Promise<number> {
  const child: ChildProcess = spawn("unshare", [...flags, "sh", "-c", "echo ready; exec sleep 100"]);
  atEnd(async () => {
    child.kill("SIGKILL");
    await eventually("unshare ends", () => child.exitCode !== null || child.signalCode !== null);
  });
  let text = "";
  child.stdout?.on("data", (data) => {
    text += data;
  });
  await eventually("unshare is ready", () => text.includes("ready"));
  return child.pid ?? 0;
}

test(
  "run: mount, pid, net, ipc, uts and cgroup are the container's own; user and time are the machine's",
  asRoot,
  async () => {
    assert.deepEqual(await privateOnes([]), ["cgroup", "ipc", "mnt", "net", "pid", "uts"]);
  },
);

test("run: all eight can be private at the same time", needs, async () => {
  assert.deepEqual(await privateOnes(["--userns", "private", "--timens", "private"]), [...TYPES].sort());
});

test("run: all but mount can be the host's at the same time", asRoot, async () => {
  const flags = Object.entries(FLAGS).flatMap(([, flag]) => [flag, "host"]);
  assert.deepEqual(await privateOnes(flags), ["mnt"]);
});

for (const [type, flag] of Object.entries(FLAGS)) {
  test(`run ${flag}: host is the machine's, private one of its own`, type === "user" ? asRoot : needs, async () => {
    assert.equal((await privateOnes([flag, "host"])).includes(type), false);
    assert.equal((await privateOnes([flag, "private"])).includes(type), true);
  });

  test(`run ${flag} container:NAME: joins that of a running container`, needs, async () => {
    const other = await background(root, [flag, "private"]);
    const pid = await pidOf(other.name);
    const theirs = readlinkSync(`/proc/${pid}/ns/${type}`);
    assert.notEqual(theirs, own(type));
    assert.equal(await sees([flag, `container:${other.name}`], `readlink /proc/self/ns/${type}`), `${theirs}\n`);
  });

  test(`run ${flag} container:NAME: an unknown container is one sentence`, needs, async () => {
    const { code, exitCode, message } = await fails(["run", flag, "container:nobody", root, "true"]);
    assert.deepEqual({ code, exitCode }, { code: "CONTAINER_NOT_RUNNING", exitCode: 125 });
    assert.match(message, /nobody/);
  });

  test(`run ${flag}: another word is one sentence that names the flag`, needs, async () => {
    const { exitCode, message, details } = await fails(["run", flag, "hosst", root, "true"]);
    assert.equal(exitCode, 125);
    assert.match(
      `${message} ${details.flag} ${details.hint}`,
      new RegExp(`${flag === "--net" ? "--net" : flag}.*host`),
    );
  });

  test(`run ${flag} FILE: a file that is no namespace of this type is one sentence`, needs, async () => {
    const wrong = type === "uts" ? "ipc" : "uts";
    for (const file of [`/proc/self/ns/${wrong}`, "/etc/passwd", "/no/such/file"]) {
      const { exitCode, message, details } = await fails(["run", flag, file, root, "true"]);
      assert.equal(exitCode, 125);
      assert.match(
        `${message} ${details.kernel} ${details.flag} ${details.config}`,
        new RegExp(file.replace("self", "(self|\\d+)")),
      );
    }
  });
}

for (const [type, flag, unshare] of [
  ["net", "--net", ["--net"]],
  ["ipc", "--ipc", ["--ipc"]],
  ["uts", "--uts", ["--uts"]],
  ["cgroup", "--cgroupns", ["--cgroup"]],
] as const) {
  test(`run ${flag} /proc/PID/ns/${type}: joins a namespace by its file`, asRoot, async () => {
    const pid = await unshared(...unshare);
    const file = `/proc/${pid}/ns/${type}`;
    assert.notEqual(readlinkSync(file), own(type));
    const { stdout, stderr, code } = await tupper(["run", flag, file, root, "readlink", `/proc/self/ns/${type}`]);
    assert.deepEqual({ stdout, code }, { stdout: `${readlinkSync(file)}\n`, code: 0 });
    // Whose /dev/shm belongs to an IPC namespace, its file does not tell.
    assert.match(stderr, type === "ipc" ? /^(warning: .*\/dev\/shm.*\n)?$/ : /^$/);
  });
}

test("run --pid /proc/PID/ns/pid: the processes of that namespace are seen", asRoot, async () => {
  const other = await background(root, [], { script: "sleep 12345 &" });
  const pid = await pidOf(other.name);
  const text = await sees(["--pid", `/proc/${pid}/ns/pid`], "ps -o args; test $$ -ne 1 && echo not 1");
  assert.match(text, /sleep 12345/);
  assert.match(text, /not 1\n$/);
});

test("run --net FILE: a bind-mounted namespace, as ip netns makes it", {
  skip: missing("root", "package:iproute2"),
}, async () => {
  const name = `tupper-test-${process.pid}`;
  const wasThere = existsSync("/run/netns");
  output("ip", "netns", "add", name);
  atEnd(() => {
    output("ip", "netns", "delete", name);
    if (!wasThere) output("sh", "-c", "umount /run/netns; rmdir /run/netns");
  });
  output("ip", "-n", name, "link", "add", "dummy7", "type", "veth", "peer", "name", "dummy8");
  assert.match(await sees(["--net", `/run/netns/${name}`], "ls /sys/class/net"), /dummy7/);
});

// What each of them isolates

test("run: host processes are not visible", needs, async () => {
  assert.equal(await sees([], "echo /proc/[0-9]*; ps -o pid; :"), "/proc/1\nPID\n    1\n    2\n");
});

test("run --pid host: host processes are visible, and the command is not PID 1", needs, async () => {
  const text = await sees(["--pid", "host"], `test -d /proc/${process.pid} && echo seen; test $$ -ne 1 && echo not 1`);
  assert.equal(text, "seen\nnot 1\n");
});

test("run --pid host: processes that the command leaves behind end with it all the same", asRoot, async () => {
  const { code } = await tupper(["run", "--pid", "host", root, "sh", "-c", "sleep 1000 & setsid sleep 1000 & exit 5"]);
  assert.equal(code, 5); // and see watchForLeftovers
});

test("run: only lo, which is up, and no route", needs, async () => {
  assert.equal(
    await sees(
      [],
      "ls /sys/class/net; ip route; ip -o link show lo | grep -o ',UP'; ping -c 1 -W 1 127.0.0.1 | grep -c '1 packets received'",
    ),
    "lo\n,UP\n1\n",
  );
});

test("run: the internet is not reachable, and the kernel says why", needs, async () => {
  const { stderr, code } = await tupper(["run", root, "ping", "-c", "1", "192.0.2.1"]);
  assert.equal(code, 1);
  assert.match(stderr, /Network is unreachable/);
});

test("run: a port of the container is its own", needs, async () => {
  const listener =
    "nc -l -p 34567 -e true & for i in $(seq 50); do netstat -tln | grep 34567 && break; sleep 0.1; done";
  const one = await background(root, [], { script: `${listener} >&2` });
  const two = await background(root, [], { script: `${listener} >&2` });
  await eventually("both listen", () => one.stderr().includes("34567") && two.stderr().includes("34567"));
});

test("run --net host: the machine's devices are seen", needs, async () => {
  const devices = output("ls", "/sys/class/net");
  assert.equal(await sees(["--net", "host"], "ls /sys/class/net"), devices);
});

test("run --net none: the same as private", needs, async () => {
  assert.ok((await privateOnes(["--net", "none"])).includes("net"));
});

test("run: message queues of the host are not visible, nor shared memory", {
  skip: missing("subuid", "package:util-linux"),
}, async () => {
  const id = /\d+/.exec(output("ipcmk", "-Q"))?.[0] ?? "";
  atEnd(() => output("ipcrm", "-q", id));
  const queues = "tail -n +2 /proc/sysvipc/msg | wc -l; ls -A /dev/shm | wc -l; ls -A /dev/mqueue | wc -l";
  assert.equal(await sees([], queues), "0\n0\n0\n");
  assert.match(await sees(["--ipc", "host"], "cat /proc/sysvipc/msg"), new RegExp(`\\b${id}\\b`));
});

test("run --ipc container:NAME: /dev/shm is shared with it", needs, async () => {
  const other = await background(root, [], { script: "echo shared >/dev/shm/file" });
  assert.equal(await sees(["--ipc", `container:${other.name}`], "cat /dev/shm/file"), "shared\n");
});

test("run --uts host: the machine's name, and --hostname with it is refused", needs, async () => {
  assert.equal(await sees(["--uts", "host"], "hostname"), output("hostname"));
  const before = output("hostname");
  const { code, exitCode } = await fails(["run", "--uts", "host", "--hostname", "x", root, "true"]);
  assert.deepEqual({ code, exitCode }, { code: "NAME_OF_SHARED_NAMESPACE", exitCode: 125 });
  assert.equal(output("hostname"), before);
});

test("run: /proc/self/cgroup shows / for every hierarchy", needs, async () => {
  const paths = (await sees([], "cut -d: -f3 /proc/self/cgroup")).trim().split("\n");
  assert.deepEqual([...new Set(paths)], ["/"]);
});

test("run --cgroupns host: /proc/self/cgroup shows the group's path on the machine", asRoot, async () => {
  const name = `test-${process.pid}-cgroupns`;
  assert.match(
    await sees(["--cgroupns", "host", "--name", name], "cat /proc/self/cgroup"),
    new RegExp(`/tupper-${name}$`, "m"),
  );
});

test("run: a control group that the container sees is its own, and cannot be written to", asRoot, async () => {
  const text = await sees(
    ["--pids-limit", "77"],
    "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; find /sys/fs/cgroup -name pids.max | wc -l; echo 1 2>/dev/null >/sys/fs/cgroup/pids/pids.max || echo refused",
  );
  assert.equal(text, "77\n1\nrefused\n");
});

// User namespace

test("run --userns private: uid 0 inside, as the map says outside", asRoot, async () => {
  const flags = ["--uidmap", "0:200000:1000", "--gidmap", "0:300000:1000"];
  assert.equal(
    await sees(flags, "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; cat /proc/self/setgroups"),
    "0\n0\n 0 200000 1000\n 0 300000 1000\nallow\n",
  );
  const running = await background(root, flags);
  const pid = await pidOf(running.name);
  assert.equal(output("stat", "-c", "%u %g", `/proc/${pid}/root/proc/1`).trim(), "200000 300000");
});

test("run --uidmap: several ranges, and ids without one are nobody's", asRoot, async () => {
  const flags = ["--uidmap", "0:200000:10", "--uidmap", "1000:201000:1", "--gidmap", "0:200000:2000"];
  const script = "cat /proc/self/uid_map | tr -s ' '; id -u";
  assert.equal(await sees([...flags, "--user", "1000"], script), " 0 200000 10\n 1000 201000 1\n1000\n");
  const { exitCode, message } = await fails(["run", ...flags, "--user", "500", root, "true"]);
  assert.equal(exitCode, 125);
  assert.match(message, /500/);
});

test("run --uidmap: maps that overlap, are empty or make no sense are refused", needs, async () => {
  for (const flags of [
    ["--uidmap", "0:200000:10", "--uidmap", "5:300000:10"],
    ["--uidmap", "0:200000:0"],
    ["--uidmap", "zero:200000:10"],
    ["--uidmap", "0:200000"],
    ["--uidmap", "0:4294967295:10"],
  ]) {
    const { exitCode, message, details } = await fails(["run", ...flags, root, "true"]);
    assert.equal(exitCode, 125);
    assert.match(`${message} ${details.flag}`, /uidmap/);
  }
});

const USER_NAMESPACE = ["--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536"];
const OWNERS = "stat -c '%u %g' / /home/alice/file; touch /written && stat -c %u /written";

for (const kind of ["overlay", "copy"]) {
  test(
    `run --userns private --root-kind ${kind}: ROOT's owners are those that the container sees`,
    asRoot,
    async () => {
      const directory = makeRootfs({ "home/alice/file": "x" });
      output("chown", "1000:1000", join(directory, "home/alice/file"));
      const command = ["run", "--root-kind", kind, ...USER_NAMESPACE, directory, "sh", "-c", OWNERS];
      if (kind === "overlay" && missing("kernel:5.11"))
        return assert.equal((await fails(command)).code, "OVERLAY_REFUSED");
      // By a mount that maps owners; before Linux 5.19 they are nobody's.
      const owners = missing("kernel:5.19") ? "65534 65534\n65534 65534\n" : "0 0\n1000 1000\n";
      assert.equal(await prints(command), `${owners}0\n`);
    },
  );
}

test("run --userns private --root-kind bind: owners are the machine's, through the map", asRoot, async () => {
  const directory = makeRootfs({ "home/alice/file": "x" });
  output("chown", "-R", "200000:200000", directory);
  output("chown", "201000:201000", join(directory, "home/alice/file"));
  const flags = ["run", "--root-kind", "bind", ...USER_NAMESPACE];
  assert.equal(await prints([...flags, directory, "sh", "-c", OWNERS]), "0 0\n1000 1000\n0\n");
  assert.equal(output("stat", "-c", "%u", join(directory, "written")), "200000\n");
});

test("run --userns private: /proc, /sys and /dev are there and work", asRoot, async () => {
  const script = "echo x >/dev/null && ls -d /proc/1 /sys/class/net/lo /dev/pts/ptmx /dev/tty; ps -o pid; :";
  assert.equal(
    await sees(USER_NAMESPACE, script),
    "/dev/pts/ptmx\n/dev/tty\n/proc/1\n/sys/class/net/lo\nPID\n    1\n    3\n",
  );
});

test("run --userns private: root inside has no power over what is outside", asRoot, async () => {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "secret"), "x");
  output("chmod", "600", join(directory, "secret"));
  const flags = ["--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536", "-v", `${directory}:/outside`];
  const { stderr, code } = await tupper(["run", ...flags, root, "cat", "/outside/secret"]);
  const complaint = "cat: can't open '/outside/secret': Permission denied\n";
  assert.deepEqual({ stderr: withoutCopyWarning(stderr), code }, { stderr: complaint, code: 1 });
});

// Time namespace

test("run --time-offset: monotonic and boot clock are shifted inside", needs, async () => {
  const uptime = async (flags: string[]) => Number((await sees(flags, "cut -d' ' -f1 /proc/uptime")).trim());
  const before = await uptime([]);
  const shifted = await uptime(["--time-offset", "boottime=86400"]);
  assert.ok(shifted - before >= 86400 && shifted - before < 86430, `${before} → ${shifted}`);
  assert.match(
    await sees(
      ["--timens", "private", "--time-offset", "monotonic=3600", "--time-offset", "boottime=7200"],
      "cat /proc/self/timens_offsets | tr -s ' '",
    ),
    /monotonic 3600 0\nboottime 7200 0\n/,
  );
});

test("run --time-offset: an unknown clock, a number that is none and --timens host are refused", needs, async () => {
  for (const flags of [
    ["--time-offset", "realtime=1"],
    ["--time-offset", "boottime=x"],
    ["--time-offset", "boottime"],
    ["--timens", "host", "--time-offset", "boottime=1"],
  ]) {
    const { exitCode } = await fails(["run", ...flags, root, "true"]);
    assert.equal(exitCode, 125);
  }
});

test("run --sysctl: a setting of the container's own namespaces, and not of the machine's", needs, async () => {
  const flags = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4242"];
  assert.equal(await sees(flags, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"), "1\n4242\n");
  assert.notEqual(output("cat", "/proc/sys/kernel/msgmax"), "4242\n");
  for (const [setting, flag] of [
    ["kernel.panic=1", []],
    ["vm.swappiness=1", []],
    ["net.ipv4.ip_forward=1", ["--net", "host"]],
    ["kernel.msgmax=1", ["--ipc", "host"]],
    ["../../etc/x=1", []],
  ] as const) {
    const { exitCode, message, details } = await fails(["run", ...flag, "--sysctl", setting, root, "true"]);
    assert.equal(exitCode, 125);
    assert.match(`${message} ${details.flag}`, /sysctl/);
  }
});

test("run: a container that has others in its namespaces may end before them", needs, async () => {
  const first = await background(root);
  const second = start([
    "run",
    "--net",
    `container:${first.name}`,
    root,
    "sh",
    "-c",
    "echo ready; sleep 0.5; ls /sys/class/net",
  ]);
  await second.until(/ready/);
  first.child.kill("SIGTERM");
  await first.ended;
  assert.deepEqual(await second.ended, { stdout: "ready\nlo\n", stderr: "", code: 0, signal: null });
});

test("run --pid container:NAME: ends with the container whose PID 1 ends", needs, async () => {
  const first = await background(root);
  const second = start(["run", "--pid", `container:${first.name}`, root, "sh", "-c", "echo ready; sleep 100"]);
  await second.until(/ready/);
  await sleep(20);
  first.child.kill("SIGTERM");
  await first.ended;
  const { stderr, ...ended } = await second.ended;
  assert.deepEqual(ended, { stdout: "ready\n", code: 137, signal: null });
  assert.match(stderr, /SIGKILL: .*; process 1 of the PID namespace that it joined has ended, or somebody /);
});

test("run: a control group made below the container's own inherits its limits", {
  skip: missing("root", "cgroup1", "cgroup:pids"),
}, async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "x"));
  const flags = ["--privileged", "--pids-limit", "20"];
  const script =
    "mkdir /sys/fs/cgroup/pids/child && echo 0 >/sys/fs/cgroup/pids/child/tasks && grep pids: /proc/self/cgroup | cut -d: -f3; i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done 2>&1";
  const { stdout, stderr } = await tupper(["run", ...flags, root, "sh", "-c", script]);
  assert.match(stdout, /^\/child\n/, stderr);
  assert.match(stdout + stderr, /can't fork: Resource temporarily unavailable/);
});
