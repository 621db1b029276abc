/**
 * A machine that has too little of something: memory, descriptors, processes, room on a disk, namespaces, /proc, /sys. Each
 * command says what is lacking in one sentence, leaves nothing, and the next one on that ID works.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { ConfigChange } from "./bundle.ts";
import { makeBundle, makeConfig, newId, runtime, runtimePrints, stateOf } from "./bundle.ts";
import {
  atEnd,
  binary,
  eventually,
  isSanitizer,
  output,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { assertFree, createdOrRefused, refusalOf } from "./refusals.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs({ "data/": "" });
const needs = (...more: string[]) => ({ skip: missing("root", "package:busybox-static", ...more) });
/** What limits memory: the sanitizer's runtime library reserves terabytes. */
const plain = (...more: string[]) => ({ skip: isSanitizer ? "the sanitizer has no limit" : needs(...more).skip });

const bundleOf = (id: string, change: ConfigChange = {}) =>
  makeBundle(makeConfig(rootfs, { ...change, linux: { cgroupsPath: `/tupper-${id}`, ...change.linux } }));

/** Before the command, in a mount namespace of its own. */
const within = (script: string, flags: readonly string[] = ["--mount"]) => ({
  prefix: ["unshare", ...flags, "sh", "-c", `set -e; ${script}; exec "$@"`, "sh"],
});

/** A control group of v1 for the command itself, with this limit. */
function limited(controller: string, file: string, value: string): { prefix: string[] } {
  const group = `/sys/fs/cgroup/${controller}/limit-${process.pid}`;
  if (!existsSync(group)) {
    mkdirSync(group);
    atEnd(() => eventually("the group is empty", () => removed(group)));
  }
  writeFileSync(join(group, file), value);
  return { prefix: ["sh", "-c", `echo 0 >${group}/cgroup.procs; exec "$@"`, "sh"] };
}

function removed(group: string): boolean {
  try {
    rmdirSync(group);
  } catch (error) {
    assert.match(String(error), /EBUSY|ENOENT/); // something in it has not ended, or it is gone
  }
  return !existsSync(group);
}

// Memory

test(
  "create: whatever of the address space it may have, it is done or says that memory is lacking",
  plain(),
  async () => {
    const id = newId();
    const bundle = bundleOf(id, {
      annotations: Object.fromEntries([...Array(1000)].map((_, i) => [`a${i}`, "x".repeat(1000)])),
    });
    assert.ok(readFileSync(join(bundle, "config.json")).length > 1_000_000);
    const step = 400_000;
    let bytes = 4_000_000;
    // The kernel itself ends a program that it cannot map.
    while (spawnSync("prlimit", [`--as=${bytes}`, `${binary}-runtime`, "--version"]).status !== 0) bytes += step;
    const codes = new Set<string>();
    for (; ; bytes += step) {
      const refusal = await createdOrRefused(id, bundle, { prefix: ["prlimit", `--as=${bytes}`] });
      if (refusal === undefined) break;
      codes.add(refusal.code);
      assert.ok(refusal.hint?.includes("limit") || refusal.kernel?.includes("ENOMEM"), JSON.stringify(refusal));
    }
    assert.ok(codes.has("OUT_OF_MEMORY"), [...codes].join(", "));
    await assertFree(id, bundle);
  },
);

test(
  "create: killed for the memory of its own control group: delete --force removes what is left",
  plain("cgroup1", "cgroup:memory"),
  async () => {
    const id = newId();
    const bundle = bundleOf(id);
    const killed: boolean[] = [];
    for (const bytes of [256 * 1024, 512 * 1024, 4 * 1024 * 1024]) {
      const { code, stderr } = await runtime(
        ["create", "--bundle", bundle, id],
        limited("memory", "memory.limit_in_bytes", String(bytes)),
      );
      killed.push(code !== 0);
      if (code !== 0) assert.doesNotMatch(stderr, /INTERNAL/);
      assert.deepEqual(await runtime(["delete", "--force", id]), { stdout: "", stderr: "", code: 0 });
    }
    assert.deepEqual([killed[0], killed.at(-1)], [true, false]);
    await assertFree(id, bundle);
  },
);

