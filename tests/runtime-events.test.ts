/** `tupper-runtime events`: usage and lack of memory, as JSON lines. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  created,
  makeConfig,
  newId,
  running,
  runtimeFails,
  runtimePrints,
  startRuntime,
  untilStatus,
} from "./bundle.ts";
import { eventually, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = (...more: string[]) => ({ skip: missing("root", "package:busybox-static", ...more) });
const MIB = 1_048_576;

interface Event {
  type: string;
  id: string;
  data?: {
    cpu: { usage: { total: number; percpu: number[]; kernel: number; user: number } };
    memory: { usage: { limit: number; usage: number; max: number; failcnt: number }; raw: Record<string, number> };
    pids: { current: number; limit: number };
  };
}

const parse = (text: string): Event[] =>
  text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Event);

test("events --stats: one line, in runc's shape", needs("cgroup:memory", "cgroup:pids"), async () => {
  const resources = { memory: { limit: 64 * MIB }, pids: { limit: 30 } };
  const args = ["sh", "-c", "dd if=/dev/zero of=/dev/file bs=1M count=10 2>/dev/null; sleep 604 & wait"];
  const id = await running(makeConfig(root, { args, resources }));
  await eventually("the file is written", async () => /sleep 604$/m.test(await runtimePrints(["ps", id])));
  const [event, ...others] = parse(await runtimePrints(["events", "--stats", id]));
  assert.deepEqual([event?.type, event?.id, others], ["stats", id, []]);
  const { data } = event ?? {};
  assert.deepEqual(Object.keys(data ?? {}), [
    "cpu",
    "cpuset",
    "memory",
    "pids",
    "blkio",
    "hugetlb",
    "intel_rdt",
    "network_interfaces",
  ]);
  assert.deepEqual(data?.pids, { current: 2, limit: 30 });
  assert.equal(data?.memory.usage.limit, 64 * MIB);
  assert.ok((data?.memory.usage.usage ?? 0) > 10 * MIB && (data?.memory.usage.usage ?? 0) < 40 * MIB);
  // Where version 1 has it; version 2 tells what is used for what.
  const raw = data?.memory.raw ?? {};
  if (missing("cgroup1") === false) assert.equal(raw.hierarchical_memory_limit, 64 * MIB);
  // Linux 5.10 leaves up to 31 pages of each processor out.
  else assert.ok((raw.file ?? 0) > 9 * MIB, `${raw.file} bytes of files`);
  assert.ok((data?.cpu.usage.total ?? 0) > 1_000_000);
});

test("events: a line each interval, until the container ends", needs(), async () => {
  const id = await running(makeConfig(root));
  const watch = startRuntime(["events", "--interval", "50ms", id]);
  await eventually("three lines", () => parse(watch.stdout()).length >= 3);
  await runtimePrints(["kill", id, "KILL"]);
  const { stdout, stderr, code } = await watch.ended;
  assert.deepEqual({ stderr, code }, { stderr: "", code: 0 });
  assert.deepEqual(new Set(parse(stdout).map(({ type }) => type)), new Set(["stats"]));
});

test("events: says when memory runs out, also when that is the end", needs("cgroup:memory"), async () => {
  const script = "dd if=/dev/zero of=/dev/null bs=60M count=1; echo $? >&2";
  const resources = { memory: { limit: 20 * MIB, swap: 20 * MIB } };
  const id = await created(makeConfig(root, { args: ["sh", "-c", `${script}; exec sleep 600`], resources }));
  const watch = await watching(id);
  await runtimePrints(["start", id]);
  await eventually("out of memory", () => oomsIn(watch.stdout()).length > 0);
  assert.deepEqual(oomsIn(watch.stdout())[0], { type: "oom", id });
  await runtimePrints(["kill", id, "KILL"]);
  assert.equal((await watch.ended).code, 0);

  // Version 2 may tell of it only after the process has ended, about one time in three.
  for (let i = 0; i < 8; i++) {
    const args = ["dd", "if=/dev/zero", "of=/dev/null", "bs=60M", "count=1"];
    const last = await created(makeConfig(root, { args, resources }));
    const lastWatch = await watching(last);
    await runtimePrints(["start", last]);
    assert.deepEqual(oomsIn((await lastWatch.ended).stdout)[0], { type: "oom", id: last }, `the end of ${i}`);
  }
});

/** Since the first line it watches. */
async function watching(id: string) {
  const watch = startRuntime(["events", "--interval=50ms", id]);
  await eventually("the first line", () => watch.stdout().includes("\n"));
  return watch;
}

const oomsIn = (text: string): Event[] => parse(text).filter(({ type }) => type === "oom");

test("events: of a container that does not run, or with no interval, is an error", needs(), async () => {
  const id = await created(makeConfig(root));
  for (const interval of ["0", "-1s", "soon"])
    assert.match(await runtimeFails(["events", "--interval", interval, id]), /^BAD_DURATION: /);
  await runtimePrints(["kill", id, "KILL"]);
  await untilStatus(id, "stopped");
  for (const flags of [["--stats"], []])
    assert.match(
      await runtimeFails(["events", ...flags, id]),
      /^CONTAINER_NOT_RUNNING: container with id .* is not running$/,
    );
  assert.match(await runtimeFails(["events", newId()]), /^CONTAINER_UNKNOWN: /);
});
