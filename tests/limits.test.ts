import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  atEnd,
  background,
  eventually,
  fails,
  isSanitizer,
  output,
  pidOf,
  prints,
  sees as seesIn,
  slowness,
  start,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const sees = (flags: string[], script: string, options = {}) => seesIn(root, flags, script, options);
const needs = (...more: string[]) => ({ skip: missing("subuid", "package:busybox-static", ...more) });
const asRoot = (...more: string[]) => ({ skip: missing("root") || needs(...more).skip });
/** What is about control groups: an ordinary user has some where systemd delegates them. */
const grouped = (...more: string[]) => ({ skip: missing("cgroups") || needs(...more).skip });

/** The container's file of a controller: the same by v1's name and by v2's. */
const file = (controller: string, v1: string, v2: string) =>
  `cat /sys/fs/cgroup/${controller}/${v1} 2>/dev/null || cat /sys/fs/cgroup/${v2} 2>/dev/null || cat /sys/fs/cgroup/unified/${v2}`;

/** The directories of a running container's groups, on the machine. */
async function groups(name: string): Promise<Record<string, string>> {
  const [found] = JSON.parse(await prints(["inspect", name])) as { cgroups: Record<string, string> }[];
  return found?.cgroups ?? {};
}

/** The disk that holds `/var/tmp`, as `/dev/NAME` and `MAJOR:MINOR`; a partition has the limits of its whole disk. */
function disk(): { path: string; number: string } | undefined {
  const numbers = readdirSync("/sys/block").map((name) => ({
    path: `/dev/${name}`,
    number: readFileSync(`/sys/block/${name}/dev`, "utf8").trim(),
  }));
  return numbers.find(({ path }) => /^\/dev\/(sd|vd|nvme|xvd)/.test(path) && existsSync(path));
}
const theDisk = disk();

// Memory

test("run --memory: what the container reads as its limit", grouped("cgroup:memory"), async () => {
  assert.equal(await sees(["--memory", "32m"], file("memory", "memory.limit_in_bytes", "memory.max")), "33554432\n");
  assert.equal(await sees(["-m", "0.5g"], file("memory", "memory.limit_in_bytes", "memory.max")), "536870912\n");
});

test(
  "run --memory: more than the limit ends in exit code 137, and the reason is said",
  grouped("cgroup:memory"),
  async () => {
    const { code, stderr } = await tupper([
      "run",
      "--memory",
      "50m",
      "--memory-swap",
      "50m",
      root,
      "dd",
      "if=/dev/zero",
      "of=/dev/null",
      "bs=100M",
      "count=1",
    ]);
    assert.equal(code, 137);
    assert.match(stderr, /memory/i);
  },
);

test("run --memory: less than the limit is granted", needs("cgroup:memory"), async () => {
  const { code } = await tupper([
    "run",
    "--memory",
    "50m",
    root,
    "dd",
    "if=/dev/zero",
    "of=/dev/null",
    "bs=20M",
    "count=1",
  ]);
  assert.equal(code, 0);
});

test("run --memory: a child that is killed does not end the container", grouped("cgroup:memory"), async () => {
  const script = "dd if=/dev/zero of=/dev/null bs=100M count=1; echo code $?; exit 3";
  const { stdout, code } = await tupper(["run", "--memory", "50m", "--memory-swap", "50m", root, "sh", "-c", script]);
  assert.deepEqual({ stdout, code }, { stdout: "code 137\n", code: 3 });
});

test("run --memory: what is written to the overlay counts", grouped("cgroup:memory"), async () => {
  const { code } = await tupper([
    "run",
    "--memory",
    "30m",
    "--memory-swap",
    "30m",
    root,
    "dd",
    "if=/dev/zero",
    "of=/file",
    "bs=1M",
    "count=60",
  ]);
  assert.equal(code, 137);
});