test(
  "create, run: a memory limit that is too low for the start is named, and does not kill the runtime",
  plain("cgroup:memory"),
  async () => {
    const id = newId();
    const usual = bundleOf(id);
    const outcomes = new Set<string>();
    for (const verb of ["create", "run --detach"])
      for (const limit of [1, 4096, 32_768, 65_536, 98_304, 131_072, 262_144, 524_288, 1_048_576, 1_200_000]) {
        const bundle = bundleOf(id, { resources: { memory: { limit } } });
        const result = await runtime([...verb.split(" "), "--bundle", bundle, id]);
        if (result.code === 0) {
          outcomes.add("made");
          await runtimePrints(["delete", "--force", id]);
          continue;
        }
        const { code, field, message, hint } = refusalOf(result);
        assert.deepEqual({ code, field }, { code: "INIT_DIED", field: "linux.resources.memory.limit" }, message);
        assert.match(message, / before the command ran: .* ran out of memory: its limit is \d+ bytes/);
        assert.ok(hint);
        outcomes.add("refused");
      }
    assert.deepEqual([...outcomes].sort(), ["made", "refused"]);
    await assertFree(id, usual);
  },
);

test(
  "start: a container whose limit is too low for the rest of the start says so",
  plain("cgroup1", "cgroup:memory"),
  async () => {
    const id = newId();
    const bundle = bundleOf(id);
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["create", "--bundle", bundle, id]);
    const file = `/sys/fs/cgroup/memory/tupper-${id}/memory.limit_in_bytes`;
    // As low as what it has already lets the kernel go, and no swap.
    for (let limit = 8192; limit < 4_000_000; limit += 4096) {
      try {
        writeFileSync(file, String(limit));
        break;
      } catch (error) {
        assert.match(String(error), /EBUSY/); // more than that is in use
      }
    }
    const result = await runtime(["start", id]);
    if (result.code === 0) return runtimePrints(["delete", "--force", id]).then(() => undefined);
    assert.match(refusalOf(result, "start").code, /^(INIT_DIED|START_FAILED|.*_FAILED)$/);
    await runtimePrints(["delete", "--force", id]);
    await assertFree(id, bundle);
  },
);

// Descriptors and processes

test(
  "create, start, exec, delete: with so few descriptors each is done or says that there are too few",
  plain(),
  async () => {
    const id = newId();
    const bundle = bundleOf(id);
    let refused = 0;
    for (let files = 3; ; files++) {
      const refusal = await createdOrRefused(id, bundle, { prefix: ["prlimit", `--nofile=${files}`], isDirect: true });
      if (refusal === undefined) break;
      refused++;
      assert.match(refusal.kernel ?? "", /EMFILE/);
      assert.equal(refusal.hint, "raise the limit: ulimit -n", refusal.message);
    }
    assert.ok(refused >= 3 && refused < 20, `${refused} refusals`);
    await runtimePrints(["create", "--bundle", bundle, id]);
    atEnd(() => runtime(["delete", "--force", id]));
    for (const args of [
      ["start", id],
      ["exec", id, "true"],
      ["pause", id],
      ["resume", id],
      ["update", "--pids-limit", "50", id],
      ["kill", id, "KILL"],
      ["delete", "--force", id],
    ]) {
      const [verb = ""] = args;
      let last = 0;
      for (let files = 3; ; files++) {
        const result = await runtime(args, { prefix: ["prlimit", `--nofile=${files}`], isDirect: true });
        if (result.code === 0) break;
        const { kernel, code } = refusalOf(result, verb);
        assert.ok(
          kernel?.includes("EMFILE") || code === "BINARY_UNPROTECTED" || code === "INIT_DIED",
          `${verb} with ${files}: ${result.stderr}`,
        );
        assert.ok(++last < 20, `${verb} is refused with ${files}`);
      }
    }
    await assertFree(id, bundle);
  },
);

