import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import fc from "fast-check";
import { groupRootsOf, HOSTS } from "../../tests/fuzz/inside/hosts.ts";
import { checkPlan } from "../../tests/fuzz/inside/plan-rules.ts";
import { ContainerError } from "../error.ts";
import { scriptOf } from "../explain/script.ts";
import type { Config } from "../spec/config.ts";
import { defaultConfig } from "../spec/default-config.ts";
import { FULL_CONFIG } from "../spec/full-config.ts";
import { parseConfig } from "../spec/parse-config.ts";
import { plan } from "./plan.ts";
import type { Plan } from "./step.ts";

/** The gate tries the same each time; FUZZ_SEED tries something else. */
const SEED = Number(process.env.FUZZ_SEED ?? 1);

const namespace = fc.record({
  type: fc.constantFrom("pid", "user", "network", "ipc", "cgroup", "time"),
  path: fc.option(fc.constantFrom("/proc/1/ns/x", "/run/ns/a"), { nil: undefined, freq: 4 }),
});
const path = fc
  .array(
    fc.constantFrom("a", "b c", "..", ".", "", "proc", "sys", "dev", "fs", "cgroup", "self", "é", "$(x)", "'", "\n"),
    {
      maxLength: 5,
    },
  )
  .map((parts) => `/${parts.join("/")}`);
const flag = fc.constantFrom("ro", "rro", "private", "rslave", "nosuid", "noatime", "nodev", "rw");
const mountOf = (types: (string | undefined)[], options: string[], destination = path) =>
  fc.record({
    destination,
    type: fc.constantFrom(...types),
    source: fc.oneof(path, fc.constant("none")),
    options: fc.array(fc.oneof(flag, fc.constantFrom(...options)), { maxLength: 4 }),
  });
const mount = fc.oneof(
  mountOf(["bind", undefined], ["bind", "rbind", "copy-symlink", "src-nofollow", "idmap=uids=0-1-2;gids=0-1-2"]).map(
    (mount) => ({ ...mount, options: ["rbind", ...mount.options] }),
  ),
  mountOf(["tmpfs"], ["mode=755", "size=1m", "tmpcopyup"]),
  mountOf(["sysfs", "devpts", "mqueue", "cgroup", "cgroup2"], ["uid=5", "remount"]),
  mountOf(["proc"], ["hidepid=2"], fc.constantFrom("/proc", "//proc/", "/a/../proc")),
  mountOf(["overlay"], ["lowerdir=/a:/b", "upperdir=/u", "workdir=/w"]),
);
const hook = fc.record({ path: path.map((at) => `/bin${at}`), timeout: fc.constantFrom(undefined, 1) });
const hooks = fc.record(
  Object.fromEntries(
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststop"].map((kind) => [
      kind,
      fc.array(hook, { maxLength: 2 }),
    ]),
  ),
);

/** Configs that make sense in their parts, though often not as a whole. */
const configs = fc.record({
  base: fc.constantFrom<unknown>(FULL_CONFIG, defaultConfig({ cgroup2: true })),
  namespaces: fc.uniqueArray(namespace, { selector: ({ type }) => type, maxLength: 8 }),
  mounts: fc.array(mount, { maxLength: 6 }),
  hooks: fc.option(hooks),
  cgroupsPath: fc.option(path),
  masked: fc.array(path, { maxLength: 3 }),
  args: fc.array(
    fc.string({ unit: "binary", maxLength: 10 }).map((text) => text.replaceAll("\0", "")),
    { maxLength: 3 },
  ),
  resources: fc.constantFrom(
    {},
    { memory: { limit: 2 ** 30, swap: -1 }, pids: { limit: 5 } },
    { cpu: { shares: 2, cpus: "0-1" } },
  ),
  root: path,
});

type Generated = typeof configs extends fc.Arbitrary<infer T> ? T : never;

function textOf({ base, namespaces, mounts, hooks, cgroupsPath, masked, args, root, resources }: Generated): string {
  const from = structuredClone(base) as Config;
  return JSON.stringify({
    ...from,
    root: { ...from.root, path: root },
    mounts,
    hooks: hooks ?? undefined,
    process: { ...from.process, args: ["sh", ...args] },
    linux: {
      ...from.linux,
      namespaces: [{ type: "mount" }, { type: "uts" }, ...namespaces],
      cgroupsPath: cgroupsPath ?? undefined,
      maskedPaths: masked,
      resources,
      // They want namespaces that may not be there.
      timeOffsets: undefined,
      netDevices: undefined,
      sysctl: undefined,
      ...(namespaces.some(({ type }) => type === "user") ? MAPS : { uidMappings: undefined, gidMappings: undefined }),
    },
  });
}

const MAP = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
const MAPS = { uidMappings: MAP, gidMappings: MAP };

/** The plan for one machine, or the code and field of the refusal. */
function outcome(text: string, host: (typeof HOSTS)[number]): Plan | ContainerError {
  try {
    const { config } = parseConfig(text);
    return plan(config, host, { id: "box", state: "/run/x/box", bundle: "/bundle", detached: { waits: true } });
  } catch (error) {
    if (error instanceof ContainerError) return error;
    throw error;
  }
}

test("plan: of every config it makes a plan that keeps the rules, or an error with a field", () => {
  let made = 0;
  fc.assert(
    fc.property(configs, fc.constantFrom(...HOSTS), (config, host) => {
      const result = outcome(textOf(config), host);
      if (result instanceof ContainerError) return assert.notEqual(result.field ?? "", "", result.message);
      checkPlan(result, groupRootsOf(host));
      made++;
    }),
    { numRuns: 600, seed: SEED },
  );
  assert.ok(made > 20, `only ${made} plans were made`);
});

test("plan: the same config and machine make the same plan", () => {
  fc.assert(
    fc.property(configs, fc.constantFrom(...HOSTS), (config, host) => {
      const text = textOf(config);
      assert.deepEqual(outcome(text, host), outcome(text, host));
    }),
    { numRuns: 100, seed: SEED },
  );
});

test("scriptOf: the script of every plan is one that sh can read", () => {
  const scripts: string[] = [];
  fc.assert(
    fc.property(configs, (config) => {
      const [host] = HOSTS;
      const result = host === undefined ? undefined : outcome(textOf(config), host);
      if (result !== undefined && !(result instanceof ContainerError)) scripts.push(scriptOf(result));
    }),
    { numRuns: 300, seed: SEED },
  );
  for (const script of scripts.slice(0, 25)) {
    const { status, stderr } = spawnSync("sh", ["-n"], { input: script });
    assert.equal(status, 0, `${stderr}\n${script}`);
  }
  assert.ok(scripts.length > 3, `only ${scripts.length} scripts were made`);
});
