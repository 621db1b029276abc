import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  binary,
  compiled,
  fails,
  isRoot,
  output,
  prints,
  sees as seesIn,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const sees = (flags: string[], script: string, options = {}) => seesIn(root, flags, script, options);
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };

// Capabilities: the five sets in /proc/self/status, as masks

/** CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP */
const USUAL = 0xa80425fbn;
const bit = (number: number) => 1n << BigInt(number);
const [CHOWN, NET_ADMIN, SYS_TIME] = [bit(0), bit(12), bit(25)];
const own = (set: string) =>
  BigInt(`0x${new RegExp(`^${set}:\t(\\w+)$`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0}`);

/** What tupper can give: of the machine what it has itself, in a user namespace of its own everything. */
const GRANTED = isRoot ? own("CapBnd") : bit(Number(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8")) + 1) - 1n;

/** What the container has; tupper cannot give what it does not have itself. */
async function sets(flags: string[]): Promise<Record<string, string>> {
  const { stdout } = await tupper(["run", ...flags, root, "grep", "^Cap", "/proc/self/status"]);
  const found = Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split(":\t")),
  );
  return found;
}
const mask = (value: bigint) => (value & GRANTED).toString(16).padStart(16, "0");
const NONE = "0000000000000000";

for (const [name, flags, bounding, effective] of [
  ["root has Docker's 14", [], USUAL, USUAL],
  ["an ordinary user has none but in the bounding set", ["--user", "1000"], USUAL, 0n],
  ["--cap-drop CHOWN", ["--cap-drop", "CHOWN"], USUAL & ~CHOWN, USUAL & ~CHOWN],
  ["--cap-drop ALL", ["--cap-drop", "ALL"], 0n, 0n],
  ["--cap-add NET_ADMIN", ["--cap-add", "NET_ADMIN"], USUAL | NET_ADMIN, USUAL | NET_ADMIN],
  [
    "names with CAP_, in small letters, several at once",
    ["--cap-add", "cap_net_admin,Sys_Time"],
    USUAL | NET_ADMIN | SYS_TIME,
    USUAL | NET_ADMIN | SYS_TIME,
  ],
  ["--cap-drop ALL --cap-add CHOWN is CHOWN alone", ["--cap-drop", "ALL", "--cap-add", "CHOWN"], CHOWN, CHOWN],
  [
    "--cap-add ALL --cap-drop CHOWN is all but CHOWN",
    ["--cap-add", "ALL", "--cap-drop", "CHOWN"],
    GRANTED & ~CHOWN,
    GRANTED & ~CHOWN,
  ],
  ["--privileged has all that the caller has", ["--privileged"], GRANTED, GRANTED],
] as const) {
  test(`run: capabilities: ${name}`, needs, async () => {
    assert.deepEqual(await sets([...flags]), {
      CapInh: NONE,
      CapPrm: mask(effective),
      CapEff: mask(effective),
      CapBnd: mask(bounding),
      CapAmb: NONE,
    });
  });
}

test(
  "run --cap-add --user: an ordinary user has it in the ambient set, so that it is worth something",
  needs,
  async () => {
    const found = await sets(["--user", "1000", "--cap-add", "NET_ADMIN"]);
    assert.equal(found.CapBnd, mask(USUAL | NET_ADMIN));
    assert.equal(found.CapEff, found.CapPrm);
    assert.equal(found.CapAmb, found.CapEff);
    assert.ok(found.CapEff === NONE || found.CapEff === mask(NET_ADMIN), found.CapEff);
  },
);

test("run: without CHOWN chown fails, with it it works", needs, async () => {
  assert.equal(await sees([], "touch /x && chown 1000 /x && stat -c %u /x"), "1000\n");
  const { stderr, code } = await tupper(["run", "--cap-drop", "CHOWN", root, "chown", "1000", "/etc/passwd"]);
  assert.deepEqual({ stderr, code }, { stderr: "chown: /etc/passwd: Operation not permitted\n", code: 1 });
});

