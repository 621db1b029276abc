/**
 * `podman --runtime tupper-runtime`: Debian's podman and conmon in a box of their own, once with runc and once with tupper.
 *
 * Needs: engine
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { engineBox, type RunOptions } from "./engine-box.ts";
import { explainedIn, told } from "./explained.ts";
import { eventually, isSanitizer, output } from "./harness.ts";
import { missing } from "./missing.ts";
import {
  failure,
  leavesNothing,
  printed,
  type RuntimeName,
  runtimePath,
  type Seen,
  sameAsRunc,
  seen,
} from "./same-as-runc.ts";

const lacks = missing("root", "package:podman", "package:runc", "package:busybox-static", "cgroup1");
const skip = lacks || (isSanitizer && "the engines are tried on the usual build");
const box = engineBox(skip, async () => {
  const archive = join(box.directory, "rootfs.tar");
  output("tar", "--create", "--directory", box.rootfs, "--file", archive, ".");
  printed(await podman("runc", "import", "--quiet", '--change=CMD ["sleep","1000"]', archive, "box"));
});

const words = (runtime: RuntimeName) => [
  ...["podman", `--root=${box.directory}/storage`, "--runroot=/run/storage", "--tmpdir=/run/podman"],
  ...["--cgroup-manager=cgroupfs", "--events-backend=none", `--runtime=${runtimePath(runtime, box.directory)}`],
];
const podman = (runtime: RuntimeName, ...args: string[]) => podmanWith({}, runtime, ...args);
const podmanWith = (options: RunOptions, runtime: RuntimeName, ...args: string[]) =>
  box.run([...words(runtime), ...args], options);
const ok = (stdout: string): Seen => ({ stdout, stderr: "", code: 0 });
const RUN = ["run", "--rm", "--network=none"];

/** What a script prints in a container, its errors too; the container itself must go well. */
async function sees(runtime: RuntimeName, own: readonly string[], text: string): Promise<string> {
  return printed(await podman(runtime, ...RUN, ...own, "box", "sh", "-c", `exec 2>&1; ${text}\nexit 0`));
}

/** Starts a container for what a scenario does with it, and removes it afterwards. */
async function withContainer<T>(
  runtime: RuntimeName,
  name: string,
  args: readonly string[],
  scenario: (name: string) => Promise<T>,
): Promise<T> {
  const full = `${name}-${runtime}`;
  const network = args.some((word) => word.startsWith("--network")) ? [] : ["--network=none"];
  printed(await podman(runtime, "run", "--detach", `--name=${full}`, ...network, ...args));
  try {
    return await scenario(full);
  } finally {
    printed(await podman(runtime, "rm", "--force", "--time=0", full));
  }
}

const inspect = async (runtime: RuntimeName, name: string, format: string) =>
  printed(await podman(runtime, "inspect", "--format", format, name));

sameAsRunc(
  "podman run: output, errors, input, exit codes; 126 and 127",
  skip,
  async (runtime) => [
    seen(await podman(runtime, ...RUN, "box", "sh", "-c", "echo out; echo err >&2; exit 3")),
    seen(
      await podmanWith(
        { input: "in\n" },
        runtime,
        ...RUN,
        "-i",
        "--workdir=/tmp",
        "box",
        "sh",
        "-c",
        "cat; pwd; echo $HOME",
      ),
    ),
    failure(await podman(runtime, ...RUN, "box", "/etc/passwd"), /permission denied/),
    failure(await podman(runtime, ...RUN, "box", "/etc"), /(?<=^error: .*exec.*)permission denied/m),
    failure(await podman(runtime, ...RUN, "box", "nosuch"), /executable file not found|no such file or directory/),
    failure(await podman(runtime, ...RUN, "box", "/bin/nosuch"), /no such file or directory/),
  ],
  [
    { stdout: "out\n", stderr: "err\n", code: 3 },
    ok("in\n/tmp\n/root\n"),
    { code: 126, says: "permission denied" },
    { code: 126, says: "permission denied" },
    { code: 127, says: "executable file not found" },
    { code: 127, says: "no such file or directory" },
  ],
);

