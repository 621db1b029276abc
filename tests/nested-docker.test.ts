/**
 * tupper inside `docker run --privileged`, with runc and with tupper itself as Docker's runtime.
 *
 * Needs: engine
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dockerd, skip } from "./dockerd.ts";
import { binary } from "./harness.ts";
import { missing } from "./missing.ts";

const { sees } = dockerd();

/** runc refuses `--privileged` where root itself lacks a capability, as it does on some virtual machines. */
const RUNTIMES = [
  { runtime: "runc", lacks: missing("cap:SYS_RESOURCE") },
  { runtime: "tupper", lacks: false },
] as const;

for (const { runtime, lacks } of RUNTIMES)
  for (const cgroups of ["private", "host"]) {
    const where = `inside docker run --privileged --runtime=${runtime} --cgroupns=${cgroups}`;
    const flags = ["--privileged", `--cgroupns=${cgroups}`, `--volume=${binary}:/usr/bin/tupper:ro`];
    const inside = (script: string) => sees(runtime, flags, script);
    const needs = skip || lacks;

    test(`run host: hostname, PID 1, user, ${where}`, { skip: needs }, async () => {
      assert.equal(await inside("tupper run host sh -c 'hostname; echo $$; id -u'"), "tupperware\n1\n0");
    });

    test(`run: limits are what the container reads, ${where}`, {
      skip: needs || missing("cgroup:memory", "cgroup:pids"),
    }, async () => {
      const read = "cat memory/memory.limit_in_bytes pids/pids.max 2>/dev/null || cat memory.max pids.max";
      const script = `tupper run --memory 32m --pids-limit 20 host sh -c 'cd /sys/fs/cgroup; ${read}'`;
      assert.equal(await inside(script), "33554432\n20");
    });

    test(`run, exec, ps, kill: ${where}, and nothing is left`, { skip: needs }, async () => {
      const script = `tupper run --name inner host sh -c 'trap "exit 7" TERM; sleep 100 & wait' & pid=$!
        until tupper exec inner echo from exec 2>/dev/null; do sleep 0.05; done
        tupper ps -q; tupper kill -s TERM inner; wait $pid; echo code $?
        find /sys/fs/cgroup -name 'tupper*'; ls /run/tupper`;
      assert.equal(await inside(script), "from exec\ninner\ninner\ncode 7");
    });
  }
