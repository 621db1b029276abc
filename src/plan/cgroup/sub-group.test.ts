import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import { subGroups } from "./sub-group.ts";

const GROUPS = [
  { controller: "cpu,cpuacct", path: "/cg/cpu/c" },
  { controller: "memory", path: "/cg/memory/c" },
  { controller: "unified", path: "/cg/unified/c" },
];

const paths = (...flags: string[]): string[] => subGroups(GROUPS, flags).map(({ path }) => path);

test("subGroups: one path is for all hierarchies", () => {
  assert.deepEqual(paths("a//b/"), ["/cg/cpu/c/a/b", "/cg/memory/c/a/b", "/cg/unified/c/a/b"]);
  assert.deepEqual(paths("/a/../b"), ["/cg/cpu/c/b", "/cg/memory/c/b", "/cg/unified/c/b"]);
  assert.deepEqual(paths("/"), ["/cg/cpu/c", "/cg/memory/c", "/cg/unified/c"]);
  assert.deepEqual(paths(), ["/cg/cpu/c", "/cg/memory/c", "/cg/unified/c"]);
});

test("subGroups: a path for each controller, the others stay", () => {
  assert.deepEqual(paths("cpuacct:x", "memory:y"), ["/cg/cpu/c/x", "/cg/memory/c/y", "/cg/unified/c"]);
  assert.deepEqual(paths("cpu,memory:x"), ["/cg/cpu/c/x", "/cg/memory/c/x", "/cg/unified/c"]);
});

test("subGroups: what is not of the form, and what leads out, is an error", () => {
  for (const flags of [["../x"], ["a/../../b"], [":x"], ["cpu,:x"], ["a", "b"], ["memory:a", "memory:b"], ["pids:a"]])
    assert.throws(
      () => paths(...flags),
      (error: unknown) => error instanceof ContainerError && error.code === "CGROUP_FLAG_INVALID",
      flags.join(" "),
    );
});
