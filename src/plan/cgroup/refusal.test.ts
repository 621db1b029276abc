import assert from "node:assert/strict";
import { test } from "node:test";
import { explainCgroupRefusal } from "./refusal.ts";

test("explainCgroupRefusal: a file that the kernel does not have, with what it needs", () => {
  assert.deepEqual(explainCgroupRefusal("/cg/memory/c/memory.memsw.limit_in_bytes", "5", "ENOENT"), {
    code: "CGROUP_FILE_MISSING",
    message: "this kernel has no control group file memory.memsw.limit_in_bytes",
    hint: "it needs swap accounting: boot with swapaccount=1",
  });
  assert.deepEqual(explainCgroupRefusal("/cg/c/misc.max", "5", "ENOENT"), {
    code: "CGROUP_FILE_MISSING",
    message: "this kernel has no control group file misc.max",
  });
});

test("explainCgroupRefusal: each errno that the kernel gives to a value", () => {
  const code = (file: string, errno: string) => explainCgroupRefusal(`/cg/c/${file}`, "8:0 5", errno)?.message;
  assert.deepEqual(
    [
      code("blkio.bfq.weight_device", "EOPNOTSUPP"),
      code("blkio.throttle.read_bps_device", "ENODEV"),
      code("cgroup.subtree_control", "EBUSY"),
      code("memory.limit_in_bytes", "EBUSY"),
      code("devices.allow", "EPERM"),
      code("cpuset.cpus", "ERANGE"),
      code("pids.max", "EIO"),
    ],
    [
      "disk 8:0 takes no weights",
      "there is no disk 8:0",
      "the control group /cg/c has processes in it, so it cannot hand controllers down",
      "memory.limit_in_bytes cannot go down to 8:0 5: more than that is in use",
      "8:0 5 is more than the group above allows in devices.allow",
      "cpuset.cpus does not take the value 8:0 5",
      undefined,
    ],
  );
});

test("explainCgroupRefusal: EOPNOTSUPP of subtree_control is a threaded group", () => {
  const refusal = explainCgroupRefusal("/cg/a/cgroup.subtree_control", "+memory", "EOPNOTSUPP");
  assert.deepEqual(
    [refusal?.code, refusal?.message],
    ["CGROUP_BUSY", "the control group /cg/a has threaded groups in it or is one"],
  );
});
