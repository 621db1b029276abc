import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Libseccomp, missingLibseccomp } from "../../../tests/seccomp/libseccomp.ts";
import { NOT_IMPLEMENTED, newerThanProfile } from "../../../tests/seccomp/newer.ts";
import type {
  LinuxSeccomp,
  LinuxSeccompArg,
  LinuxSyscall,
  SeccompAction,
  SeccompOperator,
} from "../../spec/seccomp.ts";
import { ACTION_VALUES, AUDIT_ARCHES, compileSeccomp } from "./compile.ts";
import { emulateSeccomp, type SeccompData } from "./emulate.ts";
import { X32_SYSCALL_BIT } from "./syscall-tables.ts";
import { type SyscallArch, syscallNames, syscallNumber } from "./syscalls.ts";

const ALLOW = ACTION_VALUES.SCMP_ACT_ALLOW;
const KILL = ACTION_VALUES.SCMP_ACT_KILL_THREAD;
const ERRNO = ACTION_VALUES.SCMP_ACT_ERRNO;
const X86_64 = AUDIT_ARCHES.SCMP_ARCH_X86_64;
const I386 = AUDIT_ARCHES.SCMP_ARCH_X86;
const ARCHES: SyscallArch[] = [
  "SCMP_ARCH_X86_64",
  "SCMP_ARCH_X86",
  "SCMP_ARCH_X32",
  "SCMP_ARCH_AARCH64",
  "SCMP_ARCH_ARM",
];
const nativeArch = "SCMP_ARCH_X86_64";

/** The program as lines of opcode, the two distances and the constant. */
function listing(program: Uint8Array): string[] {
  const view = new DataView(program.buffer);
  return Array.from({ length: program.length / 8 }, (_, index) => {
    const at = index * 8;
    const [opcode, k] = [view.getUint16(at, true), view.getUint32(at + 4, true)];
    return `${opcode.toString(16)} ${view.getUint8(at + 2)} ${view.getUint8(at + 3)} ${k.toString(16)}`;
  });
}

