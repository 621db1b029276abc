import assert from "node:assert/strict";
import { test } from "node:test";
import picocolors from "picocolors";
import { ContainerError } from "../error.ts";
import { SysError } from "../sys/sys.ts";
import { age, renderContainers } from "./ps.ts";
import { renderError } from "./render-error.ts";
import { parseSignal } from "./signal.ts";
import { formatBytes, renderStats, type Sample } from "./stats.ts";
import { shorten } from "./table.ts";

const plain = picocolors.createColors(false);

test("renderError: sentence, code, field, the kernel's answer, hint", () => {
  const cause = new SysError("open_tree", 2, ["/srv/data", 1]);
  const error = new ContainerError(
    "MOUNT_SOURCE_MISSING",
    "cannot mount /srv/data at /data: the source does not exist",
    {
      field: "mounts[3].source",
      hint: "create it on the host first; a bind mount never creates its source",
      cause,
    },
  );
  assert.equal(
    renderError(error, plain),
    `error: cannot mount /srv/data at /data: the source does not exist (MOUNT_SOURCE_MISSING)
  config: mounts[3].source
  kernel: open_tree("/srv/data", OPEN_TREE_CLONE) = ENOENT (No such file or directory)
  hint:   create it on the host first; a bind mount never creates its source
`,
  );
});

test("renderError: a field that is a flag is called one, and colours are only around the words", () => {
  const error = new ContainerError("BAD_SIZE", "no", { field: "--memory" });
  assert.equal(renderError(error, plain), "error: no (BAD_SIZE)\n  flag:   --memory\n");
  assert.equal(
    renderError(error, picocolors.createColors(true)),
    "\u001b[1m\u001b[31merror:\u001b[39m\u001b[22m no \u001b[2m(BAD_SIZE)\u001b[22m\n  \u001b[2mflag:   \u001b[22m--memory\n",
  );
});

test("renderError: anything else is a fault of ours, with the stack in terms of the sources", () => {
  const error = new Error("oh");
  error.stack = "    at f (bundle.js:1:2)\n";
  assert.equal(
    renderError(error, plain, (stack) => stack.replace("bundle.js", "src/f.ts")),
    "error: oh (INTERNAL)\n  hint:   this is a fault of tupper; the lines below say where\n    at f (src/f.ts:1:2)\n",
  );
  assert.equal(
    renderError("text", plain),
    "error: text (INTERNAL)\n  hint:   this is a fault of tupper; the lines below say where\n",
  );
});

test("renderError: what the kernel may say at any time is no fault of ours, nonsense that it was handed is", () => {
  assert.equal(
    renderError(new SysError("flock", 37, [3, 2]), plain),
    "error: flock failed: no locks available (ENOLCK)\n  kernel: flock(3, 2) = ENOLCK (No locks available)\n",
  );
  assert.match(renderError(new SysError("close", 9, [-1]), plain), /fault of tupper/);
});

test("ps: one line a container, also of those that have ended, no control characters, ages in the largest unit", () => {
  const created = "2026-01-01T00:00:00.000Z";
  const box = {
    id: "box",
    pid: 41,
    status: "running",
    created,
    command: ["sh", "-c", "echo \u001b[31m"],
    rootPath: "/",
    rootKind: "overlay",
  } as const;
  assert.equal(
    renderContainers(
      [
        { ...box, command: [...box.command] },
        { ...box, id: "x", pid: 0, status: "creating", command: ["true"] },
      ],
      Date.parse(created) + 7_300_000,
      plain,
    ),
    `NAME  PID  STATUS    AGE  ROOT         COMMAND
box   41   running   2h   / (overlay)  sh -c echo ?[31m
x          creating  2h   / (overlay)  true
`,
  );
  const ended = { id: "old", pid: 0, status: "stopped", created } as const;
  const end = { finished: "2026-01-01T00:01:40.000Z", pid: 7, exitCode: 137 } as const;
  assert.equal(
    renderContainers(
      [
        { ...ended, command: ["sh\u001b"], end: { ...end, cause: "out-of-memory" } },
        { ...ended, end: { ...end, cause: "exited" } },
        { ...ended, end: { ...end, finished: "damaged", cause: "not-started" } },
      ],
      Date.parse(created) + 200_000,
      plain,
    ),
    `NAME  PID  STATUS                             AGE  ROOT  COMMAND
old        ended (137, out-of-memory) 1m ago  3m         sh?
old        exited (137) 1m ago                3m
old        not started (137) 0s ago           3m
`,
  );
  assert.deepEqual([0, 59_999, 60_000, 3_600_000, 200_000_000, -5].map(age), ["0s", "59s", "1m", "1h", "2d", "0s"]);
});

test("stats: shares of a processor between two looks, limits where there are some", () => {
  const sample = (usageNs: number | undefined, timeUs: number): Sample => ({
    timeUs,
    stats: {
      id: "box",
      pids: { current: 3, limit: -1 },
      memory: {
        usageBytes: 1_572_864,
        limitBytes: 67_108_864,
        maxUsageBytes: undefined,
        oomKills: 0,
        swapBytes: undefined,
      },
      cpu: { usageNs, userNs: undefined, systemNs: undefined, throttledPeriods: undefined, throttledNs: undefined },
      io: { readBytes: 0, writeBytes: undefined, readOps: undefined, writeOps: undefined },
    },
  });
  assert.equal(
    renderStats([sample(1_500_000_000, 2_000_000)], [sample(1_000_000_000, 1_000_000)], plain),
    `NAME  CPU    MEMORY           PROCESSES  READ / WRITTEN
box   50.0%  1.5MiB of 64MiB  3          0B / -
`,
  );
  assert.deepEqual([undefined, 0, 1023, 1024, 1536, 1_073_741_824].map(formatBytes), [
    "-",
    "0B",
    "1023B",
    "1KiB",
    "1.5KiB",
    "1GiB",
  ]);
});

test("kill: signals by name, number and distance from the real-time ends", () => {
  assert.deepEqual(
    ["TERM", "sigterm", "9", "RTMIN+3", "SIGRTMAX", "RTMAX-1"].map((text) => parseSignal(text)),
    [15, 15, 9, 37, 64, 63],
  );
  for (const wrong of ["0", "65", "TERN", "RTMAX+1", ""]) {
    assert.throws(() => parseSignal(wrong), { code: "UNKNOWN_SIGNAL" }, wrong);
  }
});

test("shorten counts characters, not code units", () => {
  assert.deepEqual([shorten("😀😀", 2), shorten("abc", 2)], ["😀😀", "a…"]);
});
