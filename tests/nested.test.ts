import assert from "node:assert/strict";
import { test } from "node:test";
import { binary, isSanitizer, prints, tupper, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs, sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const root = sharedRootfs();
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };
/** In an outer root of busybox alone there is no loader for it. */
const needsStatic = { skip: needs.skip || (isSanitizer && "the sanitizer build is linked dynamically") };
/** An overlay over a root whose mounts a user namespace has locked is none that the kernel makes. */
const needsFor = (kind: string) => (kind === "overlay" ? { skip: missing("root") || needsStatic.skip } : needsStatic);

/** tupper inside `tupper run --privileged`: the binary and the root filesystem are mounted into the outer container. */
const OUTER = ["run", "--privileged", "-v", `${binary}:/inner-tupper:ro`, "-v", `${root}:/inner-root:ro`];
const inside = (outerRoot: string, ...args: string[]) => tupper([...OUTER, outerRoot, ...args]);

test("run: tupper inside tupper run --privileged host: hostname, PID 1, ps", needs, async () => {
  const { stdout, stderr, code } = await inside(
    "host",
    "sh",
    "-c",
    "hostname outer-$(hostname); /inner-tupper run /inner-root/ sh -c 'ps -o pid,comm; echo $$; hostname'; hostname",
  );
  assert.deepEqual(
    { stdout, stderr, code },
    { stdout: "PID   COMMAND\n    1 sh\n    2 ps\n1\ntupperware\nouter-tupperware\n", stderr: "", code: 0 },
  );
});

for (const [outer, flags] of [
  ["overlay", []],
  ["copy", ["--root-kind", "copy", "--size", "100m"]],
] as const) {
  for (const kind of ["overlay", "bind", "copy"]) {
    test(`run --root-kind ${kind}: inside an outer root of the kind ${outer}`, needsFor(kind), async () => {
      // The inner root is the outer container's own: an overlay's lower is then an overlay itself.
      const directory = makeRootfs();
      const script = `/inner-tupper run --root-kind ${kind} / sh -c 'cat /CONTAINER_ROOT_DIR; echo x >/written; cat /written'`;
      const { stdout, stderr, code } = await tupper([
        "run",
        "--privileged",
        ...flags,
        "-v",
        `${binary}:/inner-tupper:ro`,
        directory,
        "sh",
        "-c",
        script,
      ]);
      assert.deepEqual({ stdout, stderr, code }, { stdout: "inside\nx\n", stderr: "", code: 0 });
    });
  }
}

test("run host: inside tupper run host, three deep", asRoot, async () => {
  const script =
    "/inner-tupper run --privileged -v /inner-tupper:/inner-tupper -v /inner-root:/inner-root host /inner-tupper run /inner-root/ cat /CONTAINER_ROOT_DIR";
  const { stdout, stderr, code } = await inside("host", "sh", "-c", script);
  if (code === 0) assert.equal(stdout, "inside\n");
  else {
    assert.equal(code, 125, stderr);
    assert.match(stderr, /^error: .*overlay.* \([A-Z_]+\)$/m);
    assert.match(stderr, /^ {2}hint: .*(copy|bind)/m);
  }
});

test("run: limits inside a container are below the outer one's", {
  skip: missing("root", "cgroup:pids"),
}, async () => {
  const script =
    "/inner-tupper run --pids-limit 30 /inner-root/ sh -c 'cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max'";
  const { stdout, stderr, code } = await tupper([...OUTER, "--pids-limit", "60", "host", "sh", "-c", script]);
  assert.deepEqual({ stdout, stderr, code }, { stdout: "30\n", stderr: "", code: 0 });
});

test("run, ps, exec, kill: all words work inside", needs, async () => {
  const script = `/inner-tupper run --name inner /inner-root/ sh -c 'trap "exit 0" TERM; echo up; sleep 100 & wait' & pid=$!
    until /inner-tupper exec inner echo from exec 2>/dev/null; do sleep 0.05; done
    /inner-tupper ps -q; /inner-tupper stats --format json inner | grep -c '"id": "inner"'; /inner-tupper kill -s TERM inner; wait $pid; echo code $?`;
  const { stdout, stderr } = await inside("host", "sh", "-c", script);
  assert.equal(stdout.replace(/^up\n/, "").replace(/\nup\n/, "\n"), "from exec\ninner\n1\ninner\ncode 0\n", stderr);
});

test("run: the same exit codes inside", needs, async () => {
  assert.equal((await inside("host", "/inner-tupper", "run", "/inner-root/", "sh", "-c", "exit 42")).code, 42);
  assert.equal((await inside("host", "/inner-tupper", "run", "/inner-root/", "no-such-command")).code, 127);
});

test("run: inside a container without --privileged it says what is missing", needs, async () => {
  const { code, stderr } = await tupper([
    "run",
    "-v",
    `${binary}:/inner-tupper:ro`,
    "-v",
    `${root}:/inner-root:ro`,
    "host",
    "/inner-tupper",
    "run",
    "/inner-root/",
    "true",
  ]);
  assert.equal(code, 125);
  assert.match(stderr, /^error: .+ \([A-Z_]+\)$/m);
  assert.match(stderr, /^ {2}hint: /m);
  assert.doesNotMatch(stderr, /fault of tupper|INTERNAL/);
});

test("run: the outer container's other words do not see the inner ones", needs, async () => {
  assert.equal(await prints(["ps", "-q"]), "");
  const { stdout } = await inside("host", "/inner-tupper", "ps", "-q");
  assert.equal(stdout, "");
});
