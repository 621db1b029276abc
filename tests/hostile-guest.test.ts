/**
 * Limits of a whole machine, tried on one that is nobody's: fs.mount-max, and memory that cgroup v2 counts to the last page.
 *
 * Needs: plain, root
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { makeBundle, makeConfig, newId, runtime, runtimePrints } from "./bundle.ts";
import { atEnd, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { assertFree, refusalOf } from "./refusals.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs();
const needs = {
  skip:
    process.env.TUPPER_PLACE === undefined
      ? "missing: a virtual machine (tests/vm)"
      : missing("root", "package:busybox-static", "unified"),
};
const MOUNT_MAX = "/proc/sys/fs/mount-max";

test(
  "create: fs.mount-max is reached, wherever on the way: the error names the mount, and nothing is left",
  needs,
  async () => {
    const before = readFileSync(MOUNT_MAX, "utf8");
    atEnd(() => writeFileSync(MOUNT_MAX, before));
    const id = newId();
    const many = Array.from({ length: 20 }, (_, i) => ({ destination: `/tmp/m${i}`, type: "tmpfs", source: "tmpfs" }));
    const mounts = [
      ...(makeConfig(rootfs).mounts ?? []),
      { destination: "/tmp", type: "tmpfs", source: "tmpfs" },
      ...many,
    ];
    const bundle = makeBundle(makeConfig(rootfs, { mounts, linux: { cgroupsPath: `/tupper-${id}` } }));
    const codes = new Set<string>();
    let fields = 0;
    const own = readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n").length;
    for (let max = own; ; max++) {
      writeFileSync(MOUNT_MAX, String(max));
      const result = await runtime(["create", "--bundle", bundle, id]);
      writeFileSync(MOUNT_MAX, before);
      if (result.code === 0) break;
      const { code, field, kernel, hint } = refusalOf(result);
      codes.add(code);
      if (field?.startsWith("mounts[")) fields++;
      assert.match(kernel ?? "", /ENOSPC/, result.stderr);
      assert.match(hint ?? "", /mount-max|namespaces/, result.stderr);
      assert.ok(max < own + 100);
    }
    assert.ok(fields > 5, `${[...codes].join(", ")}: ${fields} name a mount`);
    await runtimePrints(["delete", id]);
    await assertFree(id, bundle);
  },
);

test(
  "create, run: memory.max that is too low for the start is named, and does not kill the runtime",
  needs,
  async () => {
    const outcomes = new Set<string>();
    for (const verb of ["create", "run --detach"])
      for (const limit of [4096, 65_536, 262_144, 524_288, 786_432, 1_048_576, 1_572_864, 2_097_152, 4_194_304]) {
        const id = newId();
        const bundle = makeBundle(
          makeConfig(rootfs, { resources: { memory: { limit } }, linux: { cgroupsPath: `/tupper-${id}` } }),
        );
        const result = await runtime([...verb.split(" "), "--bundle", bundle, id]);
        if (result.code === 0) outcomes.add("made");
        else {
          const { code, field, message } = refusalOf(result);
          assert.deepEqual(
            { code, field },
            { code: "INIT_DIED", field: "linux.resources.memory.limit" },
            `${limit}: ${message}`,
          );
          outcomes.add("refused");
        }
        await runtimePrints(["delete", "--force", id]);
      }
    assert.deepEqual([...outcomes].sort(), ["made", "refused"]);
  },
);
