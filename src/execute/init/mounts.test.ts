import assert from "node:assert/strict";
import { test } from "node:test";
import { recordingSys, type Script } from "../../sys/recording.ts";
import { replaceSys } from "../../sys/sys.ts";
import { makeTracer } from "../tracer.ts";
import type { InitContext, StepArguments } from "./context.ts";
import { mountSteps } from "./mounts.ts";

/** The calls of one `mount` step, on a machine with or without SELinux. */
function calls(step: Partial<StepArguments<"mount">>, selinux: boolean, script: Script = {}): unknown[][] {
  const recorder = recordingSys(script);
  const before = replaceSys(recorder);
  const context: InitContext = {
    channel: 9,
    tracer: makeTracer("off"),
    slots: new Map(),
    freshMounts: new Set(["/"]),
    securityModules: { apparmor: false, selinux },
  };
  try {
    mountSteps.mount(
      {
        op: "mount",
        by: "init",
        source: "tmpfs",
        target: "/cache",
        fstype: "tmpfs",
        flags: [],
        data: "size=1m",
        because: "",
        ...step,
      },
      context,
    );
  } finally {
    replaceSys(before);
  }
  return recorder.calls.map(({ name, args }) => [name, ...args]);
}

const text = "u:object_r:t:s0:c1,c2";

test("mount: a label is an option of the filesystem where the kernel has SELinux, and nothing elsewhere", () => {
  const label = { text, as: "context" };
  const at = (selinux: boolean) => calls({ label }, selinux).filter(([name]) => name === "mount");
  assert.deepEqual(at(true), [["mount", "tmpfs", "/cache", "tmpfs", 0, `size=1m,context="${text}"`]]);
  assert.deepEqual(at(false), [["mount", "tmpfs", "/cache", "tmpfs", 0, "size=1m"]]);
});

test("mount: of an mqueue the root is labelled, once it is mounted", () => {
  const step = { fstype: "mqueue", target: "/dev/mqueue", data: "", label: { text, as: "attribute" } };
  const made = calls(step, true, { openat: 5 }).filter(([name]) => name === "mount" || name === "fsetxattr");
  assert.deepEqual(made, [
    ["mount", "tmpfs", "/dev/mqueue", "mqueue", 0, null],
    ["fsetxattr", 5, "security.selinux", text, 0],
  ]);
  assert.equal(
    calls(step, false).some(([name]) => name === "fsetxattr"),
    false,
  );
});
