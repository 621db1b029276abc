/**
 * `docker run --runtime=tupper`, `docker exec`: what the container and the client see, with runc and with tupper.
 *
 * Needs: engine
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dockerd, flagsOf, skip } from "./dockerd.ts";
import { explainedIn, told } from "./explained.ts";
import { eventually } from "./harness.ts";
import { missing } from "./missing.ts";
import { failure, leavesNothing, printed, type Seen, sameAsRunc, seen } from "./same-as-runc.ts";

const { box, words, client, clientWith, run, sees, withContainer, inspect } = dockerd();
const ok = (stdout: string): Seen => ({ stdout, stderr: "", code: 0 });

sameAsRunc(
  "docker run: output, errors, input and exit codes are the command's",
  skip,
  async (runtime) => [
    await run(runtime, [], "echo out; echo err >&2; exit 3"),
    await run(runtime, ["--interactive"], "cat", { input: "in\n" }),
    await run(runtime, ["--env=A=a b", "--workdir=/tmp", "--hostname=here"], 'echo "$A" $PWD $(hostname) $$ $HOME'),
  ],
  [{ stdout: "out\n", stderr: "err\n", code: 3 }, ok("in\n"), ok("a b /tmp here 1 /root\n")],
);

sameAsRunc(
  "docker run: 126 for what cannot be executed, 127 for what is not there, 125 for what cannot be mounted",
  skip,
  async (runtime) => [
    failure(await client("run", ...flagsOf(runtime), "box", "/etc/passwd"), /permission denied/),
    failure(await client("run", ...flagsOf(runtime), "box", "nosuch"), /executable file not found/),
    failure(await client("run", ...flagsOf(runtime), "box", "/bin/nosuch"), /no such file or directory/),
    (await client("run", ...flagsOf(runtime), "--volume=/etc/passwd:/tmp", "box", "true")).code,
  ],
  [
    { code: 126, says: "permission denied" },
    { code: 127, says: "executable file not found" },
    { code: 127, says: "no such file or directory" },
    125,
  ],
);

sameAsRunc(
  "docker run -it, docker exec -it: the command has a terminal of its own, of the client's size",
  skip,
  async (runtime) => {
    const text = 'tty; test -t 1 && echo yes; until [ "$(stty size 2>&1)" = "17 91" ]; do sleep 0.05; done; exit 5';
    const inTerminal = async (...command: string[]) => {
      const line = [...words, ...command, "sh", "-c", text].map((word) => `'${word}'`).join(" ");
      const script = ["script", "--quiet", "--return", "--command", `stty cols 91 rows 17; ${line}`, "/dev/null"];
      const { stdout, code } = await box.run(script);
      return { stdout: stdout.replaceAll("^@", "").replaceAll("\0", ""), code };
    };
    return withContainer(runtime, "tty", ["box", "sleep", "100"], async (name) => [
      await inTerminal("run", ...flagsOf(runtime), "-it", "box"),
      await inTerminal("exec", "-it", name),
    ]);
  },
  [
    { stdout: "/dev/pts/0\r\nyes\r\n", code: 5 },
    { stdout: "/dev/pts/0\r\nyes\r\n", code: 5 },
  ],
);

sameAsRunc(
  "docker run: limits are what the container reads",
  skip,
  (runtime) =>
    sees(
      runtime,
      [
        ...["--memory=64m", "--memory-reservation=32m", "--cpus=0.5", "--cpu-shares=512", "--cpuset-cpus=0"],
        ...["--pids-limit=20", "--ulimit=nofile=100:200", "--shm-size=1m", "--oom-score-adj=500"],
      ],
      `cd /sys/fs/cgroup
      cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares pids/pids.max
      cat cpuset/cpuset.cpus /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n 1 | tr -s ' '`,
    ),
  "67108864\n33554432\n50000\n512\n20\n0\n500\n100\n200\nshm 1024 0 1024 0% /dev/shm",
);

const status = (names: string) => `grep -E '^(${names}):' /proc/self/status | tr -s '\\t ' ' '`;

sameAsRunc(
  "docker run: --user, capabilities, seccomp, no-new-privileges",
  skip,
  async (runtime) => {
    const asAlice = ["--user=alice", "--group-add=staff"];
    const dropped = ["--cap-drop=ALL", "--cap-add=KILL", "--security-opt=no-new-privileges"];
    const unconfined = ["--security-opt=seccomp=unconfined", "--cap-add=SYS_ADMIN"];
    return [
      await sees(runtime, asAlice, `id; ${status("CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp")}`),
      await sees(runtime, dropped, status("CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp")),
      await sees(runtime, unconfined, `${status("CapEff|Seccomp")}; unshare -m echo unshared`),
      await sees(
        runtime,
        [],
        `${status("CapEff")}; unshare -m true; wc -c </proc/keys; echo >/proc/sys/kernel/domainname`,
      ),
    ].map((text) => text.split("\n"));
  },
  [
    [
      "uid=1000(alice) gid=1000(alice) groups=6(disk),50(staff),1000(alice)",
      ...["CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 00000000a80425fb"],
      ...["CapAmb: 0000000000000000", "NoNewPrivs: 0", "Seccomp: 2"],
    ],
    [
      ...["CapPrm: 0000000000000020", "CapEff: 0000000000000020", "CapBnd: 0000000000000020"],
      ...["CapAmb: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2"],
    ],
    ["CapEff: 00000000a82425fb", "Seccomp: 0", "unshared"],
    [
      "CapEff: 00000000a80425fb",
      "unshare: unshare(0x20000): Operation not permitted",
      "0",
      "sh: can't create /proc/sys/kernel/domainname: Read-only file system",
    ],
  ],
);

test("docker run --privileged, exec --privileged: all capabilities that the machine grants", { skip }, async () => {
  // runc fails where root lacks one of them, as here CAP_SYS_RESOURCE.
  const bounding = /CapBnd:\t(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  const KNOWN_TO_DOCKER_20 = 2n ** 38n - 1n;
  const granted = (BigInt(`0x${bounding}`) & KNOWN_TO_DOCKER_20).toString(16).padStart(16, "0");
  const script =
    "grep -E '^(CapEff|Seccomp):' /proc/self/status; test -c /dev/kmsg && mount -t tmpfs t /mnt && echo mounted";
  assert.equal(
    await sees("tupper", ["--privileged", "--tmpfs=/mnt"], script),
    `CapEff:\t${granted}\nSeccomp:\t0\nmounted`,
  );
  await withContainer("tupper", "exec-privileged", ["box", "sleep", "100"], async (name) =>
    assert.equal(
      printed(await client("exec", "--privileged", name, "grep", "CapEff", "/proc/self/status")),
      `CapEff:\t${granted}`,
    ),
  );
});

sameAsRunc(
  "docker run: --read-only, volumes, --tmpfs, --mount, devices",
  skip || missing("file:/dev/fuse"),
  async (runtime) => {
    const source = join(box.directory, `volume-${runtime}`);
    mkdirSync(source);
    writeFileSync(join(source, "file"), "from outside\n");
    const inside = await sees(
      runtime,
      [
        ...["--read-only", `--volume=${source}:/rw`, `--volume=${source}:/ro:ro`, `--volume=named-${runtime}:/named`],
        ...["--tmpfs=/scratch:size=1m,mode=1770,noexec", "--mount=type=tmpfs,destination=/other,tmpfs-size=2m"],
        ...["--device=/dev/null:/dev/nothing", "--device=/dev/fuse:/dev/readable:r", "--volume=/anonymous"],
      ],
      `cat /rw/file; echo written >/rw/new; touch /ro/x /x; touch /named/y /anonymous/z && echo volumes
      df -k /scratch /other | tail -n 2 | tr -s ' '; stat -c %a /scratch; grep -o ' /scratch tmpfs.*noexec' /proc/mounts
      stat -c '%t:%T %a' /dev/nothing; true </dev/readable && echo readable; true >/dev/readable`,
    );
    printed(await client("volume", "rm", `named-${runtime}`));
    return [...inside.split("\n"), readFileSync(join(source, "new"), "utf8")];
  },
  [
    "from outside",
    "touch: /ro/x: Read-only file system",
    "touch: /x: Read-only file system",
    "volumes",
    "tmpfs 1024 0 1024 0% /scratch",
    "tmpfs 2048 0 2048 0% /other",
    "1770",
    " /scratch tmpfs rw,nosuid,nodev,noexec",
    "1:3 666",
    "readable",
    "sh: can't create /dev/readable: Operation not permitted",
    "written\n",
  ],
);

sameAsRunc(
  "docker run: names, kernel parameters and namespaces shared with others",
  skip,
  (runtime) =>
    withContainer(runtime, "first", ["--hostname=first", "--ipc=shareable", "box", "sleep", "100"], async (name) => [
      await sees(
        runtime,
        ["--hostname=h", "--domainname=d.example", "--sysctl=net.ipv4.ip_forward=0", "--sysctl=kernel.msgmax=1234"],
        "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
      ),
      await sees(runtime, [`--pid=container:${name}`, `--ipc=container:${name}`], "ps -o pid,args | sed -n 2p"),
      await sees(runtime, ["--pid=host", "--uts=host", "--ipc=host", "--cgroupns=private"], "cat /proc/1/comm"),
      await inspect(name, "{{.State.Status}}"),
    ]),
  ["h\nd.example\n0\n1234", "    1 sleep 100", "sh", "running"],
);

sameAsRunc(
  "docker exec: output, exit codes, user, directory, environment; 126 and 127",
  skip,
  (runtime) =>
    withContainer(runtime, "exec", ["--env=A=1", "box", "sleep", "100"], async (name) => {
      const own = ["-u", "alice:staff", "-w", "/tmp", "-e", "B=2", name];
      const detached = seen(await client("exec", "--detach", name, "sh", "-c", "echo done >/tmp/detached"));
      const file = async () => (await client("exec", name, "cat", "/tmp/detached")).stdout === "done\n";
      await eventually("the detached command has run", file);
      return [
        detached,
        seen(await client("exec", name, "sh", "-c", "echo out; echo err >&2; exit 3")),
        seen(await clientWith({ input: "in\n" }, "exec", "-i", name, "cat")),
        printed(await client("exec", ...own, "sh", "-c", "id; pwd; echo $A$B $HOME")),
        failure(await client("exec", name, "nosuch"), /executable file not found/),
        failure(await client("exec", name, "/etc/passwd"), /permission denied/),
        failure(await client("exec", "-w", "/nosuch", name, "true"), /no such file or directory/),
      ];
    }),
  [
    ok(""),
    { stdout: "out\n", stderr: "err\n", code: 3 },
    ok("in\n"),
    "uid=1000(alice) gid=50(staff) groups=50(staff)\n/tmp\n12 /home/alice",
    { code: 126, says: "executable file not found" },
    { code: 126, says: "permission denied" },
    { code: 126, says: "no such file or directory" },
  ],
);

sameAsRunc(
  "docker exec: twenty at once",
  skip,
  (runtime) =>
    withContainer(runtime, "execs", ["box", "sleep", "100"], async (name) => {
      const numbers = Array.from({ length: 20 }, (_, i) => i);
      const codes = numbers.map(async (n) => (await client("exec", name, "sh", "-c", `exit ${n}`)).code);
      return Promise.all(codes);
    }),
  Array.from({ length: 20 }, (_, i) => i),
);

sameAsRunc(
  "docker run: networks none, host, bridge, of another container, and a published port",
  skip,
  (runtime) => {
    const server = "mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www";
    const port = runtime === "runc" ? 8001 : 8002;
    const own = ["--network=bridge", `--publish=127.0.0.1:${port}:80`, "box", "sh", "-c", server];
    return withContainer(runtime, "server", own, async (name) => {
      const address = await inspect(name, "{{.NetworkSettings.IPAddress}}");
      const devices = "echo $(ls /sys/class/net)";
      const onBridge = ["run", "--rm", `--runtime=${runtime}`, "box", "sh", "-c"];
      return [
        await sees(runtime, [], devices),
        printed(await client(...onBridge, `${devices}; until wget -q -O - http://${address}; do sleep 0.1; done`)),
        printed(
          await client(
            "run",
            "--rm",
            `--runtime=${runtime}`,
            "--network=host",
            "box",
            "cat",
            "/sys/class/net/docker0/type",
          ),
        ),
        printed(
          await client(
            "run",
            "--rm",
            `--runtime=${runtime}`,
            `--network=container:${name}`,
            "box",
            "wget",
            "-q",
            "-O",
            "-",
            "http://127.0.0.1",
          ),
        ),
        printed(await box.run(["busybox", "wget", "-q", "-O", "-", `http://127.0.0.1:${port}`])),
      ];
    });
  },
  ["lo", "eth0 lo\nserved", "1", "served", "served"],
);

test("explain PID, explain ID: what isolates docker's containers, checked against /proc", { skip }, async () => {
  for (const runtime of ["runc", "tupper"] as const) {
    const flags = ["--memory=64m", "--cap-drop=CHOWN", "--volume=/etc:/host-etc:ro", "box", "sleep", "1000"];
    await withContainer(runtime, "explained", flags, async (name) => {
      const [id = "", pid = ""] = (await client("inspect", "--format={{.Id}} {{.State.Pid}}", name)).stdout
        .trim()
        .split(" ");
      for (const word of [pid, id.slice(0, 12)]) {
        const seen = await explainedIn(box, word, pid);
        const { yes, no } = told(seen);
        assert.equal(seen.maker, `docker (${id.slice(0, 12)})`);
        assert.ok(no.includes("/etc of the host is in sight as /host-etc, read-only"), no.join("\n"));
        assert.ok(yes.includes("memory: at most 64 MiB"), yes.join("\n"));
        assert.ok(
          yes.some((line) => line.startsWith("capabilities: DAC_OVERRIDE, FOWNER")),
          yes.join("\n"),
        );
        assert.ok(
          yes.includes("a network namespace of its own: its own interfaces, routes, ports and abstract sockets"),
        );
        assert.ok(
          yes.some(
            (line) =>
              line.startsWith("its root is an overlay, writable") ||
              line.startsWith("its root is the host's directory"),
          ),
          yes.join("\n"),
        );
        assert.ok(yes.some((line) => line.startsWith("seccomp: a filter")));
      }
    });
  }
});

leavesNothing(skip, box);