/** The answer of a profile with a default of EPERM, on x86_64 unless told otherwise. */
function decide(
  syscalls: LinuxSyscall[],
  {
    name,
    nr,
    args = [],
    arch = nativeArch,
  }: { name?: string; nr?: number; args?: (number | bigint)[]; arch?: SyscallArch },
): number {
  const profile: LinuxSeccomp = { defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86"], syscalls };
  const { program } = compileSeccomp(profile, { nativeArch });
  const number = nr ?? syscallNumber(name ?? "", arch) ?? -1;
  return emulateSeccomp(program, { nr: number, arch: AUDIT_ARCHES[arch], args });
}

function allow(name: string, ...args: LinuxSeccompArg[]): LinuxSyscall {
  return { names: [name], action: "SCMP_ACT_ALLOW", args };
}

function errno(name: string, errnoRet: number, ...args: LinuxSeccompArg[]): LinuxSyscall {
  return { names: [name], action: "SCMP_ACT_ERRNO", errnoRet, args };
}

test("compileSeccomp: neighbouring calls are one range", () => {
  const syscalls = ["open", "write", "read"].map((name) => allow(name));
  const { program } = compileSeccomp({ defaultAction: "SCMP_ACT_ERRNO", syscalls }, { nativeArch });
  assert.deepEqual(listing(program), [
    "20 0 0 4", // load the architecture
    "15 0 8 c000003e", // x86_64, or kill
    "20 0 0 0", // load the number
    "35 2 0 193", // newer than open(2), or just behind it: EPERM
    "35 4 0 3",
    "6 0 0 7fff0000",
    "35 1 0 40000000", // x32, see below
    "6 0 0 50026",
    "35 0 1 ffffffff", // x32 is killed, unless it is the number of a skipped call
    "6 0 0 50001",
    "6 0 0 0",
  ]);
});

test("compileSeccomp: rules on one argument are ranges of its value", () => {
  const syscalls = [
    allow("socket", { index: 0, op: "SCMP_CMP_LT", value: 38 }),
    allow("socket", { index: 0, op: "SCMP_CMP_EQ", value: 39 }),
    allow("socket", { index: 0, op: "SCMP_CMP_GT", value: 40 }),
  ];
  const arch = { nativeArch: "SCMP_ARCH_AARCH64" } as const;
  assert.deepEqual(listing(compileSeccomp({ defaultAction: "SCMP_ACT_ERRNO", syscalls }, arch).program), [
    "20 0 0 4",
    "15 0 12 c00000b7",
    "20 0 0 0",
    "35 7 0 193", // newer than socket(2)
    "15 0 8 c6", // socket
    "20 0 0 14", // the high word of its first argument
    "35 3 0 1", // above 2^32: allow
    "20 0 0 10", // the low word
    "15 4 0 26", // AF_ALG
    "15 3 0 28", // AF_VSOCK
    "6 0 0 7fff0000",
    "35 1 0 ffffffff", // the number of a skipped call
    "6 0 0 50026",
    "6 0 0 50001",
    "6 0 0 0",
  ]);
});

test("compileSeccomp: every action has its value, and ERRNO and TRACE carry errnoRet", () => {
  const actions = Object.keys(ACTION_VALUES).filter((action): action is SeccompAction => action in ACTION_VALUES);
  const values = actions.map((defaultAction) => {
    const { program } = compileSeccomp({ defaultAction }, { nativeArch });
    return [defaultAction, emulateSeccomp(program, { nr: 0, arch: X86_64 })];
  });
  assert.deepEqual(Object.fromEntries(values), {
    SCMP_ACT_KILL: 0,
    SCMP_ACT_KILL_THREAD: 0,
    SCMP_ACT_KILL_PROCESS: 0x80000000,
    SCMP_ACT_TRAP: 0x30000,
    SCMP_ACT_ERRNO: 0x50001,
    SCMP_ACT_NOTIFY: 0x7fc00000,
    SCMP_ACT_TRACE: 0x7ff00001,
    SCMP_ACT_LOG: 0x7ffc0000,
    SCMP_ACT_ALLOW: 0x7fff0000,
  });
  const { program } = compileSeccomp({ defaultAction: "SCMP_ACT_TRACE", defaultErrnoRet: 7 }, { nativeArch });
  assert.equal(emulateSeccomp(program, { nr: 0, arch: X86_64 }), 0x7ff00007);
});

test("compileSeccomp: the operators compare 64 bits, unsigned", () => {
  const value = 0x1_0000_0005n;
  const values = [0, 4, 5, 6, value - 1n, value, value + 1n, 0x2_0000_0000n, -1n];
  const allowed = (op: SeccompOperator) =>
    values.filter(
      (arg) => decide([allow("read", { index: 2, op, value })], { name: "read", args: [0, 0, arg] }) === ALLOW,
    );
  const above = [value + 1n, 0x2_0000_0000n, -1n];
  const below = [0, 4, 5, 6, value - 1n];
  assert.deepEqual(allowed("SCMP_CMP_EQ"), [value]);
  assert.deepEqual(allowed("SCMP_CMP_NE"), [...below, ...above]);
  assert.deepEqual(allowed("SCMP_CMP_LT"), below);
  assert.deepEqual(allowed("SCMP_CMP_LE"), [...below, value]);
  assert.deepEqual(allowed("SCMP_CMP_GE"), [value, ...above]);
  assert.deepEqual(allowed("SCMP_CMP_GT"), above);
});

test("compileSeccomp: MASKED_EQ compares the masked argument with the masked valueTwo", () => {
  const rule = allow("clone", { index: 0, op: "SCMP_CMP_MASKED_EQ", value: 0x1_0000_00f0n, valueTwo: 0x1_0000_001fn });
  const values = [0x10, 0x1_0000_0010n, 0x3_0000_0a1fn, 0x1_0000_0020n];
  assert.deepEqual(
    values.filter((arg) => decide([rule], { name: "clone", args: [arg] }) === ALLOW),
    [0x1_0000_0010n, 0x3_0000_0a1fn],
  );
});

test("compileSeccomp: 32-bit architectures compare the low 32 bits", () => {
  const rules = [allow("personality", { index: 0, op: "SCMP_CMP_EQ", value: 0xffff_ffff_ffff_ffffn })];
  const call = { name: "personality", args: [0xffffffff] };
  assert.equal(decide(rules, { ...call, arch: "SCMP_ARCH_X86" }), ALLOW);
  assert.equal(decide(rules, call), ERRNO + 1);
});

test("compileSeccomp: the conditions of a rule must all hold, unless two are about one argument", () => {
  const [low, high]: LinuxSeccompArg[] = [
    { index: 0, op: "SCMP_CMP_EQ", value: 1 },
    { index: 1, op: "SCMP_CMP_EQ", value: 2 },
  ].map((arg) => ({ ...arg, op: "SCMP_CMP_EQ" }) as const);
  assert.ok(low && high);
  const both = [allow("read", high, low)];
  assert.equal(decide(both, { name: "read", args: [1, 2] }), ALLOW);
  assert.equal(decide(both, { name: "read", args: [1, 3] }), ERRNO + 1);
  const either = [allow("read", low, { ...low, value: 7 })];
  assert.equal(decide(either, { name: "read", args: [1] }), ALLOW);
  assert.equal(decide(either, { name: "read", args: [7] }), ALLOW);
});

test("compileSeccomp: the first unconditional rule counts, and before it no rule on arguments", () => {
  const one: LinuxSeccompArg = { index: 0, op: "SCMP_CMP_EQ", value: 1 };
  const rules = [errno("read", 5, one), errno("read", 6), allow("read"), errno("read", 7, one)];
  assert.equal(decide(rules, { name: "read", args: [1] }), ERRNO + 6);
});

test("compileSeccomp: a rule with the default action is no rule", () => {
  assert.equal(decide([errno("read", 1), allow("read")], { name: "read" }), ALLOW);
});

test("compileSeccomp: calls of other architectures are killed, and so is x32 where it is not named", () => {
  const rules = [allow("read")];
  assert.equal(decide(rules, { nr: 63, arch: "SCMP_ARCH_AARCH64" }), KILL);
  assert.equal(decide(rules, { nr: X32_SYSCALL_BIT }), KILL);
  assert.equal(decide(rules, { nr: -1 }), ERRNO + 1);
});

test("compileSeccomp: a call newer than the newest that the profile names is not implemented", () => {
  const answers = (profile: Partial<LinuxSeccomp>, numbers: number[], arch: SyscallArch = nativeArch) => {
    const { program } = compileSeccomp({ defaultAction: "SCMP_ACT_ERRNO", ...profile }, { nativeArch });
    return numbers.map((nr) => emulateSeccomp(program, { nr, arch: AUDIT_ARCHES[arch] }));
  };
  const EPERM = ERRNO + 1;
  const openat2 = [allow("read"), allow("openat2")];
  assert.deepEqual(answers({ syscalls: openat2 }, [0, 436, 437, 438, 1000]), [
    ALLOW,
    EPERM,
    ALLOW,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
  ]);
  // Calls from before Linux 5.1 are nothing new, however few of them the profile names.
  assert.deepEqual(answers({ syscalls: [allow("read")] }, [1, 334, 402, 403]), [EPERM, EPERM, EPERM, NOT_IMPLEMENTED]);
  // A rule with the default action is none, but the profile knows the call.
  assert.deepEqual(answers({ syscalls: [allow("read"), errno("openat2", 1)] }, [437, 438]), [EPERM, NOT_IMPLEMENTED]);
  assert.deepEqual(answers({ defaultAction: "SCMP_ACT_KILL", syscalls: openat2 }, [436, 438]), [KILL, NOT_IMPLEMENTED]);
  assert.deepEqual(
    answers({ architectures: ["SCMP_ARCH_ARM"], syscalls: [allow("set_tls")] }, [437, 0xf0005], "SCMP_ARCH_ARM"),
    [EPERM, ALLOW],
  );
  assert.deepEqual(answers({ syscalls: [] }, [437]), [EPERM]);
  for (const defaultAction of ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"] as const) {
    const value = ACTION_VALUES[defaultAction] + (defaultAction === "SCMP_ACT_TRACE" ? 1 : 0);
    assert.deepEqual(
      answers({ defaultAction, syscalls: openat2.map((rule) => ({ ...rule, action: "SCMP_ACT_KILL" })) }, [438]),
      [value],
    );
  }
});

test("compileSeccomp: x32 beside x86_64 has its own numbers", () => {
  const profile: LinuxSeccomp = {
    defaultAction: "SCMP_ACT_TRAP",
    architectures: ["SCMP_ARCH_X32"],
    syscalls: [allow("ioctl")],
  };
  const { program } = compileSeccomp(profile, { nativeArch });
  const answers = [16, 514, X32_SYSCALL_BIT + 16, X32_SYSCALL_BIT + 514].map((nr) =>
    emulateSeccomp(program, { nr, arch: X86_64 }),
  );
  const trap = ACTION_VALUES.SCMP_ACT_TRAP;
  assert.deepEqual(answers, [ALLOW, NOT_IMPLEMENTED, trap, ALLOW]);
});

test("compileSeccomp: on i386 a socket rule is for socketcall too", () => {
  const rules = [allow("connect"), allow("semop")];
  assert.equal(decide(rules, { nr: 102, args: [3], arch: "SCMP_ARCH_X86" }), ALLOW);
  assert.equal(decide(rules, { nr: 102, args: [2], arch: "SCMP_ARCH_X86" }), ERRNO + 1);
  assert.equal(decide(rules, { nr: 362, arch: "SCMP_ARCH_X86" }), ALLOW);
  assert.equal(decide(rules, { nr: 117, args: [1], arch: "SCMP_ARCH_X86" }), ALLOW);
});

test("compileSeccomp: skips what it does not know and says so", () => {
  const profile: LinuxSeccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_S390X", "SCMP_ARCH_X86"],
    syscalls: [
      { names: ["frobnicate", "oldolduname", "read"], action: "SCMP_ACT_KILL_PROCESS" },
      { names: ["frobnicate"], action: "SCMP_ACT_ALLOW" },
    ],
  };
  const { program, unknownSyscalls, unknownArchitectures } = compileSeccomp(profile, { nativeArch });
  assert.deepEqual(
    { unknownSyscalls, unknownArchitectures },
    {
      unknownSyscalls: ["frobnicate"],
      unknownArchitectures: ["SCMP_ARCH_S390X"],
    },
  );
  assert.equal(emulateSeccomp(program, { nr: 0, arch: X86_64 }), ACTION_VALUES.SCMP_ACT_KILL_PROCESS);
});

