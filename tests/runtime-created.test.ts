/** A container between `create` and `start`: one without a process, and one that gets signals. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import { created, makeBundle, makeConfig, newId, runtimeFails, runtimePrints, stateOf, untilStatus } from "./bundle.ts";
import { watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("subuid", "package:busybox-static") };

function withoutProcess(): Partial<Config> {
  const { process: _, ...config } = makeConfig(root);
  return config;
}

test("create: a config without a process makes a container; start says so and changes nothing", needs, async () => {
  const id = await created(withoutProcess());
  const before = await stateOf(id);
  assert.equal(before.status, "created");
  assert.equal(
    await runtimeFails(["start", id]),
    "PROCESS_MISSING: the config has no process: there is nothing to start",
  );
  assert.deepEqual(await stateOf(id), before);
  assert.equal(await runtimePrints(["exec", id, "/bin/hostname"]), "box\n");
  await runtimePrints(["delete", id]);
  assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
});

test("run: a config without a process is an error, and nothing is left", needs, async () => {
  const id = newId();
  assert.match(await runtimeFails(["run", "--bundle", makeBundle(withoutProcess()), id]), /^PROCESS_MISSING: /);
  assert.match(await runtimeFails(["state", id]), /^CONTAINER_UNKNOWN: /);
});

test(
  "kill: a signal that ends a process ends a created container, in a PID namespace of its own or not",
  needs,
  async () => {
    const shared = (["network", "ipc", "uts", "mount"] as const).map((type) => ({ type }));
    for (const [signal, linux] of [
      ["TERM", {}],
      ["TERM", { namespaces: shared }],
      ["HUP", {}],
      ["SIGUSR1", {}],
      ["RTMIN+3", {}],
      ["KILL", {}],
    ] as const) {
      const id = await created(makeConfig(root, { linux: linux as Partial<Config["linux"]> }));
      await runtimePrints(["kill", id, signal]);
      await untilStatus(id, "stopped");
      assert.match(await runtimeFails(["start", id]), /^CONTAINER_NOT_CREATED: .* in the stopped state$/);
      await runtimePrints(["delete", id]);
    }
  },
);

test(
  "kill: a signal that does not end a process leaves a created container waiting, and it starts",
  needs,
  async () => {
    const id = await created(makeConfig(root));
    for (const signal of ["WINCH", "CHLD", "URG", "CONT"]) await runtimePrints(["kill", id, signal]);
    const { pid, status } = await stateOf(id);
    assert.equal(status, "created");
    await runtimePrints(["start", id]);
    assert.deepEqual(await stateOf(id).then(({ pid, status }) => ({ pid, status })), { pid, status: "running" });
  },
);
