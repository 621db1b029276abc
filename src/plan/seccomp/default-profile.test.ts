import assert from "node:assert/strict";
import { test } from "node:test";
import { Libseccomp, missingLibseccomp } from "../../../tests/seccomp/libseccomp.ts";
import { NOT_IMPLEMENTED, newerThanProfile } from "../../../tests/seccomp/newer.ts";
import type { LinuxSeccomp, LinuxSeccompArg, LinuxSyscall } from "../../spec/seccomp.ts";
import { ACTION_VALUES, AUDIT_ARCHES, compileSeccomp } from "./compile.ts";
import { DEFAULT_CAPABILITIES, defaultSeccompProfile } from "./default-profile.ts";
import { defaultSeccompProgram } from "./default-program.ts";
import { emulateSeccomp } from "./emulate.ts";
import { X32_SYSCALL_BIT } from "./syscall-tables.ts";
import { isSyscallArch, type SyscallArch, syscallNumber } from "./syscalls.ts";

const ALLOW = ACTION_VALUES.SCMP_ACT_ALLOW;
const EPERM = ACTION_VALUES.SCMP_ACT_ERRNO + 1;
const ENOSYS = ACTION_VALUES.SCMP_ACT_ERRNO + 38;
const X86_64 = "SCMP_ARCH_X86_64";

/** What the default profile answers on x86_64. */
function answer(
  name: string,
  options: { args?: number[]; capabilities?: string[]; kernelVersion?: string } = {},
): number {
  const { args = [], capabilities = [], kernelVersion = "6.18.0-test" } = options;
  const profile = defaultSeccompProfile({ capabilities, arch: X86_64, kernelVersion });
  const { program } = compileSeccomp(profile, { nativeArch: X86_64 });
  return emulateSeccomp(program, { nr: syscallNumber(name, X86_64) ?? -1, arch: AUDIT_ARCHES[X86_64], args });
}

test("defaultSeccompProfile: names only calls that exist", () => {
  for (const arch of ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"] as const) {
    const profile = defaultSeccompProfile({ capabilities: ["CAP_SYS_ADMIN"], arch, kernelVersion: "6.18" });
    const { unknownSyscalls, unknownArchitectures } = compileSeccomp(profile, { nativeArch: arch });
    assert.deepEqual({ unknownSyscalls, unknownArchitectures }, { unknownSyscalls: [], unknownArchitectures: [] });
  }
});

test("defaultSeccompProfile: a new namespace takes CAP_SYS_ADMIN, and clone3 is not there without it", () => {
  const [CLONE_VM, CLONE_NEWUSER] = [0x100, 0x10000000];
  const capabilities = ["CAP_SYS_ADMIN"];
  assert.equal(answer("clone", { args: [CLONE_VM] }), ALLOW);
  assert.equal(answer("clone", { args: [CLONE_NEWUSER + CLONE_VM] }), EPERM);
  assert.equal(answer("clone", { args: [CLONE_NEWUSER + CLONE_VM], capabilities }), ALLOW);
  assert.equal(answer("clone3"), ENOSYS);
  assert.equal(answer("clone3", { capabilities }), ALLOW);
});

test("defaultSeccompProfile: socket refuses AF_ALG and AF_VSOCK alone", () => {
  const refused = Array.from({ length: 64 }, (_, family) => family).filter(
    (family) => answer("socket", { args: [family] }) !== ALLOW,
  );
  assert.deepEqual(refused, [38, 40]);
});

test("defaultSeccompProfile: ptrace takes Linux 4.8 or CAP_SYS_PTRACE", () => {
  assert.equal(answer("ptrace", { kernelVersion: "4.7.10" }), EPERM);
  assert.equal(answer("ptrace", { kernelVersion: "4.8.0-rc1" }), ALLOW);
  assert.equal(answer("ptrace", { kernelVersion: "5.0" }), ALLOW);
  assert.equal(answer("ptrace", { kernelVersion: "4.7.10", capabilities: ["CAP_SYS_PTRACE"] }), ALLOW);
});

test("defaultSeccompProfile: each capability opens its calls", () => {
  const calls = {
    CAP_BPF: "bpf",
    CAP_DAC_READ_SEARCH: "open_by_handle_at",
    CAP_PERFMON: "perf_event_open",
    CAP_SYS_ADMIN: "mount",
    CAP_SYS_BOOT: "reboot",
    CAP_SYS_CHROOT: "chroot",
    CAP_SYS_MODULE: "finit_module",
    CAP_SYS_NICE: "mbind",
    CAP_SYS_PACCT: "acct",
    CAP_SYS_PTRACE: "kcmp",
    CAP_SYS_RAWIO: "iopl",
    CAP_SYS_TIME: "clock_settime",
    CAP_SYS_TTY_CONFIG: "vhangup",
    CAP_SYSLOG: "syslog",
  };
  for (const [capability, call] of Object.entries(calls)) {
    assert.deepEqual([call, answer(call), answer(call, { capabilities: [capability] })], [call, EPERM, ALLOW]);
  }
});

test("defaultSeccompProgram: is the program of the usual container, in a quarter of libseccomp's instructions", () => {
  const profile = defaultSeccompProfile({ capabilities: DEFAULT_CAPABILITIES, arch: X86_64, kernelVersion: "6.18.0" });
  assert.deepEqual(defaultSeccompProgram, compileSeccomp(profile, { nativeArch: X86_64 }).program);
  assert.equal(defaultSeccompProgram.length / 8, 239);
});

const skip = missingLibseccomp();