test("run --memory-swap: memory and swap together, as v1 counts", {
  skip: missing("root", "cgroup1", "cgroup:memory", "file:/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
}, async () => {
  const read = "cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes";
  assert.equal(await sees(["--memory", "32m", "--memory-swap", "48m"], read), "50331648\n");
  assert.equal(await sees(["--memory", "32m"], read), "67108864\n");
});

test(
  "run --memory-reservation and --memory-swappiness: what the container reads",
  grouped("cgroup1", "cgroup:memory"),
  async () => {
    const read = "cd /sys/fs/cgroup/memory; cat memory.soft_limit_in_bytes memory.swappiness";
    assert.equal(
      await sees(["-m", "64m", "--memory-reservation", "16m", "--memory-swappiness", "7"], read),
      "16777216\n7\n",
    );
  },
);

// Processes

test("run --pids-limit 20: the 21st process is refused", grouped("cgroup:pids"), async () => {
  const script = "i=1; while [ $i -le 25 ]; do sleep 600 & i=$((i+1)); echo $i; done";
  const { stdout, stderr } = await tupper(["run", "--pids-limit", "20", root, "sh", "-c", script]);
  // PID 1 is one of the 20: 19 more, so the loop ends after it has said "20".
  assert.equal(stdout.trim().split("\n").at(-1), "20");
  assert.match(stderr, /can't fork: Resource temporarily unavailable/);
});

test("run --pids-limit: what the container reads; -1 and nothing are no limit", grouped("cgroup:pids"), async () => {
  const read = file("pids", "pids.max", "pids.max");
  assert.equal(await sees(["--pids-limit", "42"], read), "42\n");
  assert.equal(await sees(["--pids-limit", "-1"], read), "max\n");
  assert.equal(await sees([], read), "max\n");
});

test("run --pids-limit: a fork bomb stays inside and ends with the container", needs("cgroup:pids"), async () => {
  const running = start([
    "run",
    "--pids-limit",
    "50",
    root,
    "sh",
    "-c",
    "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 1",
  ]);
  await sleep(300);
  assert.equal(spawnSync("true").status, 0, "the machine still starts processes");
  await running.ended;
});

// Processor

test("run --cpus: quota and period", grouped("cgroup:cpu"), async () => {
  const read =
    "cd /sys/fs/cgroup/cpu 2>/dev/null && cat cpu.cfs_quota_us cpu.cfs_period_us || tr ' ' '\\n' </sys/fs/cgroup/cpu.max";
  assert.equal(await sees(["--cpus", "0.5"], read), "50000\n100000\n");
  assert.equal(await sees(["--cpu-quota", "20000", "--cpu-period", "40000"], read), "20000\n40000\n");
});

test("run --cpus 0.2: a busy loop gets a fifth of a processor", grouped("cgroup:cpu"), async () => {
  // Longer where everything else takes long too: what starts the loop counts.
  const script = `timeout ${slowness} sh -c 'while :; do :; done'; times`;
  const { stdout } = await tupper(["run", "--cpus", "0.2", root, "sh", "-c", script]);
  const seconds = [...stdout.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, part]) => sum + Number(minutes) * 60 + Number(part),
    0,
  );
  const part = seconds / slowness;
  assert.ok(part > 0.1 && part < 0.35, `${seconds} s of processor time in ${slowness} s`);
});

test(
  "run --cpu-shares: two busy containers with 1:3 get processor time near 1:3",
  grouped("cgroup:cpu", "cgroup:cpuset"),
  async () => {
    const busy = async (shares: string) =>
      background(root, ["--cpuset-cpus", "0", "--cpu-shares", shares], { script: "sh -c 'while :; do :; done' &" });
    const small = await busy("256");
    const large = await busy("768");
    const usage = async () => {
      const all = JSON.parse(await prints(["stats", "--format", "json", small.name, large.name])) as {
        cpu: { usageNs: number };
      }[];
      return all.map(({ cpu }) => cpu.usageNs);
    };
    const [smallBefore = 0, largeBefore = 0] = await usage();
    await sleep(1500);
    const [smallAfter = 0, largeAfter = 0] = await usage();
    const ratio = (largeAfter - largeBefore) / (smallAfter - smallBefore);
    assert.ok(ratio > 2.2 && ratio < 4, `1:${ratio.toFixed(2)}`);
  },
);

