/**
 * `tupper lesson`: each lesson, whole and without each step that can be left out; what the reader sees is what the machine says.
 * Afterwards the machine is as it was, also when the reader has had enough in the middle.
 */
import assert from "node:assert/strict";
import { hostname } from "node:os";
import { test } from "node:test";
import { binary, fails, type Options, prints, watchForLeftovers } from "./harness.ts";
import { at, inside, LESSONS, MARKER, NAME, processes, type Taught } from "./lesson-checks.ts";
import { missing } from "./missing.ts";
import { openTerminal } from "./terminal.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);

interface Listed {
  number: number;
  name: string;
  title: string;
  without: string[];
  root: boolean;
}

const SLOW = { timeoutMs: 60_000 };
const taught = async (lesson: string, without?: string, options: Options = {}): Promise<Taught> =>
  JSON.parse(
    await prints(["lesson", lesson, "--format", "json", ...(without === undefined ? [] : ["--without", without])], {
      ...SLOW,
      ...options,
    }),
  ) as Taught;

for (const [lesson, { needs, checks }] of Object.entries(LESSONS))
  for (const [step, check] of Object.entries(checks))
    test(`lesson ${lesson}${step === "" ? "" : ` --without ${step}`}: what the reader sees is what the machine says`, {
      skip: missing("root", ...needs),
    }, async () => {
      const seen = await taught(lesson, step === "" ? undefined : step);
      assert.deepEqual([seen.lesson, seen.without], [lesson, step === "" ? null : step]);
      if (lesson !== "root" || step !== "overlay") assert.equal(seen.error, null);
      for (const { effect, because, man } of seen.steps) {
        assert.ok(effect !== "" && because !== "");
        assert.ok(man.length > 0);
      }
      check(seen);
    });

test("lesson: lists the lessons in order, and each of them and all that can be left out is tested here", async () => {
  const listed = JSON.parse(await prints(["lesson", "--format", "json"])) as Listed[];
  assert.deepEqual(
    listed.map(({ number, name, without }) => [number, name, without]),
    Object.entries(LESSONS).map(([name, { checks }], i) => [
      i + 1,
      name,
      Object.keys(checks).filter((step) => step !== ""),
    ]),
  );
  const lines = (await prints(["lesson"])).split("\n");
  for (const { number, name, title, without } of listed)
    assert.ok(
      lines.some(
        (line) =>
          line.includes(name) &&
          line.includes(title) &&
          line.trim().startsWith(`${number} `) &&
          line.replaceAll("*", "").endsWith(without.join(" ")),
      ),
    );
});

test("lesson: by number and by name; the text has each step with its reason, its system call and what is seen", {
  skip: missing("root"),
}, async () => {
  const [byName, byNumber] = [await prints(["lesson", "uts"], SLOW), await prints(["lesson", "2"], SLOW)];
  const plain = (text: string) => text.replace(/uts:\[\d+\]/g, "uts:[…]");
  assert.equal(plain(byName), plain(byNumber));
  assert.match(byName, /^2\. UTS namespace: a host name of its own$/m);
  assert.match(byName, /^2\. {6}Set the host name to tupperware$/m);
  assert.match(byName, /^ {8}kernel {3}sethostname\("tupperware"\) = 0$/m);
  assert.match(byName, /^ {8}container \$ hostname\n {20}tupperware$/m);
  assert.match(byName, /^try {7}tupper lesson uts --without namespace$/m);
  assert.doesNotMatch(byName, /Enter/);
});

test("lesson --without: says what was left out and what is seen instead", { skip: missing("root") }, async () => {
  const text = await prints(["lesson", "uts", "--without", "namespace"], SLOW);
  assert.match(text, /^Without namespace\n/m);
  assert.match(text, /stand-in/);
  assert.equal(hostname(), NAME);
  const error = await prints(["lesson", "root", "--without", "overlay"], SLOW);
  assert.match(error, /^error: cannot change the root with pivot_root: .+ \(PIVOT_ROOT_FAILED\)$/m);
});

test("lesson all: one after the other", {
  skip: missing("root", "package:procps", "cgroup:pids", "kernel:5.6"),
}, async () => {
  const text = await prints(["lesson", "all"], { timeoutMs: 120_000 });
  const listed = JSON.parse(await prints(["lesson", "--format", "json"])) as Listed[];
  assert.deepEqual(
    [...text.matchAll(/^\d+\. (.+)\n─+$/gm)].map(([, title]) => title),
    listed.map(({ title }) => title),
  );
});

