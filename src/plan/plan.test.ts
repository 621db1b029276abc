import assert from "node:assert/strict";
import { test } from "node:test";
import { assertGolden } from "../../tests/golden.ts";
import { facts, LONELY_HOST, ROOT_HOST, USER_HOST } from "../engine/containers/config/test-facts.ts";
import { configFromOptions } from "../engine/containers/config.ts";
import type { RunOptions } from "../engine/containers/run-options.ts";
import { ContainerError } from "../error.ts";
import { describeStep } from "../explain/describe.ts";
import type { Config } from "../spec/config.ts";
import type { Host } from "./host.ts";
import { plan } from "./plan.ts";
import type { Plan, Step } from "./step.ts";

/** The development machine: cgroup v1 with a hierarchy per controller, and a v2 tree beside it. */
const HYBRID_HOST: Host = {
  ...ROOT_HOST,
  cgroups: {
    mode: "hybrid",
    hierarchies: ["name=systemd", "pids", "memory", "devices", "cpuset"].map((name) => ({
      controllers: [name],
      mountPoint: `/sys/fs/cgroup/${name.replace("name=", "")}`,
      ownPath: "/",
    })),
    unified: { mountPoint: "/sys/fs/cgroup/unified", ownPath: "/", controllers: [] },
    writable: true,
  },
};

/** A root directory with a filesystem of its own mounted in it. */
const SUBMOUNT_HOST: Host = {
  ...ROOT_HOST,
  mountinfo: `${ROOT_HOST.mountinfo}90 20 8:2 / /srv/root/data rw - ext4 /dev/sdb rw\n91 20 0:5 / /srv/root/proc rw - proc proc rw\n`,
};

const ROOT_PATH = facts().path;

function planOf(options: Partial<RunOptions>, host: Host = ROOT_HOST): Plan {
  const { config } = configFromOptions({ id: "box", command: ["true"], ...options }, facts({ host }));
  return plan(config, host, { id: "box" });
}

/** A step a line: who, what in words, the arguments; then the reason. */
function render({ steps, cleanup, warnings }: Plan): string {
  const lines = steps.map((step) => {
    const { op, by, field, because, ...args } = step;
    const values = JSON.stringify(args, (_key, value) =>
      value instanceof Uint8Array ? `${value.length / 8} instructions` : value,
    );
    return `${by.padEnd(6)} ${op} ${values}\n         ${field === undefined ? "" : `[${field}] `}${because}`;
  });
  return `${lines.join("\n")}\ncleanup ${JSON.stringify(cleanup)}\nwarnings ${JSON.stringify(warnings)}\n`;
}

const PLANS: Record<string, [options: Partial<RunOptions>, host?: Host]> = {
  default: [{}],
  "default-hybrid": [{}, HYBRID_HOST],
  "ordinary-user": [{}, USER_HOST],
  "ordinary-user-single-id": [{}, LONELY_HOST],
  "root-user-namespace": [{ userns: "private" }],
  bind: [{ rootKind: "bind" }],
  "copy-read-only": [{ rootKind: "copy", size: "64m", readOnly: true }],
  "root-with-mounts": [{}, { ...SUBMOUNT_HOST, mountinfo: SUBMOUNT_HOST.mountinfo.replaceAll("/srv/root", ROOT_PATH) }],
  privileged: [{ privileged: true }],
  limits: [{ memory: "64m", pidsLimit: "20", cpus: "0.5", cpusetCpus: "0" }, HYBRID_HOST],
  "limits-v2": [{ memory: "64m", memorySwap: "128m", pidsLimit: "20", cpus: "0.5", cpuShares: "512" }],
  terminal: [{ tty: true, init: true, command: ["sh", "-l"] }],
  "other-user": [{ user: "alice", umask: "077", securityOpt: ["no-new-privileges"] }],
  mounts: [
    { volume: ["/srv/data:/data:ro"], tmpfs: ["/cache:size=1m"], mount: ["type=bind,src=/etc/hosts,dst=/etc/hosts"] },
  ],
  "shared-namespaces": [{ network: "host", pid: "host", ipc: "host", uts: "host" }],
  "joined-namespaces": [{ network: "/proc/77/ns/net", pid: "/proc/77/ns/pid" }],
  "time-offsets": [{ timens: "private", timeOffset: ["monotonic=3600", "boottime=-60"] }],
  tuned: [
    {
      sysctl: ["net.ipv4.ip_forward=1"],
      ulimit: ["nofile=64:128"],
      oomScoreAdj: "500",
      hostname: "box",
      domainname: "lab",
    },
  ],
};