test(
  "run --cpu-shares and --cpuset-cpus: what the container reads",
  grouped("cgroup1", "cgroup:cpu", "cgroup:cpuset"),
  async () => {
    assert.equal(await sees(["--cpu-shares", "512"], "cat /sys/fs/cgroup/cpu/cpu.shares"), "512\n");
    assert.equal(
      await sees(
        ["--cpuset-cpus", "0", "--cpuset-mems", "0"],
        "cat /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/cpuset/cpuset.mems; grep Cpus_allowed_list /proc/self/status; nproc",
      ),
      "0\n0\nCpus_allowed_list:\t0\n1\n",
    );
  },
);

// Disks

test("run --device-write-bps: 1 MiB a second is what a direct write gets", {
  skip: missing("root", "cgroup:blkio", "package:dd", `file:${theDisk?.path ?? "/dev/a disk"}`),
}, async () => {
  // The file lies on the machine's disk, where /tmp need not be, and the machine's dd knows O_DIRECT.
  const directory = temporaryDirectory("/var/tmp");
  const flags = ["--device-write-bps", `${theDisk?.path}:1m`, "-v", `${directory}:/data`];
  const started = Date.now();
  const { code, stderr } = await tupper([
    "run",
    ...flags,
    "host",
    "dd",
    "if=/dev/zero",
    "of=/data/file",
    "bs=64k",
    "count=32",
    "oflag=direct",
  ]);
  const elapsedMs = Date.now() - started;
  assert.equal(code, 0, stderr);
  assert.ok(elapsedMs > 1400 && elapsedMs < 6000 * slowness, `2 MiB took ${elapsedMs} ms`);
});

test("run --device-read-bps, --device-read-iops, --device-write-iops: what the container reads", {
  skip: missing("root", "cgroup1", "cgroup:blkio", `file:${theDisk?.path ?? "/dev/a disk"}`),
}, async () => {
  const device = theDisk?.path ?? "";
  const flags = [
    "--device-read-bps",
    `${device}:2m`,
    "--device-read-iops",
    `${device}:30`,
    "--device-write-iops",
    `${device}:40`,
  ];
  const read =
    "cd /sys/fs/cgroup/blkio; cat blkio.throttle.read_bps_device blkio.throttle.read_iops_device blkio.throttle.write_iops_device";
  assert.equal(await sees(flags, read), `${theDisk?.number} 2097152\n${theDisk?.number} 30\n${theDisk?.number} 40\n`);
});

test(
  "run --blkio-weight: what the container reads, or one sentence where the kernel has no weights",
  grouped("cgroup1", "cgroup:blkio"),
  async () => {
    const hasWeights = ["blkio.weight", "blkio.bfq.weight"].some(
      (name) => existsSync(`/sys/fs/cgroup/blkio/${name}`) || readdirSync("/sys/fs/cgroup/blkio").includes(name),
    );
    const { stdout, stderr, code } = await tupper([
      "run",
      "--blkio-weight",
      "300",
      root,
      "sh",
      "-c",
      "cat /sys/fs/cgroup/blkio/blkio.weight 2>/dev/null || cat /sys/fs/cgroup/blkio/blkio.bfq.weight",
    ]);
    if (hasWeights || code === 0) assert.deepEqual({ stdout, code }, { stdout: "300\n", code: 0 });
    else {
      assert.equal(code, 125);
      assert.match(stderr, /^error: .*weight.* \([A-Z_]+\)$/m);
    }
  },
);

test("run --device-write-bps: a file that is no disk is one sentence", needs(), async () => {
  for (const device of ["/dev/null", "/etc/passwd", "/dev/no-such-disk"]) {
    const { exitCode, message, details } = await fails(["run", "--device-write-bps", `${device}:1m`, root, "true"]);
    assert.equal(exitCode, 125);
    assert.match(message, new RegExp(device));
    assert.equal(details.flag, "--device-write-bps");
  }
});

