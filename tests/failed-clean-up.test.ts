/**
 * What is to be removed and cannot be: the command's exit code, or the error of the step that failed, stays what it is; a
 * warning says what could not be removed, why, and what is left; and the next command that can removes it.
 *
 * The tests run tupper in a mount namespace of its own, in which the control groups or /run are mounted read-only at the right moment.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../src/spec/config.ts";
import {
  makeBundle,
  makeConfig,
  newId,
  type RuntimeOptions,
  runtime,
  runtimePrints,
  startRuntime,
  stateOf,
} from "./bundle.ts";
import { pointsOf, withFault } from "./fault-points.ts";
import {
  atEnd,
  binary,
  eventually,
  isSanitizer,
  output,
  prints,
  type Running,
  start,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs();
const needs = { skip: missing("root", "cgroup:pids", "package:busybox-static", "package:util-linux") };

const apart = ["unshare", "--mount", "--propagation", "private"];
const GROUPS_READ_ONLY =
  "awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts | while read -r mount; do mount -o remount,bind,ro $mount; done";
const RUN_READ_ONLY = "mount --bind /run /run && mount -o remount,bind,ro /run";
const REFUSED = String.raw`rmdir\("/sys/fs/cgroup/\S+"\) = EROFS \(Read-only file system\) \(hint: it is mounted read-only here\); left: `;

/* ---- tupper run ------------------------------------------------------------------------------ */

let runs = 0;

/** A command that ends with 7 once it is told to, by a tupper whose mounts can be changed. */
async function untilTold(): Promise<Running & { name: string; change: (script: string) => void }> {
  const name = `unclean-${process.pid}-${++runs}`;
  const flags = ["--name", name, "--pids-limit", "40", "--no-tty"];
  const running = start(["run", ...flags, rootfs, "sh", "-c", "echo ready; read word; exit 7"], {
    prefix: apart,
    input: { open: true },
  });
  atEnd(() => tupper(["ps"]));
  await running.until(/ready\n/);
  // The command may be faster than the record of its process.
  await eventually("its process is on record", () => existsSync(`/run/tupper/${name}/init`));
  const change = (script: string) => output("nsenter", "--mount", "--target", `${running.pid}`, "sh", "-c", script);
  return { ...running, name, change };
}

test(
  "run: a control group that cannot be removed is a warning; the exit code is the command's, and ps removes it",
  needs,
  async () => {
    const { child, ended, change, name } = await untilTold();
    change(GROUPS_READ_ONLY);
    child.stdin.end("end\n");
    const { code, stderr } = await ended;
    assert.equal(code, 7, stderr);
    assert.match(
      stderr,
      new RegExp(
        `^warning: cannot remove the container's control groups: ${REFUSED}/sys/fs/cgroup/.*: on record .*\n$`,
      ),
    );
    const left = /left: (.*): on record/.exec(stderr)?.[1]?.split(", ") ?? [];
    assert.deepEqual(left.filter(existsSync), left);
    assert.match(await prints(["inspect", name]), /"status": "stopped"/);
    assert.equal(await prints(["ps", "--quiet"]), "");
    assert.deepEqual(left.filter(existsSync), []);
    // What cleaned up after it did not take it for killed.
    assert.match(await prints(["inspect", name]), /"exitCode": 7/);
  },
);

test("run: a record that cannot be removed is a warning; the exit code is the command's", needs, async () => {
  const { child, ended, change, name } = await untilTold();
  change(RUN_READ_ONLY);
  child.stdin.end("end\n");
  const { code, stderr } = await ended;
  assert.equal(code, 7, stderr);
  const [first = "", second = "", ...rest] = stderr.split("\n");
  assert.match(first, /^warning: how it ended is not on record for tupper wait: Read-only file system$/);
  assert.match(
    second,
    new RegExp(
      `^warning: cannot remove the container's record: unlinkat\\(.*\\) = EROFS \\(Read-only file system\\) \\(hint: it is mounted read-only here\\); left: /run/tupper/${name}, .*$`,
    ),
  );
  assert.deepEqual(rest, [""]);
});

test(
  "ps: what a crashed run left and cannot be removed is a warning, and all containers are listed",
  needs,
  async () => {
    const other = await untilTold();
    const crashed = await untilTold();
    crashed.child.kill("SIGKILL");
    await crashed.ended;
    const listed = await tupper(["ps", "--format", "json"], {
      prefix: [...apart, "sh", "-c", `${GROUPS_READ_ONLY}; exec "$@"`, "sh"],
    });
    assert.equal(listed.code, 0, listed.stderr);
    const containers = JSON.parse(listed.stdout) as { id: string; status: string }[];
    assert.deepEqual(Object.fromEntries(containers.map(({ id, status }) => [id, status])), {
      [other.name]: "running",
      [crashed.name]: "stopped",
    });
    assert.match(
      listed.stderr,
      new RegExp(
        `^warning: cannot remove what is left of the container ${crashed.name}: ${REFUSED}/run/tupper/${crashed.name}\n$`,
      ),
    );
    other.child.stdin.end("end\n");
    assert.equal((await other.ended).code, 7);
  },
);