for (const [name, [options, host]] of Object.entries(PLANS)) {
  test(`plan: ${name} is the golden plan`, () => assertGolden(render(planOf(options, host)), `plan/${name}.txt`));
}

test("plan: is pure: the same config and machine give the same steps, and neither is changed", () => {
  const { config } = configFromOptions({ id: "box", command: ["true"] }, facts());
  const [configBefore, hostBefore] = [structuredClone(config), structuredClone(ROOT_HOST)];
  assert.deepEqual(plan(config, ROOT_HOST, { id: "box" }), plan(config, ROOT_HOST, { id: "box" }));
  assert.deepEqual(config, configBefore);
  assert.deepEqual(ROOT_HOST, hostBefore);
});

test("plan: whatever the config, credentials go after mounts, the old root before the command, the command last", () => {
  for (const [name, [options, host]] of Object.entries(PLANS)) {
    const ops = planOf(options, host).steps.map(({ op }) => op);
    const at = (op: Step["op"]) => ops.lastIndexOf(op);
    assert.equal(at("exec"), ops.length - 1, name);
    assert.ok(at("pivotRoot") < at("detach") && at("detach") < at("setUser"), name);
    assert.ok(at("mount") < at("limitBoundingSet") && at("mask") < at("limitBoundingSet"), name);
    assert.ok(at("takeTree") < at("pivotRoot") || at("takeTree") < 0, name);
    assert.ok(
      at("closeDescriptors") > at("detach") && (at("closeDescriptors") < at("seccomp") || at("seccomp") < 0),
      name,
    );
  }
});

test("plan: a seccomp filter without no_new_privs is loaded while it may be, with it last of all", () => {
  const order = (options: Partial<RunOptions>) =>
    planOf(options)
      .steps.map(({ op }) => op)
      .filter((op) => ["seccomp", "setUser", "noNewPrivileges"].includes(op));
  assert.deepEqual(order({}), ["seccomp", "setUser"]);
  assert.deepEqual(order({ securityOpt: ["no-new-privileges"] }), ["setUser", "noNewPrivileges", "seccomp"]);
});

test("plan: every step says in words what it does and why", () => {
  for (const [options, host] of Object.values(PLANS)) {
    for (const step of planOf(options, host).steps) {
      assert.match(describeStep(step), /^[a-z].*[^.]$/);
      assert.match(step.because, /^\S.*[^.\s]$/);
    }
  }
});

function changed(change: (config: Config) => void): Config {
  const { config } = configFromOptions({ id: "box", command: ["true"] }, facts());
  const copy = structuredClone(config);
  change(copy);
  return copy;
}

const REFUSED: [code: string, field: string, change: (config: Config) => void][] = [
  [
    "MOUNT_NAMESPACE_NEEDED",
    "linux.namespaces",
    ({ linux }) => {
      linux.namespaces = (linux.namespaces ?? []).filter(({ type }) => type !== "mount");
    },
  ],
  [
    "NAMESPACE_TWICE",
    "linux.namespaces[1].type",
    ({ linux }) => {
      linux.namespaces = [{ type: "mount" }, { type: "mount" }];
    },
  ],
  [
    "ID_MAPS_MISSING",
    "linux.uidMappings",
    ({ linux }) => {
      linux.namespaces = [{ type: "mount" }, { type: "user" }];
    },
  ],
  [
    "TIME_NAMESPACE_NEEDED",
    "linux.timeOffsets",
    ({ linux }) => {
      linux.timeOffsets = { boottime: { secs: 1 } };
    },
  ],
  [
    "MOUNT_SOURCE_NEEDED",
    "mounts[0].source",
    (config) => {
      config.mounts = [{ destination: "/x", options: ["bind"] }];
    },
  ],
];

for (const [code, field, change] of REFUSED) {
  test(`plan: refuses with ${code} and names ${field}`, () => {
    assert.throws(
      () => plan(changed(change), ROOT_HOST, { id: "box" }),
      (error) => error instanceof ContainerError && error.code === code && error.field === field,
    );
  });
}