test("run --cap-add: what the caller itself does not have is warned of or refused", {
  skip: missing("cap:SYS_RESOURCE") === false ? "every capability is there" : missing("root"),
}, async () => {
  const { code, stderr } = await tupper(["run", "--cap-add", "SYS_RESOURCE", root, "true"]);
  assert.match(stderr, /SYS_RESOURCE/);
  assert.match(stderr, code === 0 ? /^warning: / : /^error: /);
});

test("run --cap-add, --cap-drop: an unknown name is refused with the nearest right one", needs, async () => {
  for (const flag of ["--cap-add", "--cap-drop"]) {
    const { code, exitCode, message, details } = await fails(["run", flag, "NET_ADMN", root, "true"]);
    assert.deepEqual({ code, exitCode, flag: details.flag }, { code: "UNKNOWN_CAPABILITY", exitCode: 125, flag });
    assert.match(message, /NET_ADMN/);
    assert.match(details.hint ?? "", /NET_ADMIN/);
  }
});

// No new privileges

test("run --security-opt no-new-privileges: a set-user-id program gives nothing", needs, async () => {
  const directory = makeRootfs({ "bin/suid": { copyOf: "/bin/busybox", mode: 0o4755 } });
  output("ln", "-sf", "suid", join(directory, "bin/id"));
  const script = "grep NoNewPrivs /proc/self/status; grep ^Uid /proc/self/status | cut -f 3";
  const flags = ["--user", "1000"];
  output("cp", "--remove-destination", join(directory, "bin/suid"), join(directory, "bin/grep"));
  output("chmod", "4755", join(directory, "bin/grep"));
  const run = (more: string[]) => prints(["run", ...flags, ...more, directory, "sh", "-c", script]);
  assert.match(await run([]), /^NoNewPrivs:\t0\n/);
  assert.match(await run(["--security-opt", "no-new-privileges"]), /^NoNewPrivs:\t1\n1000\n$/);
  assert.match(await run(["--security-opt", "no-new-privileges=false"]), /^NoNewPrivs:\t0\n/);
});

// Seccomp. Numbers are those of x86_64.

const CALLS = {
  unshare_user: "272,0x10000000",
  unshare_net: "272,0x40000000",
  mount: "165",
  umount2: "166",
  pivot_root: "155",
  keyctl: "250",
  add_key: "248",
  bpf: "321",
  userfaultfd: "323",
  perf_event_open: "298",
  open_by_handle_at: "304",
  init_module: "175",
  kexec_load: "246",
  reboot: "169",
  swapon: "167",
  settimeofday: "164,0,1",
  acct: "163",
  setns: "308",
  open_tree: "428",
  clone3: "435",
  io_uring_setup: "425",
} as const;
const seccomp = { skip: missing("subuid", "arch:x64", "programs") };

async function attempt(flags: string[], calls: readonly (keyof typeof CALLS)[]): Promise<Record<string, string>> {
  const command = ["run", "-v", `${compiled("attempt")}:/attempt`, ...flags, root, "/attempt"];
  const lines = (await prints([...command, ...calls.map((name) => CALLS[name])])).trim().split("\n");
  return Object.fromEntries(calls.map((name, i) => [name, lines[i]?.replace(/^\d+ /, "") ?? "?"]));
}

test("run: the default seccomp profile refuses what Docker's refuses", seccomp, async () => {
  assert.equal(await sees([], "grep '^Seccomp:' /proc/self/status"), "Seccomp:\t2\n");
  const names = Object.keys(CALLS) as (keyof typeof CALLS)[];
  const expected = Object.fromEntries(names.map((name) => [name, name === "clone3" ? "ENOSYS" : "EPERM"]));
  assert.deepEqual(await attempt([], names), expected);
});

test("run: the default profile allows what programs need, and clone(2) without new namespaces", seccomp, async () => {
  const command = ["run", "-v", `${compiled("attempt")}:/attempt`, root, "/attempt"];
  // getpid, uname is left out for it writes, personality(0), prctl(PR_GET_DUMPABLE), sched_yield, getrandom, membarrier, faccessat2 of nothing
  assert.equal(
    await prints([...command, "39", "135,0", "157,3", "24", "318"]),
    "39 ok\n135 ok\n157 ok\n24 ok\n318 ok\n",
  );
  // personality(READ_IMPLIES_EXEC) is not among those that are allowed.
  assert.equal(await prints([...command, "135,0x0400000"]), "135 EPERM\n");
});

