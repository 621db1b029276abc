/**
 * The life of a container under Docker with `--runtime=tupper`: signals, limits changed, health, memory, many at once.
 *
 * Needs: engine
 */
import assert from "node:assert/strict";
import { dockerd, skip } from "./dockerd.ts";
import { eventually } from "./harness.ts";
import { leavesNothing, printed, sameAsRunc, seen } from "./same-as-runc.ts";

const { box, client, withContainer, inspect, until, ask } = dockerd();

sameAsRunc(
  "docker stop, kill, restart, wait: signals and exit codes",
  skip,
  async (runtime) => {
    const script = "trap 'echo term; exit 7' TERM; trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done";
    return withContainer(runtime, "signals", ["box", "sh", "-c", script], async (name) => {
      const logs = async () => printed(await client("logs", name)).split("\n");
      const state = () => inspect(name, "{{.State.Status}} {{.State.ExitCode}}");
      await eventually("it is up", async () => (await logs()).includes("up"));
      printed(await client("kill", "--signal=USR1", name));
      await eventually("it got the signal", async () => (await logs()).includes("usr1"));
      printed(await client("restart", "--time=5", name));
      await eventually("it is up again", async () => (await logs()).filter((line) => line === "up").length === 2);
      const restarted = [...(await logs()), await state()];
      printed(await client("stop", "--time=5", name));
      const stopped = await state();
      printed(await client("start", name));
      printed(await client("kill", name));
      return { restarted, stopped, killed: [printed(await client("wait", name)), await state()] };
    });
  },
  { restarted: ["up", "usr1", "term", "up", "running 0"], stopped: "exited 7", killed: ["137", "exited 137"] },
);

sameAsRunc(
  "docker stop: a command that ignores SIGTERM is killed after its time",
  skip,
  (runtime) =>
    withContainer(runtime, "stubborn", ["box", "sleep", "100"], async (name) => {
      printed(await client("stop", "--time=1", name));
      return inspect(name, "{{.State.ExitCode}} {{.State.OOMKilled}}");
    }),
  "137 false",
);

sameAsRunc(
  "docker stop: with the machine's PID namespace all processes of the container end",
  skip,
  (runtime) => {
    const command = ["--pid=host", "box", "sh", "-c", `sleep 54${runtime.length} & exec sleep 54${runtime.length}`];
    return withContainer(runtime, "shared", command, async (name) => {
      const count = async () => (await box.run(["pgrep", "-fc", `^sleep 54${runtime.length}$`])).stdout.trim();
      await eventually("both run", async () => (await count()) === "2");
      printed(await client("stop", "--time=0", name));
      await eventually("both have ended", async () => (await count()) === "0");
      return inspect(name, "{{.State.ExitCode}}");
    });
  },
  "143",
);

sameAsRunc(
  "docker run --init: PID 1 passes signals on",
  skip,
  (runtime) =>
    withContainer(runtime, "init", ["--init", "box", "sleep", "100"], async (name) => {
      const first = printed(await client("exec", name, "cat", "/proc/1/comm"));
      printed(await client("stop", name));
      return [first, await inspect(name, "{{.State.ExitCode}}")];
    }),
  ["docker-init", "143"],
);

