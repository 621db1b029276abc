/**
 * `ctr run --runc-binary tupper-runtime`: containerd of Debian with its runc shim, once with runc and once with tupper.
 *
 * Needs: engine
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineBox, type RunOptions } from "./engine-box.ts";
import { eventually, isSanitizer } from "./harness.ts";
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

const lacks = missing("root", "package:containerd", "package:runc", "package:busybox-static", "cgroup1");
const skip = lacks || (isSanitizer && "the engines are tried on the usual build");
const words = ["ctr", "--address", "/run/containerd.sock"];
const box = engineBox(skip, async () => {
  const configFile = join(box.directory, "containerd.toml");
  const text = `version = 2\nroot = "${box.directory}/containerd"\nstate = "/run/containerd"\n[grpc]\naddress = "/run/containerd.sock"\n`;
  writeFileSync(configFile, text);
  await box.daemon(["containerd", "--config", configFile], async () => (await ctr("version")).code === 0);
});
const ctr = (...args: string[]) => ctrWith({}, ...args);
const ctrWith = (options: RunOptions, ...args: string[]) => box.run([...words, ...args], options);
const ok = (stdout: string): Seen => ({ stdout, stderr: "", code: 0 });

/** The words of `ctr run` up to the command; the root filesystem is a directory of this machine, shared and read-only. */
const flagsOf = (runtime: RuntimeName, id: string, ...own: string[]) => [
  ...[
    "run",
    "--rootfs",
    "--read-only",
    `--runc-binary=${runtimePath(runtime, box.directory)}`,
    "--env=PATH=/bin",
    ...own,
  ],
  ...[box.rootfs, `${id}-${runtime}`],
];

const CGROUP = "--mount=type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro";

/** Starts a task for what a scenario does with it, and removes it afterwards. */
async function withTask<T>(
  runtime: RuntimeName,
  name: string,
  command: readonly string[],
  scenario: (id: string, pid: string) => Promise<T>,
  own: readonly string[] = [],
): Promise<T> {
  const id = `${name}-${runtime}`;
  printed(await ctr(...flagsOf(runtime, name, "--detach", ...own), ...command));
  try {
    return await scenario(id, (await row(id))[1] ?? "");
  } finally {
    await remove(id);
  }
}

async function remove(id: string): Promise<void> {
  if ((await row(id)).length > 0) printed(await ctr("task", "delete", "--force", id));
  printed(await ctr("container", "delete", id));
}

/** Of `ctr task list`: id, pid, status. */
async function row(id: string): Promise<string[]> {
  const lines = (await ctr("task", "list")).stdout.split("\n").map((line) => line.split(/\s+/));
  return lines.find(([first]) => first === id) ?? [];
}

const statusOf = async (id: string) => (await row(id))[2];

sameAsRunc(
  "ctr run: output, errors, input, exit codes, limits",
  skip,
  async (runtime) => [
    seen(await ctr(...flagsOf(runtime, "out", "--rm"), "sh", "-c", "echo out; echo err >&2; exit 3")),
    seen(
      await ctrWith(
        { input: "in\n" },
        ...flagsOf(runtime, "in", "--rm", "--cwd=/tmp"),
        "sh",
        "-c",
        "read line; echo $line; pwd",
      ),
    ),
    failure(await ctr(...flagsOf(runtime, "absent", "--rm"), "nosuch"), /executable file not found/),
    seen(
      await ctr(
        ...flagsOf(
          runtime,
          "limits",
          "--rm",
          "--memory-limit=67108864",
          "--cpu-quota=50000",
          "--cpu-period=100000",
          CGROUP,
        ),
        ...["sh", "-c", "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us"],
      ),
    ),
  ],
  [
    { stdout: "out\n", stderr: "err\n", code: 3 },
    ok("in\n/tmp\n"),
    { code: 1, says: "executable file not found" },
    ok("67108864\n50000\n"),
  ],
);

sameAsRunc(
  "ctr run --tty, ctr task exec --tty: the command has a terminal of its own",
  skip,
  async (runtime) => {
    const inTerminal = async (...command: string[]) => {
      const line = [...words, ...command].map((word) => `'${word}'`).join(" ");
      const script = ["script", "--quiet", "--return", "--command", `stty cols 91 rows 17; ${line}`, "/dev/null"];
      const { stdout, code } = await box.run(script);
      return { stdout: stdout.replaceAll("^@", "").replaceAll("\0", ""), code };
    };
    const text = ["sh", "-c", 'tty; until [ "$(stty size 2>&1)" = "17 91" ]; do sleep 0.05; done; exit 5'];
    return withTask(runtime, "tty", ["sleep", "100"], async (id) => [
      await inTerminal(...flagsOf(runtime, "run-tty", "--rm", "--tty"), ...text),
      await inTerminal("task", "exec", "--tty", "--exec-id=tty", id, ...text),
    ]);
  },
  [
    { stdout: "/dev/pts/0\r\r\n", code: 5 },
    { stdout: "/dev/pts/0\r\r\n", code: 5 },
  ],
);