test("run: clone(2) with a new user namespace is refused by the default profile", {
  skip: missing("subuid", "programs"),
}, async () => {
  // unshare(1) of busybox and setns are covered above; clone has the flags in its first argument on x86_64.
  const command = ["run", "-v", `${compiled("attempt")}:/attempt`, root, "/attempt"];
  assert.equal(await prints([...command, "56,0x10000000"]), "56 EPERM\n");
});

test("run --cap-add SYS_ADMIN: opens the system calls that need it", seccomp, async () => {
  const { mount, setns, keyctl } = await attempt(["--cap-add", "SYS_ADMIN"], ["mount", "setns", "keyctl"]);
  assert.equal(keyctl, "EPERM");
  for (const answer of [mount, setns]) assert.notEqual(answer, "EPERM");
});

test("run --security-opt seccomp=unconfined: no filter", seccomp, async () => {
  assert.equal(
    await sees(["--security-opt", "seccomp=unconfined"], "grep '^Seccomp:' /proc/self/status"),
    "Seccomp:\t0\n",
  );
  const { keyctl } = await attempt(["--security-opt", "seccomp=unconfined"], ["keyctl"]);
  assert.equal(keyctl, "Invalid argument"); // there is no key 0
});

test("run --privileged: no filter, nothing masked, all of /proc/sys and control groups writable", needs, async () => {
  const script = `grep '^Seccomp:' /proc/self/status; grep -cE ' (/proc/|/sys/firmware)' /proc/mounts
    mount -t tmpfs none /mnt 2>/dev/null || { mkdir /mnt && mount -t tmpfs none /mnt; }; grep -c ' /mnt ' /proc/mounts
    echo 1 >/proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward`;
  assert.equal(await sees(["--privileged"], script), "Seccomp:\t0\n0\n1\n1\n");
});

test("run --security-opt seccomp=FILE: that profile", seccomp, async () => {
  const file = join(temporaryDirectory(), "profile.json");
  writeFileSync(
    file,
    JSON.stringify({
      defaultAction: "SCMP_ACT_ALLOW",
      architectures: ["SCMP_ARCH_X86_64"],
      syscalls: [
        { names: ["uname"], action: "SCMP_ACT_ERRNO", errnoRet: 38 },
        { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" },
      ],
    }),
  );
  const command = [
    "run",
    "-v",
    `${compiled("attempt")}:/attempt`,
    "--security-opt",
    `seccomp=${file}`,
    root,
    "sh",
    "-c",
  ];
  const { stdout, stderr } = await tupper([...command, "/attempt 63; mkdir /x; echo on"]);
  assert.equal(stdout, "63 ENOSYS\non\n");
  assert.equal(stderr, "mkdir: can't create directory '/x': Operation not permitted\n");
});

test(
  "run --security-opt seccomp=FILE: a profile that forbids what the set-up needs last does not hinder it",
  seccomp,
  async () => {
    const file = join(temporaryDirectory(), "profile.json");
    const forbidden = {
      names: ["close_range", "getcwd", "faccessat", "faccessat2", "capget"],
      action: "SCMP_ACT_ERRNO",
    };
    writeFileSync(file, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [forbidden] }));
    const flags = ["--security-opt", `seccomp=${file}`];
    assert.equal(
      await sees(flags, "ls /proc/self/fd; grep '^Seccomp:' /proc/self/status"),
      "0\n1\n2\n3\nSeccomp:\t2\n",
    );
  },
);

test("run --security-opt seccomp=FILE: missing, no JSON, no profile: one sentence each", needs, async () => {
  const directory = temporaryDirectory();
  for (const [name, text] of [
    ["missing", undefined],
    ["broken", "{ nothing"],
    ["wrong-action", '{"defaultAction": "SCMP_ACT_SHRUG"}'],
    ["empty", ""],
    ["array", "[]"],
  ] as const) {
    const file = join(directory, name);
    if (text !== undefined) writeFileSync(file, text);
    const { exitCode, message, details } = await fails(["run", "--security-opt", `seccomp=${file}`, root, "true"]);
    assert.equal(exitCode, 125, name);
    assert.match(`${message} ${details.config} ${details.flag}`, new RegExp(name));
  }
});