test("run: a command that is not found is the error also where a control group cannot be removed again", {
  skip: needs.skip || missing("programs", "arch:x64") || (isSanitizer ? "what the sanitizer calls is not ours" : false),
}, async () => {
  const directory = temporaryDirectory();
  const name = `unclean-${process.pid}-${++runs}`;
  const command = [binary, "run", "--name", name, "--pids-limit", "40", rootfs, "no-such-command"];
  const { points: all } = await pointsOf(command, directory);
  const points = all.filter(({ process, call }) => process === 0 && call === "unlinkat");
  atEnd(() => tupper(["ps"]));
  const first = points[0];
  assert.ok(first !== undefined);
  const { code, stderr } = await withFault(first, "EROFS", command, directory);
  assert.equal(code, 127, stderr);
  assert.match(
    stderr,
    /^warning: cannot remove the control groups again: rmdir\(.*\) = EROFS .*; left: .*\nerror: .*\n/,
  );
  assert.match(stderr, /^error: .* \(COMMAND_NOT_FOUND\)$/m);
  // The group is on record, so that somebody knows of it.
  assert.equal(existsSync(`/run/tupper/${name}/state.json`), true);
});

/* ---- tupper-runtime -------------------------------------------------------------------------- */

/** A container whose `hook` makes the control groups read-only for the runtime, and then ends with `code`. */
function bundleWith(hook: "poststart" | "createRuntime", code: number): { bundle: string; id: string; group: string } {
  const id = newId();
  const script = `${GROUPS_READ_ONLY}; exit ${code}`;
  const hooks: Config["hooks"] = {
    [hook]: [{ path: "/bin/sh", args: ["sh", "-c", script], env: ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"] }],
  };
  const group = `/tupper-${id}`;
  const config = makeConfig(rootfs, { args: ["sh", "-c", "exit 7"], hooks, linux: { cgroupsPath: group } });
  atEnd(() => runtime(["delete", "--force", id]));
  return { bundle: makeBundle(config), id, group };
}

const inApart = (options: RuntimeOptions = {}): RuntimeOptions => ({ ...options, prefix: apart });

const UNDELETED = new RegExp(
  `cannot delete the container: ${REFUSED}/run/tupper-runtime/\\S+, /sys/fs/cgroup/.*; it stays on record until it is deleted`,
);

test(
  "tupper-runtime run: a control group that cannot be removed is a warning, on stderr or in the log",
  needs,
  async () => {
    const log = join(temporaryDirectory(), "log");
    for (const flags of [[], ["--log", log], ["--log", log, "--log-format", "json"]]) {
      const { bundle, id } = bundleWith("poststart", 0);
      const { code, stderr } = await runtime([...flags, "run", "--bundle", bundle, id], inApart());
      assert.equal(code, 7, stderr);
      if (flags.length === 0) assert.match(stderr, new RegExp(`^warning: ${UNDELETED.source}\n$`));
      else {
        assert.equal(stderr, "");
        const last = readFileSync(log, "utf8").trim().split("\n").at(-1) ?? "";
        const { level, msg } = flags.includes("json")
          ? (JSON.parse(last) as { level: string; msg: string })
          : { level: /level=(\w+)/.exec(last)?.[1], msg: JSON.parse(/msg=(".*")$/.exec(last)?.[1] ?? '""') as string };
        assert.equal(level, "warning");
        assert.match(msg, new RegExp(`^${UNDELETED.source}$`));
      }
      assert.equal((await stateOf(id)).status, "stopped");
      await runtimePrints(["delete", id]);
    }
  },
);

test(
  "tupper-runtime create, run: a hook that fails is the error also where nothing can be removed again",
  needs,
  async () => {
    for (const [verb, hook] of [
      ["create", "createRuntime"],
      ["run", "createRuntime"],
      ["run", "poststart"],
    ] as const) {
      const { bundle, id } = bundleWith(hook, 3);
      const { code, stderr } = await runtime([verb, "--bundle", bundle, id], inApart());
      assert.equal(code, 1, stderr);
      assert.match(
        stderr,
        /^warning: cannot .*= EROFS \(Read-only file system\).*; left: .*\nerror: .* \(HOOK_FAILED\)\n/,
      );
      // On record, with its control groups.
      assert.equal((await stateOf(id)).status, "stopped");
      await runtimePrints(["delete", id]);
    }
  },
);

test("tupper-runtime run: who deletes the container meanwhile has it end with 137, and that is no error", {
  skip: missing("subuid", "package:busybox-static"),
}, async () => {
  for (let round = 0; round < (isSanitizer ? 3 : 15); round++) {
    const id = newId();
    const running = startRuntime(["run", "--bundle", makeBundle(makeConfig(rootfs)), id]);
    atEnd(() => runtime(["delete", "--force", id]));
    await eventually("it runs", async () => (await runtime(["state", id])).stdout.includes('"running"'), 20_000);
    await runtimePrints(["delete", "--force", id]);
    const { code, stderr } = await running.ended;
    assert.equal(code, 137, stderr);
    assert.doesNotMatch(stderr, /^error/m);
  }
});