test("lesson: an unknown lesson, step or pair of words is one sentence with the nearest right one", async () => {
  const unknown = await fails(["lesson", "pivot"]);
  assert.deepEqual([unknown.code, unknown.exitCode], ["LESSON_UNKNOWN", 1]);
  assert.equal((await fails(["lesson", "piovt_root"])).details.hint, "did you mean pivot_root?");
  const step = await fails(["lesson", "uts", "--without", "hostnmae"]);
  assert.deepEqual([step.code, step.details.hint], ["LESSON_WITHOUT", "did you mean hostname?"]);
  assert.equal((await fails(["lesson", "uts", "--without", "constructor"])).code, "LESSON_WITHOUT");
  assert.equal((await fails(["lesson", "99"])).code, "LESSON_UNKNOWN");
  assert.equal((await fails(["lesson", "all", "--without", "hostname"])).code, "LESSON_WITHOUT");
});

/** Root's: what an ordinary user cannot be shown is said in one sentence. */
test("lesson, as an ordinary user: root inside, oneself outside", {
  skip: missing("root", "package:uidmap", "package:passwd"),
}, async () => {
  const { user } = users;
  const seen = await taught("user", undefined, { user });
  assert.match(at(seen, "exec")[0] ?? "", new RegExp(`^machine: Uid:\\t${user.uid}\\t`));
  assert.equal(inside(seen)[0], "0");
  for (const lesson of [
    "syscalls",
    "uts",
    "pid",
    "mount",
    "network",
    "ipc",
    "pivot_root",
    "proc",
    "capabilities",
    "seccomp",
  ]) {
    const { steps, error } = await taught(lesson, undefined, { user });
    assert.equal(error, null, lesson);
    assert.equal(steps[0]?.effect.includes("CLONE_NEWUSER"), true, lesson);
  }
  const insideOf = async (lesson: string) => inside(await taught(lesson, undefined, { user }));
  assert.equal((await insideOf("uts"))[0], "tupperware");
  assert.deepEqual(await insideOf("root"), [`/${MARKER}\n/bin/sh`]);
  const [marker, mounts] = await insideOf("pivot_root");
  assert.equal(marker, `/../${MARKER}\n/${MARKER}`);
  assert.ok(Number(mounts) > 0);
  assert.deepEqual(processes((await insideOf("proc"))[0]), ["sh", "ps"]);
  assert.match((await insideOf("capabilities"))[1] ?? "", /permission denied/);
  assert.deepEqual(await insideOf("seccomp"), ["unshare: unshare failed: Operation not permitted"]);
  assert.equal((await fails(["lesson", "join"], { user })).code, "LESSON_NEEDS");
  assert.equal((await fails(["lesson", "uts", "--without", "namespace"], { user })).code, "LESSON_NEEDS");
});

const terminalNeeds = { skip: missing("root", "package:tmux") };

test(
  "lesson: on a terminal each step waits for Enter; q ends the lesson, and nothing is left",
  terminalNeeds,
  async () => {
    const terminal = await openTerminal(100, 60);
    terminal.line(`${binary} lesson uts; echo "code $?"`);
    await terminal.until(/^1\. +Start a child process[\s\S]*Enter goes on, q ends:$/m);
    assert.doesNotMatch(terminal.screen(), /Set the host name/);
    terminal.press("Enter");
    await terminal.until(/^2\. +Set the host name to tupperware[\s\S]*Enter goes on, q ends:$/m);
    assert.doesNotMatch(terminal.screen(), /It has ended/);
    terminal.line("q");
    await terminal.until(/^code 0$/m);
    assert.doesNotMatch(terminal.screen(), /It has ended/);
  },
);

for (const without of ["", " --without namespace"])
  test(
    `lesson uts${without}: Ctrl-C and SIGTERM end it between two steps, and nothing is left`,
    terminalNeeds,
    async () => {
      const terminal = await openTerminal(100, 70);
      terminal.line(`${binary} lesson uts${without}; echo "code $?"`);
      await terminal.until(/Enter goes on, q ends:$/m);
      terminal.press("C-c");
      await terminal.until(/^code 130$/m);
      // In a shell of its own, which says the number that tupper will have.
      terminal.line(`clear; sh -c 'echo "number $$"; exec ${binary} lesson uts${without}'; echo "code $?"`);
      const [, pid] = await terminal.until(/^number (\d+)$[\s\S]*Enter goes on, q ends:$/m);
      process.kill(Number(pid), "SIGTERM");
      await terminal.until(/^code 143$/m);
      assert.equal(hostname(), NAME);
    },
  );

test("lesson shell: on a terminal the shell at the end is the reader's", terminalNeeds, async () => {
  const terminal = await openTerminal(100, 60);
  terminal.line(`${binary} lesson shell; echo "code $?"`);
  for (let step = 1; step <= 7; step++) {
    await terminal.until(new RegExp(`^${step}\\. [\\s\\S]*Enter goes on, q ends:$`, "m"));
    terminal.press("Enter");
  }
  await terminal.until(/^# ?$/m);
  terminal.line("clear; echo $$ $(hostname)");
  await terminal.until(/^1 tupperware$/m);
  terminal.line("exit");
  await terminal.until(/^code 0$/m);
});
