/**
 * Nothing is made by halves: configs in which something is changed at random, each given to a real `create`. It is refused, with
 * an error that names the field, and nothing is left; or it makes a container that can be deleted. The same ones each time;
 * TUPPER_TORTURE tries many more, from the seed FUZZ_SEED.
 *
 * Needs: checkout, root
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import { makeBundle, makeConfig, type RuntimeResult, runtime } from "./bundle.ts";
import { Chance, mutate } from "./fuzz/mutate.ts";
import { temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";

watchForLeftovers();
const needs = { skip: missing("root", "package:busybox-static") };
const COUNT = process.env.TUPPER_TORTURE === undefined ? 40 : 4000;
const GROUP = `/tupper-refusals-${process.pid}`;

/** Everything of the usual config and more, so that there is much to change. */
function fullConfig(rootfs: string): Config {
  const config = makeConfig(rootfs, {
    resources: { memory: { limit: 67_108_864 }, pids: { limit: 20 }, cpu: { shares: 512 } },
    linux: {
      cgroupsPath: GROUP,
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
      sysctl: { "net.ipv4.ip_forward": "0" },
      devices: [{ path: "/dev/fuzz", type: "c", major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 }],
      seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO" }] },
    },
    process: {
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 100, hard: 200 }],
      capabilities: { bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"] },
      oomScoreAdj: 10,
      noNewPrivileges: true,
    },
  });
  return {
    ...config,
    mounts: [...(config.mounts ?? []), { destination: "/t", type: "tmpfs", source: "t", options: ["size=1m"] }],
  };
}

/** What may not be left to chance: programs that run on the machine, other directories and namespaces of it, groups of others. */
function harmless(changed: Config, good: Config): Config {
  const { hooks: _, ...rest } = typeof changed === "object" && changed !== null ? changed : good;
  const { linux } = rest;
  if (typeof linux === "object" && linux !== null) {
    linux.cgroupsPath = GROUP;
    if (JSON.stringify(linux.namespaces ?? []).includes('"path"') || linux.namespaces === undefined)
      linux.namespaces = good.linux.namespaces ?? [];
  }
  const root = typeof rest.root === "object" && rest.root !== null ? rest.root : {};
  return { ...rest, root: { ...root, path: good.root.path } };
}

/** Texts that are no JSON are the matter of other tests. */
function changed(text: Buffer, chance: Chance): Config {
  for (;;) {
    try {
      return JSON.parse(Buffer.from(mutate("json", text, text, chance)).toString("utf8")) as Config;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
}

function checkRefusal({ stdout, stderr, code }: RuntimeResult, config: string): void {
  const about = `${stderr}\n${config}`;
  assert.deepEqual({ stdout, code }, { stdout: "", code: 1 }, about);
  assert.match(stderr, /^error: .+ \([A-Z][A-Z0-9_]*\)$/m, about);
  assert.doesNotMatch(stderr, /INTERNAL|a fault of tupper/, about);
  assert.match(stderr, /^ {2}config: [a-zA-Z]/m, about);
}

test("create: of configs changed at random nothing is left, whether they are refused or not", needs, async () => {
  const good = fullConfig(makeRootfs());
  const text = Buffer.from(JSON.stringify(good));
  const chance = new Chance(Number(process.env.FUZZ_SEED ?? 1));
  const bundle = makeBundle(good);
  const root = join(temporaryDirectory(), "state");
  const before = snapshot();
  let refused = 0;
  for (let i = 0; i < COUNT; i++) {
    const config = JSON.stringify(harmless(changed(text, chance), good));
    writeFileSync(join(bundle, "config.json"), config);
    const result = await runtime(["--root", root, "create", "--bundle", bundle, "box"]);
    if (result.code === 0) {
      const { code, stderr } = await runtime(["--root", root, "delete", "--force", "box"]);
      assert.equal(code, 0, `${stderr}\n${config}`);
    } else {
      checkRefusal(result, config);
      refused++;
    }
    assert.deepEqual(existsSync(root) ? readdirSync(root) : [], [], config);
    if (i % 10 === 9)
      assert.deepEqual(
        [...snapshot()].filter((thing) => !before.has(thing)),
        [],
        config,
      );
  }
  assert.ok(refused > COUNT / 10 && refused < COUNT, `${refused} of ${COUNT} were refused`);
});