for (const nativeArch of ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"] as const) {
  test(`defaultSeccompProfile: on ${nativeArch} libseccomp makes the same of every call`, { skip }, async () => {
    await using libseccomp = new Libseccomp();
    for (const capabilities of [
      [],
      DEFAULT_CAPABILITIES,
      [...DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"],
    ]) {
      const whole = defaultSeccompProfile({ capabilities, arch: nativeArch, kernelVersion: "6.18.0" });
      await assertEqualOnEveryCall(libseccomp, whole, nativeArch);
    }
  });

  test(`compileSeccomp: on ${nativeArch} a profile in Podman's form answers as libseccomp's`, { skip }, async () => {
    await using libseccomp = new Libseccomp();
    for (const capabilities of [[], DEFAULT_CAPABILITIES, [...DEFAULT_CAPABILITIES, "CAP_AUDIT_WRITE"]]) {
      await assertEqualOnEveryCall(libseccomp, podmanLike(capabilities, nativeArch), nativeArch);
    }
  });
}

/**
 * What Podman's default profile (containers/common) is made of: ENOSYS by default, EPERM for the calls that exist and
 * are refused, and rules on two arguments for the audit family of netlink sockets.
 */
function podmanLike(capabilities: readonly string[], arch: SyscallArch): LinuxSeccomp {
  const base = defaultSeccompProfile({ capabilities, arch, kernelVersion: "6.18.0" });
  const refused = [
    "bdflush create_module delete_module finit_module init_module get_kernel_syms io_pgetevents kexec_load",
    "kexec_file_load migrate_pages mount move_mount nfsservctl open_tree pciconfig_read quotactl swapon userfaultfd",
    "_sysctl sysfs uselib ustat vm86 vm86old bpf perf_event_open lookup_dcookie reboot stime settimeofday",
  ];
  const names = refused.flatMap((line) => line.split(" "));
  const EINVAL = 22;
  const NETLINK: LinuxSeccompArg = { index: 0, op: "SCMP_CMP_EQ", value: 16 };
  const AUDIT: LinuxSeccompArg = { index: 2, op: "SCMP_CMP_EQ", value: 9 };
  const sockets: LinuxSyscall[] = capabilities.includes("CAP_AUDIT_WRITE")
    ? [{ names: ["socket"], action: "SCMP_ACT_ALLOW" }]
    : [
        { names: ["socket"], action: "SCMP_ACT_ERRNO", errnoRet: EINVAL, args: [NETLINK, AUDIT] },
        { names: ["socket"], action: "SCMP_ACT_ALLOW", args: [{ ...AUDIT, op: "SCMP_CMP_NE" }] },
        { names: ["socket"], action: "SCMP_ACT_ALLOW", args: [{ ...NETLINK, op: "SCMP_CMP_NE" }] },
        { names: ["socket"], action: "SCMP_ACT_ALLOW", args: [{ ...AUDIT, op: "SCMP_CMP_NE" }] },
      ];
  const others = (base.syscalls ?? []).filter((rule) => !rule.names.includes("socket"));
  return {
    ...base,
    defaultErrnoRet: 38,
    syscalls: [{ names, action: "SCMP_ACT_ERRNO", errnoRet: 1 }, ...others, ...sockets],
  };
}

async function assertEqualOnEveryCall(libseccomp: Libseccomp, whole: LinuxSeccomp, nativeArch: SyscallArch) {
  // An older libseccomp does not know the newest calls.
  const known = new Set(await libseccomp.known((whole.syscalls ?? []).flatMap(({ names }) => names)));
  // Nor does it know this one for x32, which got it after x86_64.
  known.delete("map_shadow_stack");
  const syscalls = (whole.syscalls ?? []).map((rule) => ({
    ...rule,
    names: rule.names.filter((name) => known.has(name)),
  }));
  const profile = { ...whole, syscalls };
  const ours = compileSeccomp(profile, { nativeArch }).program;
  const theirs = await libseccomp.compile(profile, { nativeArch });
  assert.ok(theirs);
  const isNewer = newerThanProfile(profile, nativeArch);
  for (const call of everyCall((profile.architectures ?? []).filter(isSyscallArch))) {
    const actual = emulateSeccomp(ours, call);
    const expected: number = isNewer(call) ? NOT_IMPLEMENTED : emulateSeccomp(theirs, call);
    if (actual !== expected) assert.deepEqual({ call, answer: actual }, { call, answer: expected });
  }
}

/** Every number that a call of these architectures could have, with the arguments that the profile tells apart. */
function* everyCall(archs: SyscallArch[]): Generator<{ nr: number; arch: number; args: bigint[] }> {
  const argumentRules = new Set(["socket", "personality", "clone", "clone3", "socketcall", "ipc"]);
  const numbers = Array.from({ length: 600 }, (_, nr) => nr);
  for (const arch of archs) {
    const looked = new Set([...argumentRules].map((name) => syscallNumber(name, arch)));
    const bases = arch === "SCMP_ARCH_X32" ? [X32_SYSCALL_BIT] : arch === "SCMP_ARCH_ARM" ? [0, 0xf0000] : [0];
    for (const nr of [-1, 0x7fffffff, ...bases.flatMap((base) => numbers.map((number) => base + number))]) {
      for (const value of looked.has(nr) ? INTERESTING : [0n]) {
        yield { nr, arch: AUDIT_ARCHES[arch], args: [value] };
        yield { nr, arch: AUDIT_ARCHES[arch], args: [value, 0n, 9n] };
      }
    }
  }
}

const INTERESTING = [
  ...Array.from({ length: 64 }, (_, value) => BigInt(value)),
  ...Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit)),
  ...[0x20008n, 0x20009n, 0x3d0f00n, 0xfffffffen, 0xffffffffn, 0x100000000n, 0x100000008n, 0xffffffffffffffffn],
];
