import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import { recordingSys, type Script } from "../../sys/recording.ts";
import { replaceSys } from "../../sys/sys.ts";
import { makeTracer } from "../tracer.ts";
import type { InitContext } from "./context.ts";
import { labelSteps } from "./labels.ts";

const proc = { slot: "machine.proc" };
const why = { by: "init", because: "" } as const;
const PROC_FD = 7;

/** What keyctl(KEYCTL_DESCRIBE) answers: nothing but the length where there is no room. */
const describedAs =
  (text: string): NonNullable<Script["keyctlDescribe"]> =>
  (_operation, _key, buffer) => {
    if (text.length < buffer.byteLength) new Uint8Array(buffer).set(new TextEncoder().encode(`${text}\0`));
    return text.length + 1;
  };

/** What is written where, in a kernel with these modules. */
function written(
  perform: (context: InitContext) => void,
  modules: { apparmor: boolean; selinux: boolean },
  script: Script = {},
): string[] {
  const opened = new Map<number, string>();
  const recorder = recordingSys({
    openat: (_dirfd, path) => {
      opened.set(20 + opened.size, path);
      return 19 + opened.size;
    },
    keyctlJoin: 77,
    geteuid: 1000,
    keyctlDescribe: describedAs("keyring;1000;1000;3f130000;_ses.box"),
    ...script,
  });
  const before = replaceSys(recorder);
  try {
    perform({
      channel: 9,
      tracer: makeTracer("off"),
      slots: new Map([[proc.slot, PROC_FD]]),
      freshMounts: new Set(),
      securityModules: modules,
    });
  } finally {
    replaceSys(before);
  }
  return recorder.calls.flatMap(({ name, args }) => {
    if (name === "write") return [`${opened.get(Number(args[0]))}: ${args[1]}`];
    return ["keyctlJoin", "keyctlSet", "sendMessage"].includes(name) ? [`${name} ${args.join(" ")}`] : [];
  });
}

const labels = (step: { apparmor?: string; stacked?: boolean; selinux?: string }) => (context: InitContext) =>
  labelSteps.setLabels({ op: "setLabels", ...step, proc, ...why }, context);

const BOTH = { apparmor: true, selinux: true };

test("setLabels: both modules, each in its file", () => {
  assert.deepEqual(written(labels({ apparmor: "docker-default", selinux: "u:r:t:s0" }), BOTH), [
    "self/attr/apparmor/exec: exec docker-default",
    "self/attr/exec: u:r:t:s0",
  ]);
});

test("setLabels: before Linux 5.8 AppArmor has the file that all modules share", () => {
  assert.deepEqual(written(labels({ apparmor: "foo" }), BOTH, { faccessat: -2 }), ["self/attr/exec: exec foo"]);
});

test("setLabels: nothing where the kernel has no such module", () => {
  assert.deepEqual(written(labels({ apparmor: "foo", selinux: "u:r:t:s0" }), { apparmor: false, selinux: false }), []);
});

test("setLabels: with no_new_privs a confined process stacks the profile, an unconfined one takes it", () => {
  const as = (current: string) => written(labels({ apparmor: "foo", stacked: true }), BOTH, { readText: current });
  assert.deepEqual(as("unconfined\n"), ["self/attr/apparmor/exec: exec foo"]);
  assert.deepEqual(as("runtime (enforce)\n"), ["self/attr/apparmor/exec: stack foo"]);
  assert.deepEqual(as("unconfined_foo (enforce)\n"), ["self/attr/apparmor/exec: stack foo"]);
});

test("setLabels: a profile that is not loaded is named", () => {
  assert.throws(
    () => written(labels({ apparmor: "foo" }), BOTH, { write: -2 }),
    (error) => error instanceof ContainerError && error.code === "APPARMOR_PROFILE_MISSING",
  );
});

const keyring =
  (shared: boolean, selinux?: string) =>
  (context: InitContext): void =>
    labelSteps.newKeyring(
      {
        op: "newKeyring",
        name: "_ses.box",
        shared,
        ...(selinux === undefined ? {} : { label: { selinux, proc } }),
        ...why,
      },
      context,
    );

test("newKeyring: one that later processes of the container find by its name", () => {
  assert.deepEqual(written(keyring(true), BOTH), ["keyctlJoin 1 _ses.box", `keyctlSet 5 77 ${0x3f1b0000}`]);
  assert.deepEqual(written(keyring(false), BOTH), ["keyctlJoin 1 _ses.box"]);
});

test("newKeyring: labelled, and keys made later are not", () => {
  assert.deepEqual(written(keyring(false, "u:r:t:s0"), BOTH), [
    "self/attr/keycreate: u:r:t:s0",
    "keyctlJoin 1 _ses.box",
    "self/attr/keycreate: \n",
  ]);
});

test("newKeyring: a kernel without keys has none to keep", () => {
  for (const keyctlJoin of [-38, -1])
    assert.deepEqual(written(keyring(true), BOTH, { keyctlJoin }), ["keyctlJoin 1 _ses.box"]);
});

test("newKeyring: another user's of that name, or one that may not be looked at, is left for one without a name", () => {
  const others = [
    describedAs("keyring;0;0;3f3f3f3f;_ses.box"),
    -13,
    describedAs(`keyring;1000;1000;3f130000;${"x".repeat(500)}`),
  ];
  for (const keyctlDescribe of others) {
    const [first, second, warning = "", ...rest] = written(keyring(true), BOTH, { keyctlDescribe });
    assert.deepEqual([first, second, rest], ["keyctlJoin 1 _ses.box", "keyctlJoin 1 ", []]);
    assert.match(warning, /^sendMessage .*another user \((0|unknown)\) has a keyring _ses\.box/);
  }
});

test("takeProc: only a procfs is the machine's /proc", () => {
  assert.throws(
    () => written((context) => labelSteps.takeProc({ op: "takeProc", proc, ...why }, context), BOTH),
    (error) => error instanceof ContainerError && error.code === "PROC_MISSING",
  );
});
