/**
 * dockerd with `--userns-remap`: every container is in a user namespace of its own. With runc and with tupper.
 *
 * Needs: engine
 */
import { chmodSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { dockerd, flagsOf, skip } from "./dockerd.ts";
import { leavesNothing, printed, sameAsRunc, seen } from "./same-as-runc.ts";

const { box, client, sees, withContainer } = dockerd({ "userns-remap": "default" });

sameAsRunc(
  "docker run under --userns-remap: root is another user outside; mounts, devices, sysctls, limits",
  skip,
  async (runtime) => {
    const directory = join(box.directory, `written-${runtime}`);
    mkdirSync(directory);
    chmodSync(directory, 0o777);
    const inside = await sees(
      runtime,
      ["--memory=64m", `--volume=${directory}:/out`, "--tmpfs=/scratch", "--sysctl=kernel.msgmax=1234", "--hostname=h"],
      `id -u; hostname; test $(cut -c 12-22 /proc/self/uid_map) -gt 0 && echo mapped; chmod 777 /out 2>&1; touch /scratch/x
      echo x >/dev/null; test -c /dev/zero && test -d /proc/1 && test -d /sys/class && echo there
      cat /proc/sys/kernel/msgmax /sys/fs/cgroup/memory/memory.limit_in_bytes; touch /y /out/y; stat -c %u /y; mknod /z c 1 3`,
    );
    return { inside: inside.split("\n"), isOwnedByAnother: statSync(join(directory, "y")).uid > 0 };
  },
  {
    inside: [
      ...["0", "h", "mapped", "chmod: /out: Operation not permitted", "there", "1234", "67108864", "0"],
      "mknod: /z: Operation not permitted",
    ],
    isOwnedByAnother: true,
  },
);

sameAsRunc(
  "docker exec, stop under --userns-remap; --userns=host leaves a container out",
  skip,
  (runtime) =>
    withContainer(runtime, "remapped", ["box", "sleep", "100"], async (name) => [
      seen(await client("exec", name, "sh", "-c", "id -u; cat /proc/1/comm; exit 3")),
      seen(await client("run", ...flagsOf(runtime), "--userns=host", "box", "cut", "-c", "1-33", "/proc/self/uid_map")),
      printed(await client("stop", "--time=0", name)),
    ]),
  [
    { stdout: "0\nsleep\n", stderr: "", code: 3 },
    { stdout: "         0          0 4294967295\n", stderr: "", code: 0 },
    "remapped",
  ],
);

leavesNothing(skip, box);
