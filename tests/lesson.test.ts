/**
 * `tupper lesson`: each lesson, whole and without each step that can be left out; what the reader sees is what the machine says.
 * Afterwards the machine is as it was, also when the reader has had enough in the middle.
 */
import assert from "node:assert/strict";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { test } from "node:test";
import { binary, fails, type Options, prints, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { openTerminal } from "./terminal.ts";
import { withTestUsers } from "./users.ts";

const users = withTestUsers();
watchForLeftovers(() => [users.user, users.bare]);

interface Look {
  when?: "before" | "after";
  where: "machine" | "container";
  command: string;
  output: string;
}

interface Step {
  op: string;
  effect: string;
  because: string;
  without: string;
  man: string[];
  calls: string[];
  looks: Look[];
}

interface Taught {
  lesson: string;
  without: string | null;
  omitted: Step[];
  steps: Step[];
  inside: Look[];
  afterwards: Look[];
  counted: { command: string; calls: Record<string, number> } | null;
  error: { code: string; message: string } | null;
}

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

/** The answers to looks at a step, in order, as `container: …`. */
const at = ({ steps }: Taught, op: string): string[] =>
  steps.flatMap((step) => (step.op === op ? step.looks.map(({ where, output: said }) => `${where}: ${said}`) : []));
const inside = ({ inside: looks }: Taught): string[] => looks.map(({ output: said }) => said);
const afterwards = ({ afterwards: looks }: Taught): string[] => looks.map(({ output: said }) => said);
const ops = ({ steps }: Taught): string[] => steps.map(({ op }) => op);
const callsOf = ({ steps }: Taught, op: string): string[] =>
  steps.flatMap((step) => (step.op === op ? step.calls : []));

const NAME = hostname();
const uts = readlinkSync("/proc/self/ns/uts");
const queues = String(readFileSync("/proc/sysvipc/msg", "utf8").trim().split("\n").length - 1);
const uptime = () => Math.floor(Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]));
const TEN_DAYS = 864_000;
const MARKER = "CONTAINER_ROOT_DIR";
const noFile = (path: string) => `ls: cannot access '${path}': No such file or directory`;
const TMPFS = /^tmpfs \/mnt tmpfs /;
const NOTHING = "nothing is mounted on /mnt";
const unreachable = /Network is unreachable/;
const refused = /Connection refused/;
const processes = (ps: string | undefined): string[] =>
  (ps ?? "")
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/ +/).at(-1) ?? "");

/** What is to be seen: of the whole lesson under `""`, and without each step. */
type Checks = Record<string, (seen: Taught) => void>;