sameAsRunc(
  "ctr task exec: output, errors, exit codes, user and directory",
  skip,
  (runtime) =>
    withTask(runtime, "exec", ["sleep", "100"], async (id) => [
      seen(await ctr("task", "exec", "--exec-id=1", id, "sh", "-c", "echo out; echo err >&2; exit 3")),
      seen(
        await ctr("task", "exec", "--exec-id=2", "--user=1000:50", "--cwd=/tmp", id, "sh", "-c", "id -u; id -g; pwd"),
      ),
      failure(await ctr("task", "exec", "--exec-id=3", id, "nosuch"), /executable file not found/),
    ]),
  [
    { stdout: "out\n", stderr: "err\n", code: 3 },
    ok("1000\n50\n/tmp\n"),
    { code: 1, says: "executable file not found" },
  ],
);

sameAsRunc(
  "ctr task: kill, pause, resume, ps, metrics, start again; the log is a file",
  skip,
  async (runtime) => {
    const log = join(box.directory, `log-${runtime}`);
    const script = "trap 'echo term; exit 7' TERM; echo up; while :; do sleep 0.05; done";
    const own = [`--log-uri=file://${log}`, "--memory-limit=67108864"];
    return withTask(
      runtime,
      "life",
      ["sh", "-c", script],
      async (id) => {
        const isUp = (times: number) => readFileSync(log, "utf8").match(/^up$/gm)?.length === times;
        await eventually("it is up", () => existsSync(log) && isUp(1));
        printed(await ctr("task", "pause", id));
        const paused = await statusOf(id);
        printed(await ctr("task", "resume", id));
        const metrics = async () => (await ctr("task", "metrics", "--format=json", id)).stdout;
        await eventually("the limit is reported", async () => (await metrics()).includes('"limit": 67108864'));
        const processes = printed(await ctr("task", "ps", id)).split("\n").length > 1;
        printed(await ctr("task", "kill", "--signal=SIGTERM", id));
        await eventually("it has stopped", async () => (await statusOf(id)) === "STOPPED");
        printed(await ctr("task", "delete", id));
        printed(await ctr("task", "start", "--detach", `--log-uri=file://${log}`, id));
        await eventually("it is up again", () => isUp(2));
        return { paused, processes, log: readFileSync(log, "utf8") };
      },
      own,
    );
  },
  { paused: "PAUSED", processes: true, log: "up\nterm\nup\n" },
);

sameAsRunc(
  "ctr run: user, capabilities, seccomp, mounts, devices, namespaces of other containers",
  skip,
  (runtime) =>
    withTask(runtime, "other", ["sleep", "100"], async (_id, pid) => {
      const status = "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status";
      const mount = `--mount=type=bind,src=${box.rootfs}/etc,dst=/mnt,options=rbind:ro`;
      const joined = [`--with-ns=pid:/proc/${pid}/ns/pid`, `--with-ns=network:/proc/${pid}/ns/net`];
      return [
        seen(
          await ctr(...flagsOf(runtime, "seccomp", "--rm", "--seccomp", "--cap-drop=CAP_CHOWN"), "sh", "-c", status),
        ),
        seen(
          await ctr(
            ...flagsOf(runtime, "mount", "--rm", mount, "--device=/dev/net/tun"),
            "ls",
            "/mnt/group",
            "/dev/net",
          ),
        ),
        seen(await ctr(...flagsOf(runtime, "joined", "--rm", ...joined), "sh", "-c", "cat /proc/1/comm")),
        seen(await ctr(...flagsOf(runtime, "host", "--rm", "--net-host"), "ls", "/sys/class/net")),
      ];
    }),
  [
    ok("CapEff:\t00000000a80425fa\nNoNewPrivs:\t1\nSeccomp:\t2\n"),
    ok("/mnt/group\n\n/dev/net:\ntun\n"),
    ok("sleep\n"),
    ok("lo\n"),
  ],
);

sameAsRunc(
  "ctr run: a hundred containers at once",
  skip,
  async (runtime) => {
    // runc shows with a few what is expected of each of the hundred.
    const count = runtime === "tupper" ? 100 : 5;
    const names = Array.from({ length: count }, (_, i) => `many-${i}`);
    const ids = names.map((name) => `${name}-${runtime}`);
    await Promise.all(
      names.map(async (name) => printed(await ctr(...flagsOf(runtime, name, "--detach"), "sleep", "100"))),
    );
    const rows = (await ctr("task", "list")).stdout.split("\n").map((line) => line.split(/\s+/));
    const running = rows.filter(([id = "", , status]) => ids.includes(id) && status === "RUNNING").length;
    printed(await ctr("task", "delete", "--force", ...ids));
    printed(await ctr("container", "delete", ...ids));
    return running === count;
  },
  true,
);

leavesNothing(skip, box);
