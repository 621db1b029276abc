/**
 * Docker's swarm mode, which knows no `--runtime`, and `docker build`: dockerd with tupper as its default runtime.
 *
 * Needs: engine
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Docker, dockerd, skip } from "./dockerd.ts";
import { eventually } from "./harness.ts";
import { printed, seen } from "./same-as-runc.ts";

// A daemon has one default: each runtime has a daemon of its own, and is held to the same.
for (const runtime of ["runc", "tupper"]) {
  const docker = dockerd({ "default-runtime": runtime });

  test(`docker build with ${runtime} as the default runtime: RUN, and what it leaves in the image`, {
    skip,
  }, async () => {
    const { box, client } = docker;
    const context = join(box.directory, "context");
    mkdirSync(context);
    writeFileSync(
      join(context, "Dockerfile"),
      'FROM box\nENV A=1\nRUN echo built as $(id -un) $A >/made\nCMD ["cat", "/made"]\n',
    );
    const built = await client("build", "--quiet", "--tag=made", context);
    assert.equal(built.code, 0, built.stderr);
    assert.deepEqual(seen(await client("run", "--rm", "made")), { stdout: "built as root 1\n", stderr: "", code: 0 });
  });

  test(`docker swarm with ${runtime} as the default runtime: services are reached, scaled, healed, removed`, {
    skip,
  }, async () => {
    const { client } = docker;
    printed(await client("swarm", "init", "--advertise-addr=127.0.0.1"));
    printed(await client("network", "create", "--driver=overlay", "--attachable", "net"));
    const server = "mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www";
    const own = [
      "--name=web",
      "--replicas=2",
      "--network=net",
      "--endpoint-mode=dnsrr",
      "--limit-memory=64m",
      "--stop-signal=KILL",
      "--restart-delay=0s",
    ];
    printed(
      await client("service", "create", "--detach", "--quiet", "--no-resolve-image", ...own, "box", "sh", "-c", server),
    );
    await runningTasks(docker, 2);
    const text = "until wget -q -O - http://web; do sleep 0.1; done";
    assert.equal(printed(await client("run", "--rm", "--network=net", "box", "sh", "-c", text)), "served");
    const [first = ""] = await containers(docker);
    const seenRuntime = await docker.inspect(first, "{{.HostConfig.Runtime}} {{.HostConfig.Memory}}");
    printed(await client("kill", first));
    await eventually(
      "another takes its place",
      async () => {
        const now = await containers(docker);
        return now.length === 2 && !now.includes(first);
      },
      20_000,
    );
    printed(await client("service", "scale", "--detach", "web=4"));
    await runningTasks(docker, 4);
    printed(await client("service", "rm", "web"));
    await eventually("all have ended", async () => (await containers(docker)).length === 0, 20_000);
    printed(await client("swarm", "leave", "--force"));
    assert.equal(seenRuntime, `${runtime} 67108864`);
  });
}

const containers = async ({ client }: Docker) =>
  printed(await client("ps", "--quiet", "--filter=label=com.docker.swarm.service.name=web"))
    .split("\n")
    .filter((id) => id !== "");

const runningTasks = (docker: Docker, count: number) =>
  eventually(`${count} tasks run`, async () => (await containers(docker)).length === count, 30_000);