sameAsRunc(
  "podman build: RUN with its user, environment, mounts and limits; what it leaves in the image; a RUN that fails",
  skip,
  async (runtime) => {
    const context = join(box.directory, `context-${runtime}`);
    mkdirSync(context);
    const build = async (...lines: string[]) => {
      writeFileSync(join(context, "Containerfile"), ["FROM box", ...lines, ""].join("\n"));
      const flags = ["--pull=never", "--network=none", "--isolation=oci", "--no-cache", "--quiet", "--memory=64m"];
      const { code, stdout, stderr } = await podman(runtime, "build", ...flags, `--tag=made-${runtime}`, context);
      // A runtime's warnings would come with the output of RUN.
      return { code, stderr, hasImage: /^[0-9a-f]{64}\n$/.test(stdout) };
    };
    const made = await build(
      "ENV A=1",
      "RUN echo built as $(id -un) $A >/made; sed -n 's/^CapAmb:.//p' /proc/self/status >>/made",
      "RUN --mount=type=tmpfs,target=/mnt grep -c ' /mnt tmpfs ' /proc/mounts >>/made",
      "RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes >>/made",
      "USER alice",
      "RUN id -un >/tmp/who; (sleep 0.1; echo later >>/tmp/who) & wait",
      'CMD ["cat", "/made", "/tmp/who"]',
    );
    const inside = printed(await podman(runtime, ...RUN, `made-${runtime}`));
    const failed = await build("RUN echo err >&2; exit 7");
    printed(await podman(runtime, "rmi", "--force", `made-${runtime}`));
    return [made, inside, failed.code, /^err\n.* while running runtime: exit status 7$/m.test(failed.stderr)];
  },
  [{ code: 0, stderr: "", hasImage: true }, "built as root 1\n0000000000000000\n1\n67108864\nalice\nlater", 7, true],
);

sameAsRunc(
  "podman run -it, podman exec -it: the command has a terminal of its own",
  skip,
  async (runtime) => {
    const text = 'tty; test -t 1 && echo yes; until [ "$(stty size 2>&1)" = "17 91" ]; do sleep 0.05; done; exit 5';
    const inTerminal = async (...command: string[]) => {
      const line = [...words(runtime), ...command, "sh", "-c", text].map((word) => `'${word}'`).join(" ");
      const script = ["script", "--quiet", "--return", "--command", `stty cols 91 rows 17; ${line}`, "/dev/null"];
      const { stdout, code } = await box.run(script);
      return { stdout: stdout.replaceAll("^@", "").replaceAll("\0", ""), code };
    };
    return withContainer(runtime, "tty", ["box"], async (name) => [
      await inTerminal(...RUN, "-it", "box"),
      await inTerminal("exec", "-it", name),
    ]);
  },
  [
    { stdout: "/dev/pts/0\r\nyes\r\n", code: 5 },
    { stdout: "/dev/pts/0\r\nyes\r\n", code: 5 },
  ],
);

