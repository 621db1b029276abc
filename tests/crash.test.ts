import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  background,
  binary,
  eventually,
  isSanitizer,
  pidOf,
  prints,
  runDirectory,
  start,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("subuid", "package:busybox-static") };

/** What a run makes, beside what others make at the same time. */
const added = (before: Set<string>) => [...snapshot()].filter((thing) => !before.has(thing));

test(
  "run: of 200 runs 50 are killed with SIGKILL at random moments; after the next command nothing is left",
  needs,
  async () => {
    const before = snapshot();
    const runs = isSanitizer ? 60 : 200;
    // A run of true takes some ten milliseconds: the moments cover all of it and a little more.
    const longestMs = isSanitizer ? 200 : 15;
    let killed = 0;
    const one = async (i: number): Promise<void> => {
      const flags =
        i % 3 === 0
          ? ["--memory", "64m", "-v", "/etc:/data"]
          : i % 3 === 1
            ? ["--root-kind", "copy"]
            : ["--init", "-t"];
      const running = start(["run", ...flags, root, "sh", "-c", i % 2 === 0 ? "exit 3" : "sleep 0.01; exit 3"]);
      if (i % 2 === 0) {
        await sleep(Math.random() * longestMs);
        running.child.kill("SIGKILL");
      }
      const { code, signal, stderr } = await running.ended;
      if (signal === "SIGKILL") killed++;
      else assert.equal(code, 3, `run ${i}: ${stderr}`);
    };
    // Four at a time.
    let next = 0;
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        // Some are over before the signal comes: as many more as it takes.
        while (next < runs || (killed < runs / 4 && next < 10 * runs)) await one(next++);
      }),
    );
    assert.ok(killed >= runs / 4, `only ${killed} were killed`);
    assert.equal(await prints(["ps", "--quiet"]), "");
    await eventually("nothing is left", () => added(before).length === 0).catch(() =>
      assert.deepEqual(added(before), []),
    );
  },
);

test(
  "run: SIGKILL to tupper while the container runs: the command dies with it, the next run cleans up",
  needs,
  async () => {
    const before = snapshot();
    const running = await background(root, ["--memory", "64m"]);
    const pid = await pidOf(running.name);
    running.child.kill("SIGKILL");
    await running.ended;
    await eventually(
      "PID 1 is gone",
      () => !existsSync(`/proc/${pid}`) || added(before).every((thing) => !thing.startsWith(`process ${pid} `)),
    );
    await prints(["run", root, "true"]);
    await eventually("nothing is left", () => added(before).length === 0);
  },
);

test("run: a name can be used again at once after SIGKILL", needs, async () => {
  const running = await background(root);
  running.child.kill("SIGKILL");
  await running.ended;
  assert.equal(await prints(["run", "--name", running.name, root, "echo", "again"]), "again\n");
});

test("run: SIGKILL to PID 1 from outside is exit code 137, and the rest of the container goes too", needs, async () => {
  const running = await background(root, [], { script: "sleep 1000 & setsid sleep 1000 &" });
  process.kill(await pidOf(running.name), "SIGKILL");
  assert.equal((await running.ended).code, 137);
});

test("run: a fork bomb at the pids limit is contained and ends with the container", {
  skip: missing("subuid", "cgroup:pids"),
}, async () => {
  const running = start([
    "run",
    "--name",
    `test-${process.pid}-bomb`,
    "--pids-limit",
    "60",
    root,
    "sh",
    "-c",
    "echo ready; bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 100",
  ]);
  await running.until(/ready/);
  await sleep(500);
  assert.equal(await prints(["kill", `test-${process.pid}-bomb`]), `test-${process.pid}-bomb\n`);
  assert.equal((await running.ended).code, 137);
});

test("run: SIGTERM while it sets up ends it without a trace", needs, async () => {
  for (let i = 0; i < 20; i++) {
    const running = start(["run", root, "true"]);
    await sleep(Math.random() * 12);
    running.child.kill("SIGTERM");
    const { code, signal } = await running.ended;
    assert.ok(signal === "SIGTERM" || [0, 143, 125].includes(code ?? -1), `${code} ${signal}`);
  }
});

test("run: 40 at the same time", needs, async () => {
  const all = await Promise.all(Array.from({ length: 40 }, (_, i) => tupper(["run", root, "sh", "-c", `exit ${i}`])));
  assert.deepEqual(
    all.map(({ code, stderr }) => [code, stderr]),
    Array.from({ length: 40 }, (_, i) => [i, ""]),
  );
});

test(
  "run --name: of 20 at once with the same name exactly one runs, and the others take nothing from it",
  needs,
  async () => {
    const before = snapshot();
    const flags = ["--name", `same-${process.pid}`, "--no-tty"];
    const all = Array.from({ length: 20 }, () =>
      start(["run", ...flags, root, "sh", "-c", "echo ready; read word; exit 7"], { input: { open: true } }),
    );
    const refused = () => all.filter(({ child }) => child.exitCode !== null);
    await eventually("all but one have ended", () => refused().length === 19, 30_000);
    for (const { ended } of refused()) {
      const { code, stderr, stdout } = await ended;
      assert.deepEqual({ code, stdout }, { code: 125, stdout: "" });
      assert.match(stderr, /^error: .* \(CONTAINER_EXISTS\)$/m);
    }
    const [winner] = all.filter(({ child }) => child.exitCode === null);
    assert.ok(winner !== undefined);
    await winner.until(/ready\n/);
    winner.child.stdin.end("end\n");
    const { code, stderr } = await winner.ended;
    assert.deepEqual({ code, stderr }, { code: 7, stderr: "" });
    assert.deepEqual(added(before), []);
  },
);

test("ps: a state directory that is empty, broken or of a run that died is cleaned up", needs, async () => {
  const running = start(["run", root, "sh", "-c", "echo ready; sleep 1000"]);
  await running.until(/ready/);
  running.child.kill("SIGKILL");
  await running.ended;
  assert.equal(await prints(["ps"]), "NAME  PID  STATUS  AGE  ROOT  COMMAND\n");
  const left = existsSync(join(runDirectory, "tupper")) ? readdirSync(join(runDirectory, "tupper")) : [];
  assert.deepEqual(
    left.filter((name) => !name.startsWith(".ended-")),
    [],
  );
});

test("run: a container that stops itself goes on when it is told to", needs, async () => {
  const running = start(["run", "--init", root, "sh", "-c", "echo ready; kill -STOP $$; echo on"]);
  await running.until(/ready/);
  await sleep(100);
  running.child.kill("SIGCONT");
  assert.deepEqual(await running.ended, { stdout: "ready\non\n", stderr: "", code: 0, signal: null });
});

test("run: what is stopped with SIGSTOP is killed all the same", needs, async () => {
  const running = await background(root);
  process.kill(await pidOf(running.name), "SIGSTOP");
  assert.equal(await prints(["kill", running.name]), `${running.name}\n`);
  assert.equal((await running.ended).code, 137);
});

test("run: a thousand files and deep directories in the overlay go at once", needs, async () => {
  const script = "mkdir -p /d/$(seq -s / 1 100) && seq 1 1000 | sed 's,^,/d/f,' | xargs touch && ls /d | wc -l";
  assert.equal(await prints(["run", root, "sh", "-c", script]), "1001\n");
  assert.ok(binary);
});
