/**
 * Configs that are larger, deeper or stranger than anybody writes: each is taken, or refused with the field behind it, and
 * nothing is left. TUPPER_TORTURE: ten thousand mounts instead of two thousand.
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import { type ConfigChange, makeBundle, makeConfig, newId, runtime, runtimePrints } from "./bundle.ts";
import { isSanitizer, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { assertFree, refusalOf } from "./refusals.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs({ "data/": "" });
const needs = { skip: missing("root", "package:busybox-static") };
const MOUNTS = process.env.TUPPER_TORTURE === undefined ? (isSanitizer ? 200 : 2000) : 10_000;

const configOf = (id: string, change: ConfigChange = {}): Config =>
  makeConfig(rootfs, { ...change, linux: { cgroupsPath: `/tupper-${id}`, ...change.linux } });
const usualMounts = () => makeConfig(rootfs).mounts ?? [];
const TMP = { destination: "/tmp", type: "tmpfs", source: "tmpfs" };
const longPath = (length: number, name = 200) =>
  "/d".padEnd(length, "d").replace(new RegExp(`.{${name}}(?=.)`, "g"), (part) => `${part.slice(0, -1)}/`);

test(`run: ${MOUNTS} mounts, of the machine's directories and of the root filesystem's own`, {
  ...needs,
  timeout: 300_000,
}, async () => {
  const outside = temporaryDirectory();
  for (const source of [undefined, outside, join(rootfs, "data")]) {
    const id = newId();
    const count = source === outside && process.env.TUPPER_TORTURE === undefined ? 300 : MOUNTS;
    const many = Array.from({ length: count }, (_, i) => ({
      destination: `/tmp/m${i}`,
      ...(source === undefined
        ? { type: "tmpfs", source: "tmpfs", options: ["size=4k"] }
        : { type: "bind", source, options: ["bind", "ro"] }),
    }));
    const config = configOf(id, {
      args: ["sh", "-c", "grep -c /tmp/m /proc/self/mountinfo"],
      mounts: [...usualMounts(), TMP, ...many],
    });
    assert.equal(
      await runtimePrints(["run", "--bundle", makeBundle(config), id], {
        timeoutMs: 120_000,
        prefix: ["prlimit", `--nofile=${MOUNTS + 100}`],
      }),
      `${count}\n`,
    );
  }
});

test("run: 10,000 variables, and more than the kernel takes", needs, async () => {
  const id = newId();
  const env = ["PATH=/bin", ...Array.from({ length: 10_000 }, (_, i) => `V${i}=${i}`)];
  const prints = configOf(id, { args: ["sh", "-c", "env | grep -c '^V[0-9]'"], process: { env } });
  assert.equal(await runtimePrints(["run", "--bundle", makeBundle(prints), id]), "10000\n");
  const tooMuch: Partial<Config["process"]>[] = [
    { env: ["PATH=/bin", ...Array.from({ length: 10_000 }, (_, i) => `V${i}=${"x".repeat(1000)}`)] },
    { env: ["PATH=/bin", `V=${"x".repeat(140_000)}`] },
    { args: ["sh", "-c", "x".repeat(140_000)] },
  ];
  for (const process of tooMuch) {
    const bundle = makeBundle(configOf(id, { process }));
    const { code, field, kernel, hint } = refusalOf(await runtime(["run", "--bundle", bundle, id]));
    assert.deepEqual({ code, field }, { code: "ARGUMENTS_TOO_LONG", field: "process.args[0]" });
    assert.match(kernel ?? "", /E2BIG/);
    assert.ok(hint);
  }
  await assertFree(id, makeBundle(configOf(id)));
});

test("run: a config of one megabyte and one of ten", needs, async () => {
  for (const megabytes of [1, 10]) {
    const annotations = Object.fromEntries(
      Array.from({ length: megabytes * 1000 }, (_, i) => [`a${i}`, "x".repeat(1000)]),
    );
    const id = newId();
    assert.equal(
      await runtimePrints(["run", "--bundle", makeBundle(configOf(id, { args: ["echo", "ran"], annotations })), id], {
        timeoutMs: 60_000,
      }),
      "ran\n",
    );
  }
});

test("create: a path of up to 4095 bytes is taken, of a longer one the error names the field", needs, async () => {
  const id = newId();
  const destination = async (length: number) => {
    const mounts = [...usualMounts(), TMP, { ...TMP, destination: `/tmp${longPath(length - 4)}` }];
    const result = await runtime(["create", "--bundle", makeBundle(configOf(id, { mounts })), id]);
    if (result.code !== 0) return refusalOf(result);
    await runtimePrints(["delete", id]);
    return undefined;
  };
  assert.equal(await destination(255), undefined);
  assert.equal(await destination(4000), undefined);
  for (const length of [4096, 4097, 8000]) {
    const { field, kernel } = (await destination(length)) ?? {};
    assert.equal(field, "mounts[4]", `${length}`);
    assert.match(kernel ?? "", /ENAMETOOLONG/);
  }
  const long = `/${"d/".repeat(3000)}`;
  const others: Record<string, ConfigChange> = {
    "mounts[3].source": {
      mounts: [...usualMounts(), { destination: "/data", type: "bind", source: long, options: ["bind"] }],
    },
    "root.path": { root: { path: long } },
    "linux.maskedPaths[0]": { linux: { maskedPaths: [long] } },
    "linux.cgroupsPath": { linux: { cgroupsPath: long } },
    "process.args[0]": { args: [long] },
    "linux.namespaces[1].path": { linux: { namespaces: [{ type: "mount" }, { type: "network", path: long }] } },
    "hooks.createRuntime[0]": { hooks: { createRuntime: [{ path: long }] } },
    hostname: { hostname: "h".repeat(100_000) },
    "linux.sysctl": { linux: { sysctl: { [`net.${"x".repeat(5000)}`]: "1" } } },
    "mounts[3]": { mounts: [...usualMounts(), { destination: "/data", type: "t".repeat(5000), source: "none" }] },
  };
  for (const [field, change] of Object.entries(others)) {
    const config = configOf(id, change);
    if (field === "linux.namespaces[1].path") delete config.hostname;
    const refusal = refusalOf(await runtime(["create", "--bundle", makeBundle(config), id]));
    assert.equal(refusal.field?.slice(0, field.length), field, refusal.message);
  }
  await assertFree(id, makeBundle(configOf(id)));
});

test("create: NUL in any text of the config is refused with its field", needs, async () => {
  const id = newId();
  const nul = "a\0b";
  const cases: Record<string, ConfigChange> = {
    hostname: { hostname: nul },
    "process.args[1]": { args: ["sh", nul] },
    "process.env[0]": { process: { env: [`A=${nul}`] } },
    "process.cwd": { process: { cwd: `/${nul}` } },
    "mounts[3].destination": { mounts: [...usualMounts(), { ...TMP, destination: `/${nul}` }] },
    "mounts[3].options[0]": { mounts: [...usualMounts(), { ...TMP, options: [`size=1m${nul}`] }] },
    "root.path": { root: { path: `/${nul}` } },
    "linux.cgroupsPath": { linux: { cgroupsPath: `/${nul}` } },
    "linux.maskedPaths[0]": { linux: { maskedPaths: [`/${nul}`] } },
  };
  for (const [field, change] of Object.entries(cases)) {
    const { code, ...refusal } = refusalOf(await runtime(["create", "--bundle", makeBundle(configOf(id, change)), id]));
    assert.deepEqual({ code, field: refusal.field }, { code: "CONFIG_INVALID", field }, refusal.message);
  }
  await assertFree(id, makeBundle(configOf(id)));
});

test(
  "create: bytes that are no UTF-8 and texts that are no JSON: a container as it is meant, or a clear refusal",
  needs,
  async () => {
    const id = newId();
    const bundle = temporaryDirectory();
    const usual = JSON.stringify(configOf(id, { args: ["sh", "-c", "hostname | od -An -tx1; echo"] }));
    const write = (text: string) => writeFileSync(join(bundle, "config.json"), Buffer.from(text, "latin1"));
    write(usual.replace('"box"', '"b\xff\xfex"'));
    assert.equal((await runtimePrints(["run", "--bundle", bundle, id])).trim(), "62 ff fe 78 0a");
    const texts: Record<string, string> = {
      "a byte order mark": `\xef\xbb\xbf${usual}`,
      "UTF-16": Buffer.from(`\ufeff${usual}`, "utf16le").toString("latin1"),
      "a NUL at the end": `${usual}\0`,
      "nothing but NUL": "\0".repeat(1_000_000),
      "deep lists": usual.replace('"box"', `${"[".repeat(300_000)}${"]".repeat(300_000)}`),
      "deep objects that do not end": `{"a":${'{"a":'.repeat(1_000_000)}`,
      "a million commas": usual.replace('"box"', `${"[1,".repeat(1_000_000)}1${"]".repeat(1_000_000)}`),
      "half of it": usual.slice(0, usual.length / 2),
    };
    for (const [what, text] of Object.entries(texts)) {
      write(text);
      const { code, field } = refusalOf(await runtime(["create", "--bundle", bundle, id]));
      assert.deepEqual({ code, field }, { code: "CONFIG_SYNTAX", field: "config.json" }, what);
    }
    write(usual.replace('"hostname"', `${'"hostname":"x",'.repeat(100_000)}"hostname"`));
    assert.match(await runtimePrints(["run", "--bundle", bundle, id]), /^ 62 6f 78 0a/);
    await assertFree(id, makeBundle(configOf(id)));
  },
);

test("create: a bundle of a name that is long or no UTF-8, and a directory in place of the config", needs, async () => {
  const id = newId();
  const above = temporaryDirectory();
  const path = join(above, "x".repeat(255));
  mkdirSync(path);
  writeFileSync(join(path, "config.json"), JSON.stringify(configOf(id)));
  await runtimePrints(["create", "--bundle", path, id]);
  await runtimePrints(["delete", id]);
  for (const bundle of [`${above}/${"y".repeat(256)}`, longPath(5000), above])
    assert.equal(refusalOf(await runtime(["create", "--bundle", bundle, id])).code, "BUNDLE_UNREADABLE");
});