test("compileSeccomp: flags are the profile's, SPEC_ALLOW where it has none, and a listener for NOTIFY", () => {
  const flags = (profile: Partial<LinuxSeccomp>) =>
    compileSeccomp({ defaultAction: "SCMP_ACT_ALLOW", ...profile }, { nativeArch }).flags;
  assert.equal(flags({}), 4);
  assert.equal(flags({ flags: [] }), 0);
  assert.equal(flags({ flags: ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"] }), 6);
  assert.equal(flags({ flags: [], syscalls: [{ names: ["read"], action: "SCMP_ACT_NOTIFY" }] }), 8);
  assert.equal(flags({ flags: [], defaultAction: "SCMP_ACT_NOTIFY" }), 8);
});

test("compileSeccomp: flags that the kernel would refuse, and that would change nothing, are left out", () => {
  const syscalls: LinuxSyscall[] = [{ names: ["read"], action: "SCMP_ACT_NOTIFY" }];
  const flags = (profile: Partial<LinuxSeccomp>) =>
    compileSeccomp({ defaultAction: "SCMP_ACT_ALLOW", ...profile }, { nativeArch }).flags;
  assert.equal(flags({ flags: ["SECCOMP_FILTER_FLAG_TSYNC"] }), 0);
  assert.equal(flags({ flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] }), 0);
  assert.equal(flags({ flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"], syscalls }), 40);
});

test("compileSeccomp: refuses what the spec does not know, and more than the kernel takes", () => {
  const refused = (profile: object, message: RegExp) =>
    assert.throws(() => compileSeccomp({ defaultAction: "SCMP_ACT_ALLOW", ...profile }, { nativeArch }), {
      name: "RangeError",
      message,
    });
  const rule = (args: object) => ({ syscalls: [{ names: ["read"], action: "SCMP_ACT_TRAP", ...args }] });
  refused({ defaultAction: "SCMP_ACT_SHRUG" }, /unknown seccomp action SCMP_ACT_SHRUG/);
  refused({ flags: ["SECCOMP_FILTER_FLAG_X"] }, /unknown seccomp flag SECCOMP_FILTER_FLAG_X/);
  refused({ defaultErrnoRet: 1 }, /SCMP_ACT_ALLOW takes no errnoRet/);
  refused(rule({ args: [{ index: 6, op: "SCMP_CMP_EQ", value: 0 }] }), /no argument has index 6/);
  refused(rule({ args: [{ index: 0, op: "SCMP_CMP_ISH", value: 0 }] }), /unknown seccomp operator SCMP_CMP_ISH/);
  const args = (value: number) => [0, 1].map((index) => ({ index, op: "SCMP_CMP_EQ", value }));
  const many = Array.from({ length: 600 }, (_, value) => ({
    names: ["read"],
    action: "SCMP_ACT_TRAP",
    args: args(value),
  }));
  refused({ syscalls: many }, /the seccomp filter has \d{4} instructions; the kernel takes 4096/);
});

test("compileSeccomp: jumps beyond 255 instructions arrive", () => {
  const args = (value: number): LinuxSeccompArg[] => [0, 1].map((index) => ({ index, op: "SCMP_CMP_EQ", value }));
  const names = syscallNames(nativeArch).filter((_, at) => at % 4 === 0);
  const syscalls = names.map((name, at) => ({ ...errno(name, 2 + at), args: args(at) }));
  const { program } = compileSeccomp(
    { defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86"], syscalls },
    { nativeArch },
  );
  assert.ok(program.length / 8 > 1000);
  for (const [at, name] of names.entries()) {
    const nr = syscallNumber(name, nativeArch) ?? -1;
    assert.equal(emulateSeccomp(program, { nr, arch: X86_64, args: [at, at] }), ERRNO + 2 + at);
    assert.equal(emulateSeccomp(program, { nr, arch: X86_64, args: [at, at + 1] }), ERRNO + 1);
  }
  assert.equal(emulateSeccomp(program, { nr: 402, arch: I386 }), ERRNO + 1);
});

/** Plain calls, calls with numbers of their own on x32, calls of single architectures, multiplexed calls of i386. */
const NAMES = [
  ...["read", "write", "open", "close", "openat", "personality", "clone", "ioctl", "ptrace", "recvmsg", "chown32"],
  ...["set_tls", "arch_prctl", "mmap2", "socket", "connect", "accept", "recv", "semop", "shmat", "msgget"],
];
const WORDS = [0n, 1n, 2n, 5n, 38n, 0xffn, 0x7fffffffn, 0x80000000n, 0xffffffffn];
const OPERATORS: SeccompOperator[] = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
];

/** A condition with values of these high words. */
function conditions(highs: bigint[], operators: SeccompOperator[] = OPERATORS): fc.Arbitrary<LinuxSeccompArg> {
  const value = fc
    .tuple(fc.constantFrom(...highs), fc.constantFrom(...WORDS))
    .map(([high, low]) => (high << 32n) + low);
  const index = fc.constantFrom(0, 0, 1, 1, 2, 5);
  return fc.record({ index, op: fc.constantFrom(...operators), value, valueTwo: value });
}
const HIGHS = [0n, 0n, 0n, 1n, 2n, 0xffffffffn];
const EQUALITIES: SeccompOperator[] = ["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"];

const action = fc.constantFrom<Pick<LinuxSyscall, "action" | "errnoRet">>(
  { action: "SCMP_ACT_ALLOW" },
  { action: "SCMP_ACT_ALLOW" },
  { action: "SCMP_ACT_ERRNO" },
  { action: "SCMP_ACT_ERRNO", errnoRet: 38 },
  { action: "SCMP_ACT_KILL" },
  { action: "SCMP_ACT_KILL_PROCESS" },
  { action: "SCMP_ACT_TRAP" },
  { action: "SCMP_ACT_TRACE", errnoRet: 3 },
  { action: "SCMP_ACT_LOG" },
  { action: "SCMP_ACT_NOTIFY" },
);

/** Profiles of up to 12 rules, each for one call. */
function profiles(rules: fc.Arbitrary<LinuxSyscall>): fc.Arbitrary<LinuxSeccomp> {
  return fc
    .record({
      byDefault: action.filter(({ action: name }) => name !== "SCMP_ACT_NOTIFY"),
      architectures: fc.subarray(ARCHES),
      syscalls: fc.array(rules, { maxLength: 12 }),
    })
    .map(({ byDefault, architectures, syscalls }) => ({
      defaultAction: byDefault.action,
      ...(byDefault.errnoRet !== undefined && { defaultErrnoRet: byDefault.errnoRet }),
      architectures,
      syscalls,
    }));
}

/** Calls at and around what the profile's rules name, on every architecture and on one that no profile has. */
function* probes(profile: LinuxSeccomp): Generator<SeccompData> {
  const PPC64LE = 0xc0000015;
  for (const nr of [
    0,
    1,
    -1,
    102,
    117,
    402,
    403,
    437,
    511,
    1000,
    0xf0000,
    X32_SYSCALL_BIT,
    X32_SYSCALL_BIT + 514,
    0x7fffffff,
  ]) {
    for (const arch of [...new Set(Object.values(AUDIT_ARCHES)), PPC64LE]) yield { nr, arch };
  }
  for (const { names, args = [] } of profile.syscalls ?? []) {
    for (const arch of ARCHES) {
      for (const name of names) {
        const nr = syscallNumber(name, arch);
        if (nr === undefined) continue;
        for (const values of argumentVectors(profile, args, name)) yield { nr, arch: AUDIT_ARCHES[arch], args: values };
      }
    }
    const functions = args.length > 0 ? [1, 3, 12] : [1, 2, 3, 5, 10, 13, 21];
    for (const func of functions) {
      for (const nr of [102, 117]) {
        for (const [, ...rest] of argumentVectors(profile, args, "")) yield { nr, arch: I386, args: [func, ...rest] };
      }
    }
  }
}

/** For the conditions of a rule, and one argument after the other of all rules on the call: the value and around it. */
function* argumentVectors(profile: LinuxSeccomp, args: LinuxSeccompArg[], name: string): Generator<bigint[]> {
  const base = [0n, 0n, 0n, 0n, 0n, 0n];
  for (const { index, op, value: first, valueTwo = 0 } of args) {
    base[index] = BigInt(op === "SCMP_CMP_MASKED_EQ" ? valueTwo : first);
  }
  yield base;
  const others = (profile.syscalls ?? [])
    .filter(({ names }) => names.includes(name))
    .flatMap((rule) => rule.args ?? []);
  for (const { index, value: first, valueTwo = 0 } of others) {
    for (const around of [
      BigInt(first) - 1n,
      BigInt(first),
      BigInt(first) + 1n,
      BigInt(first) + (1n << 32n),
      BigInt(valueTwo),
    ]) {
      yield base.with(index, BigInt.asUintN(64, around));
    }
  }
}

/** Compares the two compilers by what their programs answer. */
async function assertEqualInEffect(libseccomp: Libseccomp, profile: LinuxSeccomp, arch: SyscallArch): Promise<boolean> {
  const theirs = await libseccomp.compile(profile, { nativeArch: arch });
  const { program } = compileSeccomp(profile, { nativeArch: arch });
  if (theirs === undefined) return false;
  const isNewer = newerThanProfile(profile, arch);
  for (const call of probes(profile)) {
    const answer = emulateSeccomp(program, call);
    const expected: number = isNewer(call) ? NOT_IMPLEMENTED : emulateSeccomp(theirs, call);
    if (answer !== expected) assert.deepEqual({ call, answer }, { call, answer: expected });
  }
  return true;
}

const skip = missingLibseccomp();

/** The profile with one action for all rules on a call, so that it does not matter which of them applies. */
function withActions(
  profile: LinuxSeccomp,
  byName: readonly Pick<LinuxSyscall, "action" | "errnoRet">[],
): LinuxSeccomp {
  const syscalls = (profile.syscalls ?? []).map((rule) => ({ ...rule, ...byName[NAMES.indexOf(rule.names[0] ?? "")] }));
  return { ...profile, syscalls };
}
const actionsByName = fc.array(action, { minLength: NAMES.length, maxLength: NAMES.length });

function rules(names: string[], args: fc.Arbitrary<LinuxSeccompArg[]>): fc.Arbitrary<LinuxSyscall> {
  return fc.tuple(fc.constantFrom(...names), args).map(([name, all]) => allow(name, ...all));
}

// Where an inequality meets other conditions, or another 64-bit inequality, libseccomp 2.5.4 loses or invents matches
// in some profiles of a hundred (its tree shares a branch between rules). There the profile itself is the measure: the
// next test but one.
test("compileSeccomp: answers as libseccomp's program does, for 1,000 generated profiles", { skip }, async () => {
  await using libseccomp = new Libseccomp();
  const [some, others] = [NAMES.filter((_, at) => at % 2 === 0), NAMES.filter((_, at) => at % 2 === 1)];
  const equal = rules(some, fc.array(conditions(HIGHS, EQUALITIES), { maxLength: 3 }));
  const ordered = rules(others, fc.array(conditions([0n]), { maxLength: 1 }));
  const generated = fc.tuple(profiles(fc.oneof(equal, ordered)), actionsByName, fc.constantFrom(...ARCHES));
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(generated, async ([profile, byName, arch]) => {
      if (await assertEqualInEffect(libseccomp, withActions(profile, byName), arch)) compared += 1;
    }),
    { seed: 20260801, numRuns: 1000 },
  );
  assert.equal(compared, 1000);
});

test("compileSeccomp: weighs rules of different actions as libseccomp does, for 400 generated profiles", {
  skip,
}, async () => {
  await using libseccomp = new Libseccomp();
  // Without NE: of two of those libseccomp takes one for the high word and the other for the low one.
  const operators = OPERATORS.filter((op) => op !== "SCMP_CMP_NE");
  const single = rules(["read", "personality", "ioctl"], fc.array(conditions([0n], operators), { maxLength: 1 }));
  const rule = fc.tuple(single, action).map(([syscall, act]) => ({ ...syscall, ...act }));
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(profiles(rule), async (profile) => {
      if (await assertEqualInEffect(libseccomp, profile, nativeArch)) compared += 1;
    }),
    { seed: 20260801, numRuns: 500 },
  );
  assert.ok(compared >= 400, `only ${compared} profiles were compared`);
});

/** What the profile says about a call of aarch64, read rule by rule; all rules on a call have one action. */
function meaning({ defaultAction, defaultErrnoRet = 1, syscalls = [] }: LinuxSeccomp, call: SeccompData): number {
  const value = (name: SeccompAction, errnoRet = 1) =>
    ACTION_VALUES[name] + (name === "SCMP_ACT_ERRNO" || name === "SCMP_ACT_TRACE" ? errnoRet : 0);
  const holds = ({ index, op, value: operand, valueTwo = 0 }: LinuxSeccompArg): boolean => {
    const [arg, right, second] = [BigInt(call.args?.[index] ?? 0), BigInt(operand), BigInt(valueTwo)];
    return {
      SCMP_CMP_NE: arg !== right,
      SCMP_CMP_LT: arg < right,
      SCMP_CMP_LE: arg <= right,
      SCMP_CMP_EQ: arg === right,
      SCMP_CMP_GE: arg >= right,
      SCMP_CMP_GT: arg > right,
      SCMP_CMP_MASKED_EQ: (arg & right) === (second & right),
    }[op];
  };
  if (call.arch !== AUDIT_ARCHES.SCMP_ARCH_AARCH64) return KILL;
  const match = syscalls.find(({ names, args = [] }) => {
    if (syscallNumber(names[0] ?? "", "SCMP_ARCH_AARCH64") !== call.nr) return false;
    const repeated = new Set(args.map(({ index }) => index)).size < args.length;
    return repeated ? args.some(holds) : args.every(holds);
  });
  return match ? value(match.action, match.errnoRet) : value(defaultAction, defaultErrnoRet);
}

test("compileSeccomp: answers what the profile says, for 1,000 generated profiles", () => {
  const generated = profiles(rules(NAMES, fc.array(conditions(HIGHS), { maxLength: 3 })));
  fc.assert(
    fc.property(generated, actionsByName, (anyArchs, byName) => {
      const profile: LinuxSeccomp = { ...withActions(anyArchs, byName), architectures: [] };
      const { program } = compileSeccomp(profile, { nativeArch: "SCMP_ARCH_AARCH64" });
      const isNewer = newerThanProfile(profile, "SCMP_ARCH_AARCH64");
      for (const call of probes(profile)) {
        const answer = emulateSeccomp(program, call);
        const expected: number = isNewer(call) ? NOT_IMPLEMENTED : meaning(profile, call);
        if (answer !== expected) assert.deepEqual({ call, answer }, { call, answer: expected });
      }
    }),
    { seed: 20260801, numRuns: 1000 },
  );
});
