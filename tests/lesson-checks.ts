/** What there is to be seen in each lesson of `tupper lesson`, whole and without each step that can be left out: as the machine says it. */
import assert from "node:assert/strict";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

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

export interface Taught {
  lesson: string;
  without: string | null;
  omitted: Step[];
  steps: Step[];
  inside: Look[];
  afterwards: Look[];
  counted: { command: string; calls: Record<string, number> } | null;
  error: { code: string; message: string } | null;
}

/** The answers to looks at a step, in order, as `container: …`. */
export const at = ({ steps }: Taught, op: string): string[] =>
  steps.flatMap((step) => (step.op === op ? step.looks.map(({ where, output: said }) => `${where}: ${said}`) : []));
export const inside = ({ inside: looks }: Taught): string[] => looks.map(({ output: said }) => said);
const afterwards = ({ afterwards: looks }: Taught): string[] => looks.map(({ output: said }) => said);
const ops = ({ steps }: Taught): string[] => steps.map(({ op }) => op);
const callsOf = ({ steps }: Taught, op: string): string[] =>
  steps.flatMap((step) => (step.op === op ? step.calls : []));

export const NAME = hostname();
export const uts = readlinkSync("/proc/self/ns/uts");
const queues = String(readFileSync("/proc/sysvipc/msg", "utf8").trim().split("\n").length - 1);
const uptime = () => Math.floor(Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]));
const TEN_DAYS = 864_000;
export const MARKER = "CONTAINER_ROOT_DIR";
const noFile = (path: string) => `ls: cannot access '${path}': No such file or directory`;
const TMPFS = /^tmpfs \/mnt tmpfs /;
const NOTHING = "nothing is mounted on /mnt";
const unreachable = /Network is unreachable/;
const refused = /Connection refused/;
export const processes = (ps: string | undefined): string[] =>
  (ps ?? "")
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/ +/).at(-1) ?? "");

/** What is to be seen: of the whole lesson under `""`, and without each step. */
type Checks = Record<string, (seen: Taught) => void>;

export const LESSONS: Record<string, { needs: string[]; checks: Checks }> = {
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