const LESSONS: Record<string, { needs: string[]; checks: Checks }> = {
  syscalls: {
    needs: [],
    checks: {
      "": (seen) => {
        assert.deepEqual(ops(seen), ["clone", "setHostname", "exec"]);
        assert.deepEqual(callsOf(seen, "setHostname"), ['sethostname("tupperware") = 0']);
        assert.deepEqual(inside(seen), ["tupperware"]);
        assert.equal(seen.counted?.calls.uname, 1);
        assert.ok((seen.counted?.calls.write ?? 0) >= 1);
      },
      uname: (seen) => {
        assert.deepEqual(inside(seen), ["hostname: Operation not permitted"]);
        assert.deepEqual(ops(seen), ["clone", "setHostname", "seccomp", "exec"]);
      },
      sethostname: (seen) => {
        assert.deepEqual(inside(seen), [NAME]);
        assert.deepEqual(ops(seen), ["clone", "exec"]);
      },
    },
  },
  uts: {
    needs: [],
    checks: {
      "": (seen) => {
        const [before, own, inner, still] = at(seen, "clone");
        assert.deepEqual([before, own, still], [`machine: ${NAME}`, `machine: ${uts}`, `container: ${NAME}`]);
        assert.match(inner ?? "", /^container: uts:\[\d+\]$/);
        assert.notEqual(inner, `container: ${uts}`);
        assert.deepEqual(at(seen, "setHostname"), ["container: tupperware", `machine: ${NAME}`]);
        assert.deepEqual(inside(seen), ["tupperware", inner?.replace("container: ", "")]);
        assert.deepEqual(afterwards(seen), [NAME]);
      },
      namespace: (seen) => {
        const [, own, inner] = at(seen, "clone");
        assert.equal(inner?.replace("container", "machine"), own);
        assert.notEqual(own, `machine: ${uts}`, "a stand-in is renamed, and not this machine");
        assert.deepEqual(at(seen, "setHostname"), ["container: tupperware", "machine: tupperware"]);
        assert.deepEqual(afterwards(seen), ["tupperware"]);
      },
      hostname: (seen) => {
        assert.deepEqual(
          seen.omitted.map(({ op }) => op),
          ["setHostname"],
        );
        assert.equal(inside(seen)[0], NAME);
        assert.notEqual(inside(seen)[1], uts);
      },
    },
  },
  pid: {
    needs: [],
    checks: {
      "": (seen) => {
        assert.match(at(seen, "clone")[0] ?? "", /^machine: NSpid:(\t\d+)+\t1$/);
        assert.equal(inside(seen)[0], "1 0");
        assert.ok(Number(inside(seen)[1]) > 1);
      },
      namespace: (seen) => {
        const [own = 0, parent = 0] = (inside(seen)[0] ?? "").split(" ").map(Number);
        assert.ok(own > 1 && parent > 0);
        assert.match(at(seen, "clone")[0] ?? "", new RegExp(`^machine: NSpid:(\\t\\d+)*\\t${own}$`));
      },
    },
  },
  mount: {
    needs: [],
    checks: {
      "": (seen) => {
        const [before, after, machine] = at(seen, "mount");
        assert.deepEqual([before, machine], [`container: ${NOTHING}`, `machine: ${NOTHING}`]);
        assert.match(after ?? "", /^container: tmpfs \/mnt tmpfs /);
        assert.match(inside(seen)[0] ?? "", TMPFS);
        assert.deepEqual(afterwards(seen), [NOTHING]);
      },
      namespace: (seen) => {
        assert.match(at(seen, "mount")[2] ?? "", /^machine: tmpfs \/mnt tmpfs /);
        assert.match(afterwards(seen)[0] ?? "", TMPFS);
      },
      propagation: (seen) => {
        assert.deepEqual(
          seen.omitted.map(({ op }) => op),
          ["propagation"],
        );
        assert.match(at(seen, "mount")[2] ?? "", /^machine: tmpfs \/mnt tmpfs /);
        assert.match(afterwards(seen)[0] ?? "", TMPFS);
      },
    },
  },
  network: {
    needs: [],
    checks: {
      "": (seen) => {
        const [, devices, routes] = at(seen, "clone");
        assert.match(devices ?? "", /^container: +lo/);
        assert.equal(routes, "container: 0");
        const [before, after] = at(seen, "linkUp");
        assert.match(before ?? "", unreachable);
        assert.match(after ?? "", refused);
        assert.match(inside(seen)[0] ?? "", refused);
      },
      namespace: (seen) => {
        const [machine, container] = at(seen, "clone");
        assert.equal(container?.replace("container", "machine"), machine);
      },
      lo: (seen) => {
        assert.match(inside(seen)[0] ?? "", unreachable);
      },
    },
  },
  ipc: {
    needs: [],
    checks: {
      "": (seen) => {
        assert.deepEqual(at(seen, "clone"), [`machine: ${queues}`]);
        assert.deepEqual(inside(seen), ["Message queue id: 0", "1"]);
        assert.deepEqual(afterwards(seen), [queues]);
      },
      namespace: (seen) => {
        assert.deepEqual(at(seen, "clone"), ["machine: 0"]);
        assert.deepEqual(inside(seen), ["Message queue id: 0", "1"]);
        assert.deepEqual(afterwards(seen), ["1"]);
      },
    },
  },
  user: {
    needs: [],
    checks: {
      "": (seen) => {
        assert.deepEqual(ops(seen), ["clone", "mapIds", "becomeMappedRoot", "exec"]);
        assert.match(at(seen, "mapIds")[0] ?? "", /^machine: +0 +100000 +65536$/);
        assert.deepEqual(at(seen, "becomeMappedRoot"), ["container: 0"]);
        assert.deepEqual(at(seen, "exec"), ["machine: Uid:\t100000\t100000\t100000\t100000"]);
        assert.deepEqual(inside(seen), ["0", "head: cannot open '/etc/shadow' for reading: Permission denied"]);
      },
      namespace: (seen) => {
        assert.deepEqual(at(seen, "exec"), ["machine: Uid:\t0\t0\t0\t0"]);
        assert.deepEqual(inside(seen), ["0", readFileSync("/etc/shadow", "utf8").slice(0, 5)]);
      },
      map: (seen) => {
        assert.deepEqual(ops(seen), ["clone", "exec"]);
        assert.equal(inside(seen)[0], "65534");
      },
    },
  },
  cgroup: {
    needs: [],
    checks: {
      "": (seen) => {
        assert.match(at(seen, "exec")[0] ?? "", /^machine: \d+:(pids)?:.*\/tupper-[0-9a-f]{12}$/);
        assert.match(inside(seen)[0] ?? "", /^\d+:(pids)?:\/$/);
      },
      namespace: (seen) => {
        assert.equal(`machine: ${inside(seen)[0]}`, at(seen, "exec")[0]);
        assert.match(inside(seen)[0] ?? "", /tupper-/);
      },
    },
  },
  time: {
    needs: ["kernel:5.6"],
    checks: {
      "": (seen) => {
        assert.ok(Math.abs(Number(inside(seen)[0]) - TEN_DAYS - uptime()) < 60);
        assert.ok(Math.abs(Number(at(seen, "exec")[0]?.replace("machine: ", "")) - uptime()) < 60);
        assert.deepEqual(callsOf(seen, "timeOffset").slice(-1), ['write(3, "boottime 864000 0") = 17']);
      },
      namespace: (seen) => {
        assert.ok(Math.abs(Number(inside(seen)[0]) - uptime()) < 60);
        assert.deepEqual(ops(seen), ["clone", "exec"]);
      },
      offset: (seen) => {
        assert.ok(Math.abs(Number(inside(seen)[0]) - uptime()) < 60);
        assert.deepEqual(ops(seen), ["clone", "unshare", "exec"]);
      },
    },
  },
  join: {
    needs: [],
    checks: {
      "": (seen) => {
        const [neighbours, before, name, after, joined] = at(seen, "joinNamespace");
        assert.deepEqual([before, name], [`container: ${uts}`, `container: ${NAME}`]);
        assert.equal(after, neighbours?.replace("machine", "container"));
        assert.notEqual(after, before);
        assert.equal(joined, "container: neighbour");
        assert.deepEqual(inside(seen), ["neighbour", "moved", "neighbour"]);
      },
      setns: (seen) => {
        assert.deepEqual(inside(seen), [NAME, "moved", NAME]);
      },
    },
  },
  root: {
    needs: [],
    checks: {
      "": (seen) => {
        assert.deepEqual(at(seen, "mount"), ["container: written"]);
        assert.deepEqual(at(seen, "changeDirectory"), [
          "container: 1K-blocks Type\n   512000 tmpfs",
          `container: ${MARKER}`,
          `machine: ${noFile(`/${MARKER}`)}`,
        ]);
        assert.deepEqual(inside(seen), [`/${MARKER}\n/bin/sh`]);
        assert.deepEqual(afterwards(seen), [noFile(`/${MARKER}`)]);
      },
      overlay: (seen) => {
        assert.equal(seen.error?.code, "PIVOT_ROOT_FAILED");
        assert.deepEqual(callsOf(seen, "pivotRoot"), ['pivot_root(".", ".") = EINVAL']);
        assert.deepEqual(inside(seen), []);
      },
    },
  },
  pivot_root: {
    needs: [],
    checks: {
      "": (seen) => {
        assert.deepEqual(ops(seen), ["clone", "changeDirectory", "pivotRoot", "detach", "exec"]);
        assert.deepEqual(at(seen, "changeDirectory"), [`container: ${noFile(`/${MARKER}`)}\n${MARKER}`]);
        assert.deepEqual(at(seen, "pivotRoot"), [`container: ${noFile(`/../${MARKER}`)}\n/${MARKER}`]);
        assert.deepEqual(at(seen, "detach"), [`container: /../${MARKER}\n/${MARKER}`]);
        assert.equal(inside(seen)[0], `/../${MARKER}\n/${MARKER}`);
        assert.ok(Number(inside(seen)[1]) <= 6);
        assert.equal(inside(seen)[2], "still inside");
        assert.deepEqual(afterwards(seen), [noFile(`/${MARKER}`)]);
      },
      pivot_root: (seen) => {
        assert.equal(inside(seen)[0], `${noFile(`/${MARKER}`)}\n${noFile(`/../${MARKER}`)}`);
        assert.ok(Number(inside(seen)[1]) > readFileSync("/proc/self/mounts", "utf8").trim().split("\n").length);
        assert.equal(inside(seen)[2], "outside");
      },
      detach: (seen) => {
        assert.equal(inside(seen)[0], `${noFile(`/../${MARKER}`)}\n/${MARKER}`);
        assert.ok(Number(inside(seen)[1]) > readFileSync("/proc/self/mounts", "utf8").trim().split("\n").length);
        assert.equal(inside(seen)[2], "outside");
      },
    },
  },
  proc: {
    needs: ["package:procps"],
    checks: {
      "": (seen) => {
        const [count, before, after] = at(seen, "mount");
        assert.equal(count, "container: 0");
        assert.match(before ?? "", /mount -t proc proc \/proc/);
        assert.equal(processes(after)[0], "tupper");
        assert.deepEqual(processes(inside(seen)[0]), ["sh", "ps"]);
      },
      proc: (seen) => {
        assert.match(inside(seen)[0] ?? "", /mount -t proc proc \/proc/);
      },
      pid: (seen) => {
        assert.ok(processes(inside(seen)[0]).length > 3, "the test, tupper, sh and ps");
        assert.ok(processes(inside(seen)[0]).includes("tupper"));
      },
    },
  },
  cgroups: {
    needs: ["cgroup:pids"],
    checks: {
      "": (seen) => {
        assert.deepEqual(at(seen, "write").at(-1), "machine: 20");
        const [members, current] = at(seen, "exec");
        assert.match(members ?? "", /^machine: (\d+)\n\1$/);
        assert.equal(current, "machine: 1");
        assert.match(inside(seen)[0] ?? "", /^sh: \d+: Cannot fork$/);
        assert.match(afterwards(seen)[0] ?? "", /No such file or directory$/);
      },
      limit: (seen) => {
        assert.deepEqual(inside(seen), ["all 30 were started"]);
      },
      join: (seen) => {
        assert.match(at(seen, "exec")[0] ?? "", /^machine: \d+$/);
        assert.equal(at(seen, "exec")[1], "machine: 0");
        assert.deepEqual(inside(seen), ["all 30 were started"]);
      },
    },
  },
  capabilities: {
    needs: ["cap:SYS_ADMIN"],
    checks: {
      "": (seen) => {
        const all = /^CapEff:\t([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
        assert.deepEqual(at(seen, "limitBoundingSet"), [`container: CapEff:\t${all}`, "container: mounted"]);
        const [set, mount] = at(seen, "setCapabilities");
        assert.equal(set, "container: CapEff:\t00000000a80425fb");
        assert.match(mount ?? "", /permission denied/);
        assert.equal(inside(seen)[0], "0");
        assert.match(inside(seen)[1] ?? "", /permission denied/);
        assert.equal(inside(seen)[2], `hostname: you must be root to change the host name\n${NAME}`);
      },
      capabilities: (seen) => {
        assert.deepEqual(inside(seen), ["0", "mounted", "other"]);
      },
    },
  },
  seccomp: {
    needs: [],
    checks: {
      "": (seen) => {
        assert.deepEqual(at(seen, "seccomp"), [
          "container: Seccomp:\t0",
          "container: in a new namespace",
          "container: Seccomp:\t2",
          "container: unshare: unshare failed: Operation not permitted",
        ]);
        assert.deepEqual(inside(seen), ["unshare: unshare failed: Operation not permitted"]);
      },
      seccomp: (seen) => {
        assert.deepEqual(inside(seen), ["in a new namespace"]);
      },
    },
  },
  shell: {
    needs: ["package:procps"],
    checks: {
      "": (seen) => {
        const [name, ps, uid, root, written] = inside(seen);
        assert.deepEqual([name, uid, written], ["tupperware", "0", "/test"]);
        assert.deepEqual(processes(ps), ["sh", "ps"]);
        assert.match(root ?? "", /^overlay on \/ type overlay /);
        assert.deepEqual(afterwards(seen), [NAME, noFile("/test")]);
      },
    },
  },
};

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