// Devices

test("run: the usual devices work and no others are in /dev", needs(), async () => {
  const script = `echo x >/dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 3 /dev/urandom | wc -c; head -c 3 /dev/random | wc -c
    echo x 2>/dev/null >/dev/full || echo full; ls -A /dev | tr '\\n' ' '`;
  assert.equal(
    await sees([], script),
    " 00 00 00\n3\n3\nfull\nfd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \n".replace(
      / \n$/,
      " ",
    ),
  );
});

test("run: links and modes of /dev are those of the specification", needs(), async () => {
  const script =
    "cd /dev; for link in fd stdin stdout stderr ptmx; do readlink $link; done; stat -c '%n %a %t:%T' null zero full random urandom tty pts/ptmx; stat -c '%n %a' shm mqueue .";
  assert.equal(
    await sees([], script),
    "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n" +
      "null 666 1:3\nzero 666 1:5\nfull 666 1:7\nrandom 666 1:8\nurandom 666 1:9\ntty 666 5:0\npts/ptmx 666 5:2\nshm 1777\nmqueue 1777\n. 755\n",
  );
});

// /dev/fuse: opening it asks for no capability, so that EPERM comes from the devices that are allowed.
const FUSE = "c 10 229";

test("run: a device node that is not allowed cannot be opened, though it can be made", {
  skip: missing("subuid", "cap:MKNOD", "file:/dev/fuse"),
}, async () => {
  const script = `mknod /fuse ${FUSE} && ls /fuse; : </fuse`;
  const { stdout, stderr } = await tupper(["run", root, "sh", "-c", script]);
  assert.deepEqual(
    { stdout, stderr },
    { stdout: "/fuse\n", stderr: "sh: can't open /fuse: Operation not permitted\n" },
  );
  assert.equal(await sees([], "mknod /null c 1 3; echo >/null && echo works"), "works\n");
});

test("run --device: a device of the machine, under its name or another, with the access that is asked for", {
  skip: missing("root", "file:/dev/fuse"),
}, async () => {
  assert.equal(
    await sees(["--device", "/dev/fuse"], "stat -c '%t:%T' /dev/fuse; : </dev/fuse && echo read"),
    "a:e5\nread\n",
  );
  assert.equal(
    await sees(
      ["--device", "/dev/fuse:/dev/other:r"],
      ": </dev/other && echo read; (: >/dev/other) 2>&1 | grep -o 'not permitted'",
    ),
    "read\nnot permitted\n",
  );
});

test("run --device: what is no device, or not there, is one sentence", needs(), async () => {
  for (const [device, word] of [
    ["/dev/no-such-device", "/dev/no-such-device"],
    ["/etc/passwd", "/etc/passwd"],
    ["/dev/null:/dev/x:rq", "rq"],
  ] as const) {
    const { exitCode, message } = await fails(["run", "--device", device, root, "true"]);
    assert.equal(exitCode, 125);
    assert.match(message, new RegExp(word));
  }
});

test("run --device-cgroup-rule: nodes of that number may be opened", {
  skip: missing("subuid", "cap:MKNOD", "file:/dev/fuse"),
}, async () => {
  const script = `mknod /fuse ${FUSE}; : </fuse && echo read`;
  assert.equal(await sees(["--device-cgroup-rule", "c 10:229 rm"], script), "read\n");
  assert.equal(await sees(["--device-cgroup-rule", "c 10:* rwm"], script), "read\n");
});

test("run --privileged: the machine's devices are there and open", {
  skip: missing("root", "file:/dev/kmsg"),
}, async () => {
  assert.equal(
    await sees(["--privileged"], ": </dev/kmsg && echo read; ls /dev | grep -c '^loop'"),
    `read\n${readdirSync("/dev").filter((name) => name.startsWith("loop")).length}\n`,
  );
});