sameAsRunc(
  "podman run: limits, user, capabilities, seccomp, mounts, names",
  skip,
  async (runtime) => [
    await sees(
      runtime,
      [
        "--memory=64m",
        "--cpus=0.5",
        "--pids-limit=20",
        "--cpuset-cpus=0",
        "--ulimit=nofile=100:200",
        "--ulimit=nproc=1000:1000",
        "--shm-size=1m",
      ],
      `cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max cpuset/cpuset.cpus
      ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n 1 | tr -s ' '`,
    ),
    await sees(
      runtime,
      ["--user=alice", "--cap-add=NET_BIND_SERVICE", "--security-opt=no-new-privileges", "--hostname=h"],
      "id; hostname; grep -E '^(CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status",
    ),
    await sees(
      runtime,
      [
        "--read-only",
        "--tmpfs=/scratch:size=1m",
        `--volume=${box.rootfs}/etc:/outside:ro`,
        "--sysctl=kernel.msgmax=1234",
      ],
      "touch /x /outside/x; df -k /scratch | tail -n 1 | tr -s ' '; ls /outside; cat /proc/sys/kernel/msgmax",
    ),
    await sees(runtime, [`--volume=${box.rootfs}/etc:/copy:O`], "rm /copy/group; ls /copy"),
    await sees(
      runtime,
      ["--uidmap=0:100000:1000", "--gidmap=0:100000:1000"],
      "id -u; tr -s ' ' </proc/self/uid_map; echo x >/x; stat -c %u /x",
    ),
  ],
  [
    "67108864\n50000\n20\n0\n100\n200\nshm 1024 0 1024 0% /dev/shm",
    "uid=1000(alice) gid=1000(alice) groups=6(disk),50(staff),1000(alice)\nh\nCapEff:\t0000000000000400\nCapBnd:\t00000000800405fb\nCapAmb:\t0000000000000400\nNoNewPrivs:\t1\nSeccomp:\t2",
    "touch: /x: Read-only file system\ntouch: /outside/x: Read-only file system\ntmpfs 1024 0 1024 0% /scratch\ngroup\npasswd\n1234",
    "passwd",
    "0\n 0 100000 1000\n0",
  ],
);

sameAsRunc(
  "podman exec: output, errors, exit codes, user, directory, environment",
  skip,
  (runtime) =>
    withContainer(runtime, "exec", ["box"], async (name) => [
      seen(await podman(runtime, "exec", name, "sh", "-c", "echo out; echo err >&2; exit 3")),
      seen(
        await podmanWith(
          { input: "in\n" },
          runtime,
          "exec",
          "-i",
          "-e",
          "A=1",
          "-w",
          "/tmp",
          "-u",
          "alice",
          name,
          "sh",
          "-c",
          "cat; echo $A; pwd; id",
        ),
      ),
      failure(await podman(runtime, "exec", name, "nosuch"), /executable file not found/),
      failure(await podman(runtime, "exec", name, "/etc/passwd"), /permission denied/),
    ]),
  [
    { stdout: "out\n", stderr: "err\n", code: 3 },
    ok("in\n1\n/tmp\nuid=1000(alice) gid=1000(alice) groups=6(disk),50(staff)\n"),
    { code: 127, says: "executable file not found" },
    { code: 126, says: "permission denied" },
  ],
);

