/**
 * Ways out of a container by way of processes and descriptors, and what each layer keeps, tried; those by way of paths are in
 * attacks-paths.test.ts, of files' privileges, keys and terminals in attacks-privileges.test.ts. Each attack is shown to work on the weakened build first (weaknesses.ts).
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import { makeBundle, makeConfig, newId, running, runtime, runtimePrints, stateOf } from "./bundle.ts";
import {
  atEnd,
  compiled,
  eventually,
  output,
  prints,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { rounds } from "./weakened.ts";

watchForLeftovers();
const needs = { skip: missing("root", "package:busybox-static", "programs", "weakened") };

const MAPPED = [{ containerID: 0, hostID: 100_000, size: 65_536 }];

/* ---- processes that join ------------------------------------------------------------------- */

/**
 * What root of a user namespace reaches through the processes that come into its container: by `exec`, those of another container
 * that shares its namespaces, or, where the machine's processes are in sight, by `mounts add`. A process that has become a
 * command of the container is fair game.
 */
async function reachedThroughJoiners(how: "exec" | "run" | "mounts", tries: number, weak?: string): Promise<string[]> {
  const secret = join(temporaryDirectory(), "of-the-machine");
  writeFileSync(secret, "");
  const root = makeRootfs({ "bin/watch_joiners": { copyOf: compiled("watch_joiners"), mode: 0o755 } });
  output("chown", "-hR", "100000:100000", root);
  const capabilities = ["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"];
  const config = (args: string[], namespaces: Config["linux"]["namespaces"], maps = {}): Config =>
    makeConfig(root, {
      args,
      process: { capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities } },
      mounts: [
        how === "mounts"
          ? { destination: "/proc", type: "bind", source: "/proc", options: ["rbind"] }
          : { destination: "/proc", type: "proc", source: "proc" },
      ],
      root: { readonly: false },
      linux: { ...maps, namespaces: [...(namespaces ?? []), { type: "mount" }, { type: "uts" }] },
    });
  const own = (how === "mounts" ? (["user"] as const) : (["pid", "user"] as const)).map((type) => ({ type }));
  const [id, said] = [newId(), join(temporaryDirectory(), "said")];
  atEnd(() => runtime(["delete", "--force", id]));
  const bundle = makeBundle(
    config(["watch_joiners", "3600", secret], own, { uidMappings: MAPPED, gidMappings: MAPPED }),
  );
  await startAttacker(bundle, id, said);
  const { pid } = await stateOf(id);
  const joined = own.map(({ type }) => ({ type, path: `/proc/${pid}/ns/${type}` }));
  const other = makeBundle(config(["true"], joined));
  // So many that it takes a while.
  const more = join(temporaryDirectory(), "mounts.json");
  writeFileSync(
    more,
    JSON.stringify(
      Array.from({ length: 200 }, (_, i) => ({ type: "tmpfs", source: "tmpfs", destination: `/new/${i}` })),
    ),
  );
  const found = () =>
    readFileSync(said, "utf8")
      .split("\n")
      .filter((line) => /^(root|cwd|fd)$|^traced /.test(line) && line !== "traced 00000000000800e2"); // those of the container
  const succeeds = async (args: string[], switches?: string) =>
    assert.deepEqual(await runtime(args, { weak: switches }), { stdout: "", stderr: "", code: 0 }, args.join(" "));
  // Each that fails is one less that the attacker could see.
  const joins = (): string[] =>
    how === "exec"
      ? ["exec", id, "true"]
      : how === "run"
        ? ["run", "--bundle", other, newId()]
        : ["mounts", "add", id, more];
  for (let i = 0; i < tries && found().length === 0; i++) await succeeds(joins(), weak);
  await succeeds(["kill", id, "TERM"]);
  const seen = () => /^saw (\d+)$/m.exec(readFileSync(said, "utf8"))?.[1];
  await eventually("the attacker has ended", () => seen() !== undefined, 30_000);
  assert.notEqual(seen(), "0", "the attacker saw none of the processes that joined");
  return found();
}

/** Runs a bundle in the background; what its process prints goes to a file, in which it says that it is ready. */
async function startAttacker(bundle: string, id: string, said: string): Promise<void> {
  const { code, stderr } = await runtime(["run", "--detach", "--bundle", bundle, id], {
    prefix: ["sh", "-c", `exec "$@" >${said}`, "sh"],
  });
  assert.equal(code, 0, stderr);
  await eventually("the attacker is ready", () => readFileSync(said, "utf8").includes("ready\n"), 10_000);
}

for (const how of ["exec", "run", "mounts"] as const)
  test(
    `${how}: root of a user namespace sees nothing of the machine through a process that joins (CVE-2016-9962)`,
    needs,
    async () => {
      assert.notDeepEqual(await reachedThroughJoiners(how, 400, "drop:refuseTracing"), []);
      assert.deepEqual(await reachedThroughJoiners(how, rounds(how === "mounts" ? 5 : 25)), []);
    },
  );

/* ---- what each layer keeps --------------------------------------------------------------------- */

