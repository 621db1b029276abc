/**
 * Any system call of a command fails with any error that the kernel could give there (tests/programs/inject_fault.c): the
 * command ends in time with one clear error, or succeeds, and then the container is the same as without the fault; nothing
 * is left; and the ID can be used again.
 *
 * A sample is tried: of each call of each process one, with one error, some of all verbs; with TUPPER_TORTURE everything (fault-trials.ts).
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "./bundle.ts";
import { errnosOf, type Point, pointsOf, withFault } from "./fault-points.ts";
import { SETTINGS } from "./fault-settings.ts";
import {
  isAskedFor,
  leftSince,
  makeTrial,
  nextCommands,
  type Outcome,
  prepare,
  TORTURE,
  type Trial,
  tryAll,
  VERBS,
} from "./fault-trials.ts";
import { isSanitizer, slowness, watchForLeftovers } from "./harness.ts";
import { snapshot } from "./leftovers.ts";
import { missing } from "./missing.ts";

watchForLeftovers();
const needs = {
  skip:
    missing("root", "package:busybox-static", "programs", "arch:x64") ||
    (isSanitizer ? "what the sanitizer calls is not ours" : false),
};

/** One error in the house's form, behind warnings at most. */
function wrongMessage(stderr: string, errno: string): string | undefined {
  const errors = stderr.split("\n").filter((line) => line.startsWith("error: "));
  // Memory for a rarely used part of the program (host/cold.h) in the init process: it says so itself, then the other that it died.
  const isOfInit = /\(OUT_OF_MEMORY\)$/.test(errors[0] ?? "") && /\(INIT_DIED\)$/.test(errors[1] ?? "");
  if (errors.length !== (isOfInit ? 2 : 1)) return `${errors.length} errors`;
  if (!/^error: .+ \([A-Z][A-Z0-9_]*\)$/.test(errors[0] ?? "")) return "no error in the house's form";
  if (/\(INTERNAL\)$/.test(errors[0] ?? "")) return "an internal error";
  if (/^ {4}at |undefined|\[object /m.test(stderr)) return "words of a program";
  const rest = stderr
    .split("\n")
    .filter((line) => !/^(error: |warning: | {2}(config|flag|arg|kernel|found|hint): |$)/.test(line));
  if (rest.length > 0) return `a line of no error: ${rest[0]}`;
  // The init process cannot say a word when it is the words that fail.
  if (/\((INIT_DIED|PARENT_GONE)\)$/.test(errors[0] ?? "")) return undefined;
  // A root or a hierarchy that may not be read or written, which is what EACCES and EXDEV are.
  if (/\((UNKNOWN_USER|CGROUP_CONTROLLER_MISSING)\)$/.test(errors[0] ?? "") && /^(EACCES|EXDEV)$/.test(errno))
    return undefined;
  // A second way was tried: the step is named all the same, and what the kernel said to that.
  if (/^ {2}kernel: /m.test(stderr)) return undefined;
  return stderr.includes(errno) || MEANT.has(errno) ? undefined : `does not say ${errno}`;
}

const GONE: ReadonlySet<string> = new Set(["ENOENT", "ESRCH"]);
const NOT_READABLE: ReadonlySet<string> = new Set(["ENOENT", "EACCES", "EXDEV"]);

/** What is asked about is gone: the error says so, and of what. */
const MEANT: ReadonlySet<string> = new Set(["ENOENT", "ESRCH", "ECONNREFUSED", "ECONNRESET"]);

async function tryFault(trial: Trial, point: Point, errno: string): Promise<Outcome> {
  const { verb, id, directory } = trial;
  const faults: string[] = [];
  await verb.ready?.(trial);
  const before = snapshot();
  await prepare(trial);
  const outcome = await withFault(point, errno, verb.command(trial), directory, verb.env?.(trial));
  const { code, report, stderr } = outcome;
  const reached = /^reached$/m.test(report);
  for (const line of report.split("\n")) if (/^(did not|process)/.test(line)) faults.push(line);
  if (code === null || (code >= 128 && code !== 255)) faults.push(`exit code ${code}`);
  const succeeded = code === (verb.code ?? 0);
  let left: string[] = [];
  if (succeeded) {
    // What a command finds gone it need not change; a container that it makes is another matter.
    // A root in which a file is not to be read is one without it, and a warning tells of limits that cannot be set.
    const isSaid =
      (point.call === "openat2" && NOT_READABLE.has(errno)) ||
      /^warning: (the limits on|can't raise ambient)/m.test(stderr);
    const isGoneForIt = isSaid || (GONE.has(errno) && verb.before !== undefined && verb.code === undefined);
    const wrong = isGoneForIt ? undefined : await verb.succeeded?.(trial, outcome);
    if (wrong !== undefined) faults.push(`it succeeds, but ${wrong}`);
    if (/^error: /m.test(stderr)) faults.push("an error, but it succeeds");
  } else {
    const wrong = wrongMessage(stderr, errno);
    if (wrong !== undefined) faults.push(wrong);
    const otherwise = await verb.failed?.(trial);
    if (otherwise !== undefined) faults.push(otherwise);
  }
  const stays = !succeeded || /^warning: .*; left: /m.test(stderr);
  if (verb.makes && stays) left = await leftSince(before, id);
  faults.push(...(await nextCommands(trial, before)));
  return { outcome: !reached ? "unreached" : succeeded ? "harmless" : "failed", faults, left, stderr };
}

/** What faults of tupper were found by, tried each time: [verb, call, which of the first process, error]. */
const FOUND: readonly (readonly [string, string, number, string])[] = [
  ["create", "flock", 1, "EINTR"], // the new directory stayed
  ["create", "statx", 1, "EACCES"], // the same
  ["create", "openat", 6, "EMFILE"], // a machine without control groups
  ["create", "openat", 24, "ENOENT"], // created, and found stopped
  ["start", "openat", 1, "EMFILE"], // an unknown container
  ["start", "socket", 1, "EAFNOSUPPORT"], // a fault of tupper, with a stack
  ["start", "faccessat", 1, "EIO"], // a running container
  ["start", "connect", 2, "EACCES"], // does not wait to be started
  ["tupper run", "flock", 1, "EINTR"], // the new directory stayed
  ["tupper run", "openat2", 2, "EMFILE"], // alice without her groups
  ["tupper run", "openat2", 1, "ENOMEM"], // no user alice
  ["tupper run", "openat", 20, "EMFILE"], // control groups that nobody knew of stayed
  ["tupper run", "unlinkat", 1, "EROFS"], // the same
  ["delete --force", "ppoll", 1, "ENOMEM"], // does not end within 10 seconds
  ["restore by disabled", "symlinkat", 1, "ENOSPC"], // what was restored ran on
  ["restore by cgroupfs", "recvmsg", 1, "ENOMEM"], // a broken pipe of CRIU
  ["checkpoint", "readlinkat", 6, "EIO"], // an internal error
  ["create --systemd-cgroup", "sendto", 1, "ENOBUFS"], // did not end within 20 seconds
];

/** So many of the kinds of calls, with one error each, one anywhere among those of its kind. */
const SAMPLE = slowness > 1 ? 2 : 6;

type ErrnosFor = (point: Point) => readonly string[];

function sample(points: readonly Point[], errnosFor: ErrnosFor): { point: Point; errno: string }[] {
  const kinds = new Map<string, Point[]>();
  for (const point of points) {
    const kind = `${point.process} ${point.call}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), point]);
  }
  const any = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T;
  const chosen = [...kinds.values()].map((kind) => ({ kind, at: Math.random() })).sort((a, b) => a.at - b.at);
  return chosen.slice(0, SAMPLE).map(({ kind }) => {
    const point = any(kind);
    return { point, errno: any(errnosFor(point)) };
  });
}

const everything = (points: readonly Point[], errnosFor: ErrnosFor) =>
  points.flatMap((point) => errnosFor(point).map((errno) => ({ point, errno })));

for (const verb of [...VERBS, ...SETTINGS]) {
  test(
    `${verb.name}: whatever call fails, the error is clear, nothing is left, and the ID is free`,
    needs,
    async (t) => {
      if (!isAskedFor(verb)) return t.skip("not asked for");
      const trial = makeTrial(verb);
      await prepare(trial);
      await verb.ready?.(trial);
      const { points, outcome } = await pointsOf(verb.command(trial), trial.directory, verb.env?.(trial));
      // A record that is gone cannot say what there is to delete.
      const errnosFor = (point: Point) =>
        errnosOf(point).filter((errno) => !verb.name.startsWith("delete") || errno !== "ENOENT");
      assert.equal(outcome.code, verb.code ?? 0, outcome.stderr);
      assert.equal(await verb.succeeded?.(trial, outcome), undefined);
      await runtime(["delete", "--force", trial.id], { env: { ...process.env, ...verb.env?.(trial) } });
      const kinds = points.map(({ process, call }) => `${process} ${call}`);
      const busiest = [...new Set(kinds)].filter((kind) => kinds.filter((one) => one === kind).length > 1000);
      if (TORTURE !== undefined) assert.deepEqual(busiest, [], "calls that are made again and again");
      assert.ok(points.length > 15, `${points.length} calls are too few`);
      const found = FOUND.filter(([name]) => name === verb.name).flatMap(([, call, nth, errno]) => {
        const point = points.find((one) => one.process === 0 && one.call === call && one.nth === nth);
        return point === undefined ? [] : [{ point, errno }];
      });
      const more = VERBS.includes(verb) ? sample(points, errnosFor) : [];
      const wanted = TORTURE === undefined ? [...found, ...more] : everything(points, errnosFor);
      const keyed = wanted.map(({ point, errno }) => ({
        point,
        errno,
        key: `${verb.name}: ${point.call} ${point.nth} of process ${point.process} = ${errno}`,
      }));
      const { summary, wrong } = await tryAll(verb, keyed, (one, { point, errno }) => tryFault(one, point, errno));
      t.diagnostic(`${points.length} points, ${summary}`);
      assert.deepEqual(wrong, []);
    },
  );
}