sameAsRunc(
  "podman stop, kill, restart, pause, unpause, top, stats, logs",
  skip,
  async (runtime) => {
    const script =
      "trap 'echo term; exit 7' TERM; trap 'echo usr1' USR1; echo up; echo err >&2; while :; do sleep 0.05; done";
    return withContainer(runtime, "life", ["--memory=64m", "box", "sh", "-c", script], async (name) => {
      const logs = async () => printed(await podman(runtime, "logs", name)).split("\n");
      const state = () => inspect(runtime, name, "{{.State.Status}} {{.State.ExitCode}}");
      await eventually("it is up", async () => (await logs()).includes("up"));
      printed(await podman(runtime, "pause", name));
      const paused = await state();
      printed(await podman(runtime, "unpause", name));
      printed(await podman(runtime, "kill", "--signal=USR1", name));
      await eventually("it got the signal", async () => (await logs()).includes("usr1"));
      const stats = printed(await podman(runtime, "stats", "--no-stream", "--format={{.Name}} {{.MemUsage}}", name));
      const top = printed(await podman(runtime, "top", name, "pid", "args")).split("\n")[1];
      printed(await podman(runtime, "stop", "--time=5", name));
      const stopped = await state();
      printed(await podman(runtime, "start", name));
      await eventually("it is up again", async () => (await logs()).filter((line) => line === "up").length === 2);
      printed(await podman(runtime, "kill", name));
      const killed = [printed(await podman(runtime, "wait", name)), await state()];
      const said = seen(await podman(runtime, "logs", name));
      return {
        paused,
        stats: stats.replace(/ [\d.]+[kM]B \//, " N /"),
        top: top?.split(" ")[0],
        stopped,
        killed,
        said,
      };
    });
  },
  {
    paused: "paused 0",
    stats: "life N / 67.11MB",
    top: "1",
    stopped: "exited 7",
    killed: ["137", "exited 137"],
    said: { stdout: "up\nusr1\nterm\nup\n", stderr: "err\nerr\n", code: 0 },
  },
);

sameAsRunc(
  "podman run: what was killed for its memory ends with 137",
  skip,
  (runtime) => {
    const hog = ["--memory=16m", "--memory-swap=16m", "box", "tail", "-c", "200000000", "/dev/zero"];
    return withContainer(runtime, "oom", hog, async (name) => {
      printed(await podman(runtime, "wait", name));
      return inspect(runtime, name, "{{.State.ExitCode}}");
    });
  },
  "137",
);

sameAsRunc(
  "podman healthcheck run: healthy, then unhealthy",
  skip,
  (runtime) => {
    const check = ["--health-cmd=test -e /tmp/well", "--health-interval=disable", "--health-retries=1"];
    return withContainer(
      runtime,
      "health",
      [...check, "box", "sh", "-c", "touch /tmp/well; sleep 1000"],
      async (name) => {
        await eventually("healthy", async () => (await podman(runtime, "healthcheck", "run", name)).code === 0);
        printed(await podman(runtime, "exec", name, "rm", "/tmp/well"));
        return [
          (await podman(runtime, "healthcheck", "run", name)).code,
          await inspect(runtime, name, "{{.State.Healthcheck.Status}}"),
        ];
      },
    );
  },
  [1, "unhealthy"],
);

sameAsRunc(
  "podman pod: containers share the namespaces of the pod",
  skip,
  async (runtime) => {
    const pod = `pod-${runtime}`;
    printed(
      await podman(
        runtime,
        "pod",
        "create",
        `--name=${pod}`,
        "--infra-image=box",
        "--network=none",
        "--hostname=in-pod",
        "--share=ipc,net,uts",
      ),
    );
    const script = "hostname; for ns in net ipc uts; do readlink /proc/self/ns/$ns; done";
    const run = async () => printed(await podman(runtime, "run", "--rm", `--pod=${pod}`, "box", "sh", "-c", script));
    const [first, second] = [await run(), await run()];
    const stopped = (await podman(runtime, "pod", "stop", "--time=0", pod)).code;
    printed(await podman(runtime, "pod", "rm", "--force", pod));
    return { areShared: first === second, hostname: first.split("\n")[0], stopped };
  },
  { areShared: true, hostname: "in-pod", stopped: 0 },
);

sameAsRunc(
  "podman run: networks bridge, host, and of another container",
  skip,
  (runtime) => {
    const server = "mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www";
    return withContainer(runtime, "server", ["--network=podman", "box", "sh", "-c", server], async (name) => {
      const address = await inspect(runtime, name, "{{.NetworkSettings.IPAddress}}");
      const ask = (from: string, where: string) =>
        podman(
          runtime,
          "run",
          "--rm",
          `--network=${from}`,
          "box",
          "sh",
          "-c",
          `until wget -q -O - http://${where}; do sleep 0.1; done`,
        );
      return [
        seen(await ask("podman", address)),
        seen(await ask(`container:${name}`, "127.0.0.1")),
        seen(await ask("host", address)),
      ];
    });
  },
  [ok("served\n"), ok("served\n"), ok("served\n")],
);

sameAsRunc(
  "podman run: many containers at once",
  skip,
  async (runtime) => {
    // runc shows with a few what is expected of each.
    const names = Array.from({ length: runtime === "tupper" ? 20 : 3 }, (_, i) => `many-${i}-${runtime}`);
    const own = ["run", "--detach", "--network=none"];
    await Promise.all(
      names.map(async (name) =>
        printed(await podman(runtime, ...own, `--name=${name}`, "box", "sh", "-c", `echo ${name}; sleep 100`)),
      ),
    );
    const running = printed(
      await podman(runtime, "ps", "--quiet", "--filter=status=running", `--filter=name=many-.*-${runtime}`),
    ).split("\n").length;
    for (const name of names) assert.equal((await podman(runtime, "logs", name)).stdout, `${name}\n`);
    printed(await podman(runtime, "rm", "--force", "--time=0", ...names));
    return running === names.length;
  },
  true,
);

sameAsRunc(
  "podman as an ordinary user: run, exec, stop",
  skip || missing("package:uidmap"),
  async (runtime) => {
    const home = join(box.directory, `home-${runtime}`);
    const user = `pod-${runtime}`;
    // In the box's own /etc.
    printed(await box.run(["useradd", "--create-home", "--home-dir", home, user]));
    printed(await box.run(["install", "-d", "-o", user, `/run/user/${user}`]));
    const as = [
      "setpriv",
      `--reuid=${user}`,
      `--regid=${user}`,
      "--init-groups",
      "env",
      "-C",
      home,
      `HOME=${home}`,
      `TMPDIR=${home}`,
    ];
    const own = [`--root=${home}/storage`, `--runroot=/run/user/${user}/storage`, "--cgroup-manager=cgroupfs"];
    const rootless = async (...args: string[]) => {
      const command = ["podman", ...own, "--events-backend=none", `--runtime=${runtimePath(runtime, box.directory)}`];
      const ended = await box.run([...as, `XDG_RUNTIME_DIR=/run/user/${user}`, `USER=${user}`, ...command, ...args]);
      return { ...ended, stderr: ended.stderr.replace(/^time=.* is not a shared mount.*\n/, "") };
    };
    printed(await rootless("import", "--quiet", join(box.directory, "rootfs.tar"), "box"));
    const shown = [
      seen(await rootless(...RUN, "box", "sh", "-c", "id -u; echo err >&2; exit 3")),
      seen(
        await rootless("run", "--rm", "--network=host", "--userns=keep-id", "box", "sh", "-c", "test $(id -u) -gt 0"),
      ),
    ];
    printed(await rootless("run", "--detach", "--network=none", "--name=back", "box", "sleep", "1000"));
    shown.push(seen(await rootless("exec", "back", "cat", "/proc/1/comm")));
    printed(await rootless("stop", "--time=0", "back"));
    const end = printed(await rootless("inspect", "--format={{.State.Status}} {{.State.ExitCode}}", "back"));
    // Files of subordinate users go only in the user namespace that maps them.
    printed(await rootless("unshare", "rm", "-rf", `${home}/storage`));
    return [shown, end];
  },
  [[{ stdout: "0\n", stderr: "err\n", code: 3 }, ok(""), ok("sleep\n")], "exited 137"],
);

test("explain PID: what isolates podman's containers, checked against /proc", { skip }, async () => {
  for (const runtime of ["runc", "tupper"] as const)
    await withContainer(runtime, "explained", ["--read-only", "--pids-limit=99", "box"], async (name) => {
      const [id = "", pid = ""] = (await podman(runtime, "inspect", "--format={{.Id}} {{.State.Pid}}", name)).stdout
        .trim()
        .split(" ");
      for (const word of [pid, id]) {
        const seen = await explainedIn(box, word, pid);
        const { yes, no } = told(seen);
        assert.equal(seen.maker, `podman (${id.slice(0, 12)})`);
        assert.ok(yes.includes("processes and threads: at most 99"), yes.join("\n"));
        assert.ok(
          yes.some((line) => /^its root is .*, read-only/.test(line)),
          yes.join("\n"),
        );
        assert.ok(no.includes("users: its root is the host's root"));
      }
    });
});

leavesNothing(skip, box);