test("run --security-opt: an unknown option is one sentence", needs, async () => {
  const { exitCode, details } = await fails(["run", "--security-opt", "secomp=unconfined", root, "true"]);
  assert.equal(exitCode, 125);
  assert.match(details.hint ?? "", /seccomp/);
});

// What is hidden and what cannot be written

test("run: paths that tell of the machine are masked", needs, async () => {
  const script = `for path in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/sched_debug /proc/latency_stats; do
      [ -e $path ] && head -c 1 $path | wc -c; done
    for path in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do [ -d $path ] && ls -A $path; done; true`;
  assert.match(await sees([], script), /^(0\n)+$/);
});

test("run: /proc/sys, /proc/irq, /proc/bus, /proc/sysrq-trigger and /sys are read-only", asRoot, async () => {
  const script = `for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/profiling /sys/class/net/lo/mtu; do
      [ -e $path ] && (: >>$path) 2>&1; done; true`;
  for (const line of (await sees([], script)).trim().split("\n")) assert.match(line, /Read-only file system$/);
});

test("run --security-opt systempaths=unconfined: nothing is masked or read-only below /proc", needs, async () => {
  assert.equal(await sees(["--security-opt", "systempaths=unconfined"], "grep -c ' /proc/' /proc/mounts; true"), "0\n");
});

test("run: /proc/1/exe is the command, never tupper, with --init too", needs, async () => {
  assert.equal(await sees([], "readlink /proc/1/exe"), "/bin/busybox\n");
  // With --init PID 1 is tupper's own: what it is must not be the file on the machine, writable or at all.
  const { stdout } = await tupper([
    "run",
    "--init",
    root,
    "sh",
    "-c",
    "readlink /proc/1/exe; (: >>/proc/1/exe) 2>&1; true",
  ]);
  assert.doesNotMatch(stdout, new RegExp(`^${binary}$`, "m"));
  assert.match(
    stdout,
    /Permission denied|Read-only file system|Text file busy|No such file|nonexistent|Operation not permitted/,
  );
});

test("run --init: the binary is the same before and after a container that tries to overwrite it", needs, async () => {
  const before = output("sha256sum", binary);
  await tupper([
    "run",
    "--init",
    "--privileged",
    root,
    "sh",
    "-c",
    "for i in 1 2 3 4 5; do (cat /bin/busybox >/proc/1/exe) 2>/dev/null; done; true",
  ]);
  await tupper([
    "run",
    "--privileged",
    "host",
    "sh",
    "-c",
    "exec 3</proc/self/exe; (echo x >/proc/1/exe) 2>/dev/null; true",
  ]);
  assert.equal(output("sha256sum", binary), before);
});

test("run: the caller's session keyring is not the container's", {
  skip: missing("subuid", "file:/proc/keys", "programs", "arch:x64"),
}, async () => {
  const program = compiled("attempt");
  const sessionKeyring = "250=,0,-3"; // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING)
  const flags = ["-v", `${program}:/attempt`, "--security-opt", "seccomp=unconfined"];
  const inside = await prints(["run", ...flags, root, "/attempt", sessionKeyring]);
  assert.match(inside, /^250 \d+\n$/);
  assert.notEqual(inside, output(program, sessionKeyring));
});

test("run: the process is not undumpable, so that its /proc files belong to its user", needs, async () => {
  assert.equal(await sees(["--user", "1000"], "stat -c %u /proc/self/environ /proc/1/environ"), "1000\n1000\n");
});

test("run: dmesg, the clock and kernel modules are out of reach", needs, async () => {
  const { stdout, stderr } = await tupper(["run", root, "sh", "-c", "date -s 2001-01-01 >/dev/null; dmesg | wc -l"]);
  assert.match(stderr, /date: can't set date: Operation not permitted/);
  assert.equal(stdout, "0\n");
});