/** A command of the container that says `reached`, and without which steps of the plan it does. */
const ATTEMPTS: readonly { what: string; script: string; weak: string; need?: string; flags?: readonly string[] }[] = [
  { what: "a user namespace of one's own, as CVE-2022-0492 wants", script: "unshare -U -r true", weak: "drop:seccomp" },
  { what: "core_pattern", script: ": >>/proc/sys/kernel/core_pattern", weak: "drop:makeReadonly" },
  { what: "the machine's keys in /proc/keys", script: "[ -f /proc/keys ]", weak: "drop:mask" },
  {
    what: "a mount of one's own",
    script: "mount -t tmpfs x /tmp",
    weak: "drop:seccomp,drop:setCapabilities,drop:limitBoundingSet",
  },
  {
    // Its last step, release_agent, is not there to be written in a cgroup namespace.
    what: "a writable mount of the control groups, as CVE-2022-0492 wants",
    script: "mkdir /tmp/h && mount -t cgroup -o pids x /tmp/h && echo 1 >/tmp/h/notify_on_release",
    weak: "drop:seccomp,drop:setCapabilities,drop:limitBoundingSet",
    need: "cgroup1",
  },
  {
    what: "limits of one's own",
    script:
      "for file in /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; do [ -e $file ] && : >>$file && exit; done; false",
    weak: "flags-lost",
    need: "cgroup:pids",
  },
  {
    what: "userfaultfd, which holds the kernel in the middle of a copy",
    script: "attempt 323,1 | grep -q ok",
    weak: "drop:seccomp",
    need: "arch:x64",
  },
  {
    // As a program called Shocker did in 2014; EFAULT is said to who may.
    what: "a file of the machine by its handle, without a path (open_by_handle_at)",
    script: "attempt 304,-100 | grep -q 'Bad address'",
    weak: "drop:seccomp,drop:setCapabilities,drop:limitBoundingSet",
    need: "arch:x64",
  },
  {
    what: "the machine's root, by /proc/1/root where its processes are in sight",
    script: "[ -e /proc/1/root/proc ]",
    weak: "drop:setCapabilities,drop:limitBoundingSet",
    flags: ["--pid", "host"],
  },
  {
    what: "a setting of the machine in /sys",
    script: ": >>/sys/kernel/mm/transparent_hugepage/enabled",
    weak: "flags-lost",
    need: "file:/sys/kernel/mm/transparent_hugepage/enabled",
  },
  {
    what: "a device of the machine, by a node of one's own",
    script: "mknod /tmp/kmsg c 1 11 && : >/tmp/kmsg",
    weak: "drop:write",
    need: "cgroup:devices",
  },
];

for (const { what, script, weak, need, flags = [] } of ATTEMPTS)
  test(`run: ${what} is not reached`, { skip: needs.skip || (need !== undefined && missing(need)) }, async () => {
    const root = makeRootfs({ "bin/attempt": { copyOf: compiled("attempt"), mode: 0o755 } });
    const says = async (without?: string) =>
      (await tupper(["run", ...flags, root, "sh", "-c", `(${script}) 2>/dev/null && echo reached`], { weak: without }))
        .stdout;
    assert.equal(await says(weak), "reached\n");
    assert.equal(await says(), "");
  });

test(
  "run: a directory of the machine that the caller has open is not the command's (CVE-2024-21626)",
  needs,
  async () => {
    const secret = temporaryDirectory();
    writeFileSync(join(secret, "marker"), "the machine's\n");
    const root = makeRootfs();
    const says = async (weak?: string) =>
      (
        await tupper(["run", "--workdir", "/proc/self/fd/9", root, "cat", "marker"], {
          prefix: ["sh", "-c", 'exec 9<"$0"; exec "$@"', secret],
          weak,
        })
      ).stdout;
    assert.equal(await says("descriptors-stay,directory-unchecked"), "the machine's\n");
    assert.equal(await says(), "");
  },
);

test("--preserve-fds: a directory that is handed on is no working directory (CVE-2024-21626)", needs, async () => {
  const secret = temporaryDirectory();
  writeFileSync(join(secret, "marker"), "the machine's\n");
  const config = makeConfig(makeRootfs(), { args: ["cat", "marker"], process: { cwd: "/proc/self/fd/3" } });
  const says = async (weak?: string) =>
    (
      await runtime(["run", "--preserve-fds", "1", "--bundle", makeBundle(config), newId()], {
        prefix: ["sh", "-c", 'exec 3<"$0"; exec "$@"', secret],
        weak,
      })
    ).stdout;
  assert.equal(await says("directory-unchecked"), "the machine's\n");
  assert.equal(await says(), "");
});

/* ---- what they say of themselves -------------------------------------------------------------- */

test("ps, explain: a process that says that its arguments are gigabytes long is one all the same", {
  skip: missing("root", "package:busybox-static", "programs"),
}, async () => {
  const root = makeRootfs({ "bin/endless": { copyOf: compiled("endless_arguments"), mode: 0o755 } });
  const id = await running(makeConfig(root, { args: ["endless", "not", "yet"] }));
  const { pid } = await stateOf(id);
  await eventually("it has said so", async () => / endless\n$/.test(await runtimePrints(["ps", id])));
  assert.match(await prints(["explain", String(pid)]), /endless/);
});
