/**
 * An ordinary user's control groups: a scope of the own systemd manager, made by tupper, by systemd-run or by --systemd-cgroup.
 *
 * Needs: user, systemd
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { makeBundle, makeConfig, newId, runtime, runtimePrints } from "./bundle.ts";
import { atEnd, background, eventually, isRoot, pidOf, prints, sees, tupper, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const runtimeDirectory = process.env.XDG_RUNTIME_DIR ?? "/nowhere";
const needs = {
  skip: (isRoot && "needs an ordinary user") || missing("cgroup2", `file:${runtimeDirectory}/systemd/private`),
};

const groupOf = (pid: number): string =>
  `/sys/fs/cgroup${/^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1]}`;
const LIMITS = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";

/** Groups of ours that are left below the user's manager. */
function left(): string[] {
  const walk = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => [...(/^(tupper|rt-)/.test(name) ? [name] : []), ...walk(`${directory}/${name}`)]);
  const uid = process.getuid?.();
  return walk(`/sys/fs/cgroup/user.slice/user-${uid}.slice/user@${uid}.service`);
}
const leavesNothing = () => eventually("no group is left", () => left().length === 0, 30_000);

test("run --memory, --pids-limit by an ordinary user in a login session: the limits hold", needs, async () => {
  assert.equal(await sees(root, ["--memory", "64m", "--pids-limit", "20"], LIMITS), "67108864\n20\n");
  const eats = "head -c 100m /dev/zero | tail -c 90000000 | wc -c";
  const { stdout, stderr } = await tupper(["run", "--memory", "32m", root, "sh", "-c", `exec sh -c '${eats}'`]);
  assert.notEqual(stdout, "90000000\n", stderr);
  const forks = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done 2>&1 | grep -c 'fork'; true";
  assert.notEqual(await sees(root, ["--pids-limit", "10"], forks), "0\n");
  await leavesNothing();
});

for (const [how, prefix] of [
  ["a scope of systemd-run", ["systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes"]],
  [
    "a service that systemd-run starts",
    ["systemd-run", "--user", "--wait", "--pipe", "--quiet", "--property=Delegate=yes"],
  ],
] as const)
  test(`run --memory in ${how}: the limits hold`, needs, async () => {
    assert.equal(await sees(root, ["--memory", "64m", "--pids-limit", "20"], LIMITS, { prefix }), "67108864\n20\n");
    await leavesNothing();
  });

test("exec, stats of a limited container from another session: in its group, and counted", needs, async () => {
  const running = await background(root, ["--memory", "64m"]);
  const group = groupOf(await pidOf(running.name));
  assert.match(group, /\/user@\d+\.service\/.*tupper-/);
  assert.equal(readFileSync(`${group}/memory.max`, "utf8"), "67108864\n");
  const script = "grep -c . /sys/fs/cgroup/cgroup.procs; cat /proc/self/cgroup";
  const [count, own] = (await prints(["exec", running.name, "sh", "-c", script])).split("\n");
  assert.ok(Number(count) >= 4, count);
  assert.equal(own, "0::/");
  assert.match(await prints(["stats", "--no-stream", running.name]), / of 64MiB /);
});

for (const [how, prefix, flags] of [
  ["in a scope", ["systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes"], []],
  ["with --systemd-cgroup", [], ["--systemd-cgroup"]],
] as const)
  test(`tupper-runtime ${how}: create, update, pause, events, ps, exec, delete`, needs, async () => {
    const id = newId();
    const made = makeConfig(root, { resources: { memory: { limit: 64_000_000 }, pids: { limit: 20 } } });
    delete made.linux.resources?.devices;
    const as = { prefix: [...prefix] };
    const call = (...args: string[]) => runtimePrints([...flags, ...args], as);
    atEnd(() => runtime([...flags, "delete", "--force", id]));
    await call("create", "--bundle", makeBundle(made), id);
    await call("start", id);
    const { pid } = JSON.parse(await call("state", id)) as { pid: number };
    const group = groupOf(pid);
    const value = (file: string) => readFileSync(`${group}/${file}`, "utf8").trim();
    assert.equal(value("pids.max"), "20");
    await call("update", "--memory", "50003968", id);
    assert.equal(value("memory.max"), "50003968");
    await call("pause", id);
    assert.match(value("cgroup.events"), /^frozen 1$/m);
    assert.equal((JSON.parse(await call("state", id)) as { status: string }).status, "paused");
    await call("resume", id);
    assert.match(value("cgroup.events"), /^frozen 0$/m);
    const { data } = JSON.parse(await call("events", "--stats", id)) as { data: { pids: { current: number } } };
    assert.equal(data.pids.current, 1);
    assert.deepEqual(JSON.parse(await call("ps", "--format", "json", id)), [pid]);
    assert.equal(await call("exec", id, "sh", "-c", "grep -c . /sys/fs/cgroup/cgroup.procs 2>/dev/null; id -u"), "0\n");
    // From the login session too, which is in another part of the tree.
    assert.equal(await runtimePrints([...flags, "exec", id, "id", "-u"]), "0\n");
    await call("delete", "--force", id);
    await eventually("its group is gone", () => !existsSync(group), 10_000);
  });

test("run in a scope without limits: nothing of the user's manager is asked", needs, async () => {
  const before = execFileSync("systemctl", ["--user", "list-units", "--all", "--no-legend", "tupper*"], {
    encoding: "utf8",
  });
  await prints(["run", root, "true"]);
  const after = execFileSync("systemctl", ["--user", "list-units", "--all", "--no-legend", "tupper*"], {
    encoding: "utf8",
  });
  assert.equal(after, before);
});