sameAsRunc(
  "docker pause, unpause, update, stats, top",
  skip,
  (runtime) =>
    withContainer(runtime, "paused", ["--memory=64m", "box", "sleep", "100"], async (name) => {
      printed(await client("pause", name));
      const paused = [await inspect(name, "{{.State.Status}}"), (await client("exec", name, "true")).code];
      printed(await client("unpause", name));
      const running = await inspect(name, "{{.State.Status}}");
      printed(await client("update", "--memory=128m", "--memory-swap=-1", "--cpus=0.5", "--pids-limit=30", name));
      const files = ["memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us", "pids/pids.max"];
      const updated = printed(await client("exec", name, "cat", ...files.map((file) => `/sys/fs/cgroup/${file}`)));
      const stats = printed(await client("stats", "--no-stream", "--format={{.Name}} {{.MemUsage}} {{.PIDs}}", name));
      const top = printed(await client("top", name, "-eo", "pid,args"));
      return {
        paused,
        running,
        updated,
        stats: stats.replace(/ [\d.]+[KM]iB \//, " N /"),
        top: top.replaceAll(/ +/g, " ").replace(/^\d+ /m, "N "),
      };
    }),
  {
    paused: ["paused", 1],
    running: "running",
    updated: "134217728\n50000\n30",
    stats: "paused N / 128MiB 1",
    top: "PID COMMAND\nN sleep 100",
  },
);

sameAsRunc(
  "docker run: a health check turns healthy, then unhealthy",
  skip,
  (runtime) => {
    const check = ["--health-cmd=test -e /tmp/well", "--health-interval=200ms", "--health-retries=2"];
    const command = ["box", "sh", "-c", "touch /tmp/well; sleep 100"];
    return withContainer(runtime, "health", [...check, ...command], async (name) => {
      await until(name, "{{.State.Health.Status}}", "healthy");
      printed(await client("exec", name, "rm", "/tmp/well"));
      await until(name, "{{.State.Health.Status}}", "unhealthy");
      return inspect(name, "{{range .State.Health.Log}}{{.ExitCode}} {{end}}");
    }).then((codes) => /0 1 1/.test(codes));
  },
  true,
);

sameAsRunc(
  "docker run: what was killed for its memory is reported as such",
  skip,
  (runtime) => {
    // The event must reach dockerd before the end of the container does.
    const script = "tail -c 200000000 /dev/zero; code=$?; sleep 1; exit $code";
    const hog = ["--memory=16m", "--memory-swap=16m", "box", "sh", "-c", script];
    return withContainer(runtime, "oom", hog, async (name) => {
      await until(name, "{{.State.Status}}", "exited");
      return inspect(name, "{{.State.ExitCode}} {{.State.OOMKilled}}");
    });
  },
  "137 true",
);

sameAsRunc(
  "docker run --restart: a failing command is started again; docker logs shows both streams of all",
  skip,
  (runtime) => {
    const command = ["--restart=on-failure:2", "box", "sh", "-c", "echo out; echo err >&2; exit 4"];
    return withContainer(runtime, "again", command, async (name) => {
      await until(name, "{{.RestartCount}} {{.State.Status}}", "2 exited");
      return [seen(await client("logs", name)), await inspect(name, "{{.State.ExitCode}}")];
    });
  },
  [{ stdout: "out\n".repeat(3), stderr: "err\n".repeat(3), code: 0 }, "4"],
);

sameAsRunc(
  "docker run: a hundred containers at once",
  skip,
  async (runtime) => {
    // runc shows with a few what is expected of each of the hundred.
    const count = runtime === "tupper" ? 100 : 5;
    const names = Array.from({ length: count }, (_, i) => `many-${i}-${runtime}`);
    const call = async (method: string, path: string, body?: unknown) => {
      const answer = await ask(method, path, body);
      assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.body}`);
      return answer.body;
    };
    await Promise.all(
      names.map(async (name) => {
        const Cmd = ["sh", "-c", `trap 'exit 9' TERM; echo ${name}; while :; do sleep 0.5; done`];
        const HostConfig = { Runtime: runtime, NetworkMode: "host" }; // a network of its own costs dockerd more than the rest
        await call("POST", `/containers/create?name=${name}`, { Image: "box", Cmd, HostConfig });
        await call("POST", `/containers/${name}/start`);
      }),
    );
    const running = printed(await client("ps", "--quiet", `--filter=name=many-.*-${runtime}$`)).split("\n").length;
    const ends = await Promise.all(
      names.map(async (name) => {
        const isLogged = async () => (await call("GET", `/containers/${name}/logs?stdout=1`)).slice(8) === `${name}\n`;
        await eventually(`${name} is up`, isLogged, 20_000);
        await call("POST", `/containers/${name}/kill?signal=TERM`);
        const end = await call("POST", `/containers/${name}/wait`);
        await call("DELETE", `/containers/${name}?force=1`);
        return end.trim();
      }),
    );
    return { areAllRunning: running === count, ends: [...new Set(ends)] };
  },
  { areAllRunning: true, ends: ['{"Error":null,"StatusCode":9}'] },
);

leavesNothing(skip, box);
