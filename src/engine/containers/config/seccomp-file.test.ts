import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../../error.ts";
import { type ProfileConditions, parseSeccompFile } from "./seccomp-file.ts";

const here: ProfileConditions = { capabilities: ["CAP_SYS_ADMIN"], host: { architecture: "x86_64", kernel: [6, 1] } };
const parse = (profile: unknown, conditions = here) => parseSeccompFile("p.json", JSON.stringify(profile), conditions);
const rule = (name: string, more: object = {}) => ({ names: [name], action: "SCMP_ACT_ALLOW", ...more });

test("parseSeccompFile: the runtime-spec's form comes through as it is", () => {
  const profile = {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 1,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    flags: ["SECCOMP_FILTER_FLAG_LOG"],
    syscalls: [
      {
        names: ["clone"],
        action: "SCMP_ACT_ALLOW",
        args: [{ index: 0, value: 2114060288, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
      },
    ],
  };
  assert.deepEqual(parse(profile), profile);
});

test("parseSeccompFile: docker's conditions are decided, and its archMap is the list for this architecture", () => {
  const profile = {
    defaultAction: "SCMP_ACT_ERRNO",
    archMap: [
      { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] },
      { architecture: "SCMP_ARCH_AARCH64", subArchitectures: null },
    ],
    syscalls: [
      rule("always", { args: null }),
      rule("with-admin", { includes: { caps: ["CAP_SYS_ADMIN"] } }),
      rule("with-both", { includes: { caps: ["CAP_SYS_ADMIN", "CAP_BPF"] } }),
      rule("without-admin", { excludes: { caps: ["CAP_SYS_ADMIN"] } }),
      rule("intel", { includes: { arches: ["amd64", "x32"] } }),
      rule("not-intel", { excludes: { arches: ["amd64"] } }),
      rule("new", { includes: { minKernel: "4.8" } }),
      rule("newer", { includes: { minKernel: "6.2" } }),
      { name: "old-form", action: "SCMP_ACT_ALLOW", excludes: {} },
    ],
  };
  const names = ({ syscalls }: ReturnType<typeof parse>) => syscalls?.flatMap((entry) => entry.names);
  const arm = parse(profile, { capabilities: [], host: { architecture: "aarch64", kernel: [4, 4] } });
  assert.deepEqual(names(parse(profile)), ["always", "with-admin", "intel", "new", "old-form"]);
  assert.deepEqual(parse(profile).architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
  assert.deepEqual(names(arm), ["always", "without-admin", "not-intel", "old-form"]);
  assert.deepEqual(arm.architectures, ["SCMP_ARCH_AARCH64"]);
});

test("parseSeccompFile: an error names the file and the field, and numbers that JSON cannot hold are one", () => {
  const wrong = [
    { syscalls: [] },
    { defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule("x", { args: [{ index: 6, value: 0, op: "SCMP_CMP_EQ" }] })] },
    {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [rule("x", { args: [{ index: 0, value: 2 ** 60, op: "SCMP_CMP_EQ" }] })],
    },
  ];
  const fields = ["defaultAction", "syscalls.0.args.0.index", "syscalls.0.args.0.value"];
  for (const [i, profile] of wrong.entries()) {
    assert.throws(
      () => parse(profile),
      (error) =>
        error instanceof ContainerError &&
        error.code === "BAD_SECCOMP_PROFILE" &&
        error.message.startsWith(`p.json is not a seccomp profile: ${fields[i]}: `),
    );
  }
});
