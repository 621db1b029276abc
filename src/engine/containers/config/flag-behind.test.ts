import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../../error.ts";
import { defaultConfig } from "../../../spec/default-config.ts";
import type { RunOptions } from "../run-options.ts";
import { byFlag } from "./flag-behind.ts";

const destinations = ["/proc", "/data", "/t", "/b"];
const config = { ...defaultConfig({ cgroup2: false }), mounts: destinations.map((destination) => ({ destination })) };
const options = {
  volume: ["/x:/y", "/srv:/data/:ro"],
  tmpfs: ["/t:size=5m"],
  mount: ["type=bind,src=/etc,target=/b"],
} as unknown as RunOptions;
const fieldOf = (field: string): string | undefined =>
  (
    byFlag(
      new ContainerError("MOUNT_FAILED", "no", { field, hint: "yes", exitCode: 125 }),
      options,
      config,
    ) as ContainerError
  ).field;

test("byFlag: the flag that a mount comes from, and the field", () => {
  assert.equal(fieldOf("mounts[1].source"), "--volume /srv:/data/:ro (mounts[1].source)");
  assert.equal(fieldOf("mounts[2]"), "--tmpfs /t:size=5m (mounts[2])");
  assert.equal(fieldOf("mounts[3].source"), "--mount type=bind,src=/etc,target=/b (mounts[3].source)");
});

test("byFlag: everything else stays as it is", () => {
  assert.equal(fieldOf("mounts[0]"), "mounts[0]");
  assert.equal(fieldOf("mounts[9]"), "mounts[9]");
  assert.equal(fieldOf("process.args[0]"), "process.args[0]");
  const fault = new Error("of ours");
  assert.equal(byFlag(fault, options, config), fault);
});