test("run --shm-size: df shows it", needs(), async () => {
  assert.equal(await sees([], "df -k /dev/shm | awk 'NR == 2 { print $2 }'"), "65536\n");
  assert.equal(await sees(["--shm-size", "8m"], "df -k /dev/shm | awk 'NR == 2 { print $2 }'"), "8192\n");
});

// Groups

test("run: a group of its own in every hierarchy, gone afterwards", asRoot(), async () => {
  const running = await background(root);
  const pid = await pidOf(running.name);
  const found = await groups(running.name);
  const directories = Object.values(found);
  for (const directory of directories) {
    assert.match(directory, new RegExp(`/tupper-${running.name}$`));
    assert.match(readFileSync(join(directory, "cgroup.procs"), "utf8"), new RegExp(`^${pid}$`, "m"));
  }
  // Every hierarchy that is mounted here, not only those with a limit.
  const mounted = output("sh", "-c", "grep -c ' - cgroup2\\{0,1\\} ' /proc/self/mountinfo");
  assert.equal(directories.length, Number(mounted), Object.keys(found).join());
  running.child.kill("SIGTERM");
  await running.ended;
  for (const directory of directories) assert.equal(existsSync(directory), false, directory);
});

test("run --cgroup-parent: the group lies below it", asRoot(), async () => {
  const parent = `tupper-test-parent-${process.pid}`;
  atEnd(() =>
    spawnSync("find", ["/sys/fs/cgroup", "-depth", "-type", "d", "-name", parent, "-exec", "rmdir", "{}", ";"]),
  );
  const running = await background(root, ["--cgroup-parent", parent]);
  const pid = await pidOf(running.name);
  assert.match(readFileSync(`/proc/${pid}/cgroup`, "utf8"), new RegExp(`/${parent}/tupper-${running.name}$`, "m"));
});