test(
  "create, exec: pids.max of their own control group is reached: the hint says so",
  needs("cgroup1", "cgroup:pids"),
  async () => {
    const id = newId();
    const bundle = bundleOf(id);
    const one = () => limited("pids", "pids.max", "1");
    const refusal = await createdOrRefused(id, bundle, one());
    assert.match(refusal?.kernel ?? "", /^clone3?\(.*EAGAIN/);
    assert.match(refusal?.hint ?? "", /pids\.max/);
    await assertFree(id, bundle);
    await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
    atEnd(() => runtime(["delete", "--force", id]));
    const { message, hint } = refusalOf(await runtime(["exec", id, "true"], one()), "exec");
    assert.match(message, /^cannot clone a process: /);
    assert.match(hint ?? "", /pids\.max/);
    await runtimePrints(["exec", id, "true"]);
  },
);

test("run: hooks, and pids.max of the container reached by its own command", needs("cgroup:pids"), async () => {
  const id = newId();
  const bundle = bundleOf(id, { args: ["sh", "-c", "sleep 600"], resources: { pids: { limit: 1 } } });
  await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
  atEnd(() => runtime(["delete", "--force", id]));
  const { code, stderr } = await runtime(["exec", id, "true"]);
  if (code !== 0) assert.match(stderr, /^error: .*\((CLONE_FAILED|JOIN_PROCESS_FAILED|[A-Z_]+)\)$/m);
  await runtimePrints(["delete", "--force", id]);
});

// Room

const TMPFS = [
  ...[4, 8, 12, 16, 24].map((kilobytes) => `size=${kilobytes}k`),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((inodes) => `nr_inodes=${inodes}`),
];

test("create: no space or no inode left where its record goes", needs(), async () => {
  const id = newId();
  const bundle = bundleOf(id);
  const outcomes = new Set<string>();
  for (const options of TMPFS) {
    const root = temporaryDirectory();
    output("mount", "-t", "tmpfs", "-o", options, "small", root);
    atEnd(() => spawnSync("umount", ["-l", root], { stdio: "ignore" }));
    const result = await runtime(["--root", join(root, "state"), "create", "--bundle", bundle, id]);
    if (result.code === 0) outcomes.add("made");
    else {
      const { code, kernel, hint } = refusalOf(result);
      assert.match(kernel ?? "", /ENOSPC/, options);
      // What it names is there afterwards.
      assert.ok(hint?.startsWith(`free some there (df ${root}`) && !hint.includes(id), result.stderr);
      outcomes.add(code);
    }
    assert.deepEqual(await runtime(["--root", join(root, "state"), "delete", "--force", id]), {
      stdout: "",
      stderr: "",
      code: 0,
    });
    assert.equal(output("find", root, "-mindepth", "2"), "", options);
    output("umount", root);
  }
  for (const code of ["made", "STATE_ROOT", "RECORD_FAILED", "RECORD_STATE_FAILED"])
    assert.ok(outcomes.has(code), [...outcomes].join(", "));
  await assertFree(id, bundle);
});

test(
  "tupper run: no space or no inode left where its record goes; the directory that is named is there afterwards",
  needs(),
  async () => {
    const outcomes = new Set<string>();
    for (const options of TMPFS) {
      const run = "/run/tupper";
      const small = within(`mkdir -p ${run}; mount -t tmpfs -o ${options} small ${run}`);
      const { code, stderr } = await tupper(["--error-format", "json", "run", rootfs, "true"], small);
      const last = stderr.trimEnd().split("\n").at(-1) ?? "";
      if (code === 0) outcomes.add("ran");
      else {
        const error = JSON.parse(last) as Record<string, string>;
        assert.match(error.message ?? "", /: there is no space left in \/run\/tupper$/, options);
        assert.match(error.kernel ?? "", /ENOSPC/, options);
        assert.match(error.hint ?? "", /^free some there \(df \/run\/tupper; df -i \/run\/tupper\)/, options);
        outcomes.add(error.code ?? "");
      }
    }
    assert.deepEqual([...outcomes].sort(), ["RECORD_FAILED", "RECORD_STATE_FAILED", "STATE_ROOT", "ran"]);
  },
);

test("create: no inode left in the root filesystem for the mount points it lacks", needs(), async () => {
  const id = newId();
  const root = temporaryDirectory();
  output("mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=12", "small", root);
  atEnd(() => spawnSync("umount", ["-l", root], { stdio: "ignore" }));
  output("mkdir", join(root, "bin"));
  output("cp", "/bin/busybox", join(root, "bin/sleep"));
  const mounts = [
    ...(makeConfig(root).mounts ?? []),
    { destination: "/a/b/c/d/e/f/g/h/i/j", type: "tmpfs", source: "tmpfs" },
  ];
  const config = makeConfig(root, { root: { readonly: false }, mounts, linux: { cgroupsPath: `/tupper-${id}` } });
  const { field, kernel, message } = refusalOf(await runtime(["create", "--bundle", makeBundle(config), id]));
  assert.equal(field, "mounts[3]");
  assert.match(message, /there is no space left/);
  assert.match(kernel ?? "", /ENOSPC/);
  await assertFree(
    id,
    makeBundle(makeConfig(root, { root: { readonly: false }, linux: { cgroupsPath: `/tupper-${id}` } })),
  );
});

test("create, tupper run: /run is read-only", needs(), async () => {
  const id = newId();
  const bundle = bundleOf(id);
  mkdirSync("/run/tupper-runtime", { recursive: true });
  const { code, kernel, hint } = refusalOf(
    await runtime(["create", "--bundle", bundle, id], within("mount -o remount,bind,ro /run")),
  );
  assert.equal(code, "STATE_ROOT");
  assert.match(kernel ?? "", /EROFS/);
  assert.match(hint ?? "", /--root/);
  const own = await tupper(["run", rootfs, "true"], within("mount -o remount,bind,ro /run"));
  assert.equal(own.code, 125);
  assert.match(own.stderr, /^error: .*\(STATE_ROOT|EROFS\)$/m);
  await assertFree(id, bundle);
});

// Namespaces

test("create: user.max_user_namespaces is reached", needs("package:util-linux"), async () => {
  const id = newId();
  const config = makeConfig(rootfs, {
    linux: {
      namespaces: (["user", "pid", "mount"] as const).map((type) => ({ type })),
      uidMappings: [{ containerID: 0, hostID: 0, size: 1 }],
      gidMappings: [{ containerID: 0, hostID: 0, size: 1 }],
    },
  });
  delete config.hostname;
  delete (config.linux as { resources?: unknown }).resources;
  const bundle = makeBundle(config);
  const root = join(temporaryDirectory(), "root");
  for (const [name, said] of [
    ["user", "user.max_user_namespaces is 0"],
    ["mnt", "user.max_mnt_namespaces is 0"],
  ] as const) {
    const limit = within(`echo 0 >/proc/sys/user/max_${name}_namespaces`, ["--user", "--map-root-user"]);
    const { code, field, kernel, message } = refusalOf(
      await runtime(["--root", root, "--cgroup-manager", "disabled", "create", "--bundle", bundle, id], limit),
    );
    assert.deepEqual({ code, field }, { code: "NAMESPACE_REFUSED", field: "linux.namespaces" });
    assert.match(message, new RegExp(said));
    assert.match(kernel ?? "", /ENOSPC/);
    assert.equal(existsSync(join(root, id)), false);
  }
});

// What every program takes for granted

const NO_PROC = within("mount -t tmpfs none /proc");
const NO_SYS = within("mount -t tmpfs none /sys");
/** Commands on a running container. */
const COMMANDS = (id: string) => [
  ["state", id],
  ["list"],
  ["exec", id, "true"],
  ["pause", id],
  ["update", "--pids-limit", "50", id],
  ["ps", id],
  ["kill", id, "TERM"],
  ["delete", id],
  ["delete", "--force", id],
];

test("without /proc no command takes a running container for one that has stopped", needs(), async () => {
  const id = newId();
  const bundle = bundleOf(id);
  assert.equal(refusalOf(await runtime(["create", "--bundle", bundle, id], NO_PROC)).code, "BINARY_UNPROTECTED");
  await assertFree(id, bundle);
  await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
  atEnd(() => runtime(["delete", "--force", id]));
  for (const args of COMMANDS(id)) {
    const { code, hint } = refusalOf(await runtime(args, NO_PROC), args[0]);
    assert.match(code, /^(PROC_MISSING|BINARY_UNPROTECTED|PS_FAILED)$/, args.join(" "));
    if (code !== "PS_FAILED") assert.match(hint ?? "", /mount -t proc proc \/proc/);
  }
  assert.equal((await stateOf(id)).status, "running");
  const own = await tupper(["run", rootfs, "true"], NO_PROC);
  assert.equal(own.code, 125);
  assert.match(own.stderr, /^ {2}hint: +.*\/proc/m);
});

test("where something hides the control groups, a container is neither made nor half deleted", needs(), async () => {
  const id = newId();
  const bundle = bundleOf(id);
  assert.equal(refusalOf(await runtime(["create", "--bundle", bundle, id], NO_SYS)).code, "CGROUPS_HIDDEN");
  const own = await tupper(["run", rootfs, "true"], NO_SYS);
  assert.equal(own.code, 125);
  assert.match(own.stderr, /\(CGROUPS_HIDDEN\)$/m);
  await assertFree(id, bundle);
  await runtimePrints(["run", "--detach", "--bundle", bundle, id]);
  atEnd(() => runtime(["delete", "--force", id]));
  assert.match(refusalOf(await runtime(["pause", id], NO_SYS)).hint ?? "", /\/sys\/fs\/cgroup/);
  for (const args of [
    ["exec", id, "true"],
    ["update", "--pids-limit", "50", id],
    ["ps", id],
    ["delete", "--force", id],
  ])
    assert.equal(refusalOf(await runtime(args, NO_SYS), args[0]).code, "CGROUPS_HIDDEN", args.join(" "));
  await runtimePrints(["delete", "--force", id]);
  await assertFree(id, bundle);
});

// Time

test(
  "a container is the same seen from another time namespace, whichever it was made in",
  needs("file:/proc/self/ns/time"),
  async () => {
    const ahead = within(":", ["--time", "--boottime", "1000000", "--fork"]);
    for (const [made, seen] of [
      [{}, ahead],
      [ahead, {}],
    ] as const) {
      const id = newId();
      const bundle = bundleOf(id);
      atEnd(() => runtime(["delete", "--force", id]));
      await runtimePrints(["create", "--bundle", bundle, id], made);
      assert.match(await runtimePrints(["state", id], seen), /"status": "created"/);
      await runtimePrints(["start", id], seen);
      await runtimePrints(["exec", id, "true"], seen);
      assert.equal(refusalOf(await runtime(["delete", id], seen)).code, "CONTAINER_RUNNING");
      await runtimePrints(["delete", "--force", id], seen);
    }
  },
);

test("a clock that was set back: a container from the future is like any other", needs(), async () => {
  const id = newId();
  atEnd(() => runtime(["delete", "--force", id]));
  await runtimePrints(["run", "--detach", "--bundle", bundleOf(id), id]);
  for (const created of ["2999-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z"]) {
    const file = `/run/tupper-runtime/${id}/state.json`;
    writeFileSync(file, readFileSync(file, "utf8").replace(/"created":"[^"]*"/, `"created":"${created}"`));
    assert.match(await runtimePrints(["state", id]), new RegExp(`"created": "${created}"`));
    assert.match(await runtimePrints(["list"]), new RegExp(`^${id} .* running .*${created}`, "m"));
  }
  await runtimePrints(["exec", id, "true"]);
  await runtimePrints(["delete", "--force", id]);
});

test("create: a root filesystem without a single directory that the config mounts on", needs(), async () => {
  const id = newId();
  const root = makeRootfs();
  output("sh", "-c", `rmdir ${root}/proc ${root}/sys ${root}/dev`);
  const { field, message } = refusalOf(
    await runtime(
      ["create", "--bundle", makeBundle(makeConfig(root)), id],
      within(`mount --bind ${root} ${root}; mount -o remount,bind,ro ${root}`),
    ),
  );
  assert.equal(field, "mounts[0]", message);
});
