import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import { defaultConfig } from "../../spec/default-config.ts";
import type { LinuxSeccomp } from "../../spec/seccomp.ts";
import { planSeccomp } from "./plan-seccomp.ts";
import { compileProfile, DEFAULT_PROFILE } from "./profile-program.ts";

/** The step's fields that this is about. */
function stepOf(seccomp: LinuxSeccomp, annotations?: Record<string, string>): object {
  const config = defaultConfig({ cgroup2: true });
  config.linux.seccomp = seccomp;
  if (annotations !== undefined) config.annotations = annotations;
  const [step] = planSeccomp(config, "x86_64");
  assert.ok(step?.op === "seccomp");
  const { flags, profile, listener, ignored } = step;
  return { flags, profile, listener, ignored };
}

const notifying = (more: Partial<LinuxSeccomp>): LinuxSeccomp => ({
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }],
  flags: [],
  ...more,
});

test("planSeccomp: no profile, no step", () => {
  assert.deepEqual(planSeccomp(defaultConfig({ cgroup2: true }), "x86_64"), []);
});

test("planSeccomp: a filter that the caller has is not compiled again", () => {
  const config = defaultConfig({ cgroup2: true });
  config.linux.seccomp = { defaultAction: "SCMP_ACT_KILL" };
  const filter = compileProfile(DEFAULT_PROFILE, "x86_64");
  const [step] = planSeccomp(config, "x86_64", filter);
  assert.equal(step?.op === "seccomp" && step.program, filter.program);
});

test("planSeccomp: a listener goes with NOTIFY alone", () => {
  const listener = { listenerPath: "/run/agent", listenerMetadata: "mine" };
  const common = { profile: "from the config", ignored: undefined };
  assert.deepEqual(stepOf(notifying(listener)), {
    ...common,
    flags: 8,
    listener: { path: "/run/agent", metadata: "mine" },
  });
  assert.deepEqual(stepOf(notifying({ ...listener, syscalls: [] })), { ...common, flags: 0, listener: undefined });
});

test("planSeccomp: names that are not known are left out and told, or an error where crun's annotation says so", () => {
  const profile: LinuxSeccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_MIPS"],
    syscalls: [{ names: ["mkdir", "frobnicate"], action: "SCMP_ACT_KILL" }],
  };
  const annotation = "run.oci.seccomp_fail_unknown_syscall";
  const told = { flags: 4, profile: "from the config", listener: undefined, ignored: ["frobnicate", "SCMP_ARCH_MIPS"] };
  assert.deepEqual(stepOf(profile), told);
  assert.deepEqual(stepOf(profile, { [annotation]: "0" }), told);
  assert.throws(() => stepOf(profile, { [annotation]: "1" }), { code: "SECCOMP_SYSCALL_UNKNOWN" });
  const onlyArchitecture = { ...profile, syscalls: [] };
  assert.deepEqual(stepOf(onlyArchitecture, { [annotation]: "1" }), { ...told, ignored: ["SCMP_ARCH_MIPS"] });
});

test("planSeccomp: refuses what cannot work", () => {
  const code = (profile: LinuxSeccomp, annotations?: Record<string, string>): string => {
    try {
      stepOf(profile, annotations);
    } catch (error) {
      if (error instanceof ContainerError) return `${error.code} ${error.field}`;
      throw error;
    }
    return "planned";
  };
  assert.equal(code(notifying({})), "SECCOMP_LISTENER_MISSING linux.seccomp.listenerPath");
  assert.equal(
    code(notifying({ listenerPath: "/run/agent" }), { "tupper.init": "true" }),
    "SECCOMP_LISTENER_WITH_INIT linux.seccomp.listenerPath",
  );
  const many = Array.from({ length: 3000 }, (_, value) => value);
  const rules = many.map((value) => ({
    names: ["mkdir"],
    action: "SCMP_ACT_KILL" as const,
    args: [0, 1].map((index) => ({ index, value, op: "SCMP_CMP_EQ" as const })),
  }));
  assert.equal(code({ defaultAction: "SCMP_ACT_ALLOW", syscalls: rules }), "BAD_SECCOMP_PROFILE linux.seccomp");
});