test(
  "run: limits are in force before the command starts, and exec is under them too",
  grouped("cgroup:pids"),
  async () => {
    const running = await background(root, ["--pids-limit", "10"]);
    const { stderr } = await tupper([
      "exec",
      running.name,
      "sh",
      "-c",
      "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done",
    ]);
    assert.match(stderr, /can't fork: Resource temporarily unavailable/);
  },
);

test("run: a container's own sub-groups are removed with it", grouped("cgroup1", "cgroup:pids"), async () => {
  await prints([
    "run",
    "--privileged",
    root,
    "sh",
    "-c",
    "mkdir -p /sys/fs/cgroup/pids/a/b && echo 0 >/sys/fs/cgroup/pids/a/b/tasks",
  ]);
});

// Usage

test(
  "stats: processor, memory, processes and disk of a running container",
  grouped("cgroup:memory", "cgroup:pids", "cgroup:cpu"),
  async () => {
    const running = await background(root, ["--memory", "64m", "--pids-limit", "50"], {
      script: "dd if=/dev/zero of=/dev/shm/file bs=1M count=20 2>/dev/null; sleep 600 & sleep 600 &",
    });
    const [stats] = JSON.parse(await prints(["stats", "--format", "json", running.name])) as {
      id: string;
      pids: { current: number; limit: number };
      memory: { usageBytes: number; limitBytes: number; maxUsageBytes: number };
      cpu: { usageNs: number };
      io: { readBytes: number | null };
    }[];
    assert.equal(stats?.id, running.name);
    assert.deepEqual(stats?.pids, { current: 4, limit: 50 });
    assert.equal(stats?.memory.limitBytes, 67108864);
    assert.ok(
      (stats?.memory.usageBytes ?? 0) >= 20 * 1024 * 1024 && (stats?.memory.usageBytes ?? 0) < 40 * 1024 * 1024,
    );
    assert.ok((stats?.cpu.usageNs ?? 0) > 0);
    const table = await prints(["stats", running.name]);
    assert.match(table, /^NAME +CPU +MEMORY +PROCESSES +READ \/ WRITTEN\n/);
    assert.match(table, new RegExp(`^${running.name} +[\\d.]+% +[\\d.]+MiB of 64MiB +4 of 50 `, "m"));
  },
);

test("stats: a container that is killed for its memory is counted", grouped("cgroup1", "cgroup:memory"), async () => {
  const running = await background(root, ["--memory", "40m", "--memory-swap", "40m"], {
    script: "dd if=/dev/zero of=/dev/null bs=80M count=1",
  });
  const [stats] = JSON.parse(await prints(["stats", "--format", "json", running.name])) as {
    memory: { oomKills: number };
  }[];
  assert.equal(stats?.memory.oomKills, 1);
});

test("stats: without a name all containers, of an unknown one a sentence", needs(), async () => {
  const one = await background(root);
  const two = await background(root);
  const all = JSON.parse(await prints(["stats", "--format", "json"])) as { id: string }[];
  for (const { name } of [one, two]) assert.ok(all.some(({ id }) => id === name));
  const { code, exitCode } = await fails(["stats", "nobody"]);
  assert.deepEqual({ code, exitCode }, { code: "CONTAINER_UNKNOWN", exitCode: 1 });
});

// Limits of single processes

test("run --ulimit: soft and hard limit", needs(), async () => {
  const flags = ["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--ulimit", "fsize=4096:8192"];
  assert.equal(
    await sees(
      flags,
      "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; grep 'Max file size' /proc/self/limits | tr -s ' '",
    ),
    "100\n200\n0\n0\nMax file size 4096 8192 bytes \n",
  );
});

test("run --ulimit nofile: the command gets so many descriptors", needs(), async () => {
  const { stderr } = await tupper(["run", "--ulimit", "nofile=5", root, "sh", "-c", "exec 3</ 4</; exec 5</"]);
  assert.match(stderr, /Too many open files|Bad file descriptor|can't open/);
});

test("run --ulimit: unknown names and impossible values are refused", needs(), async () => {
  for (const ulimit of ["nofiles=1", "nofile=x", "nofile=200:100", "nofile", "=1"]) {
    const { exitCode, details, message } = await fails(["run", "--ulimit", ulimit, root, "true"]);
    assert.equal(exitCode, 125);
    assert.match(`${details.flag} ${message}`, /--ulimit/);
  }
});

test("run --oom-score-adj: what the container reads", needs(), async () => {
  assert.equal(await sees(["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj"), "500\n");
});

test(
  "run --oom-score-adj: below the caller's, where the machine does not allow it, is one sentence or done",
  needs(),
  async () => {
    const { stdout, stderr, code } = await tupper([
      "run",
      "--oom-score-adj",
      "-500",
      root,
      "cat",
      "/proc/self/oom_score_adj",
    ]);
    if (missing("cap:SYS_RESOURCE") === false) assert.deepEqual({ stdout, code }, { stdout: "-500\n", code: 0 });
    else {
      assert.equal(code, 125);
      assert.match(stderr, /^error: .*oom.* \([A-Z_]+\)$/m);
    }
  },
);

test("run: with all limits at once it still takes less than a second", {
  skip: isSanitizer ? "the sanitizer build is slow" : missing("cgroups", "cgroup:memory", "cgroup:cpuset"),
}, async () => {
  const flags = [
    "-m",
    "64m",
    "--pids-limit",
    "9",
    "--cpus",
    "1",
    "--cpu-shares",
    "9",
    "--cpuset-cpus",
    "0",
    "--oom-score-adj",
    "1",
    "--ulimit",
    "nofile=64",
  ];
  const started = process.hrtime.bigint();
  assert.equal(output("sh", "-c", "echo"), "\n");
  await prints(["run", ...flags, root, "true"]);
  assert.ok(process.hrtime.bigint() - started < BigInt(slowness) * 1_000_000_000n);
});

test("run: after a container that used much memory its groups go at once", grouped("cgroup:memory"), async () => {
  await prints(["run", "-m", "300m", root, "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null"]);
  await eventually("no group is left", () => !existsSync(join("/sys/fs/cgroup/memory", `tupper-test-${process.pid}`)));
});
