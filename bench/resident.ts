/** Memory that stays while a container is there: of who waits for its end, and of who waits for `start`. */
import { makeBundle, withSeccomp } from "./bundles.ts";
import { output, pause, readIfThere, startInBackground } from "./machine.ts";
import type { Resident } from "./report.ts";
import { commands, type Setting, tupper, tupperRun } from "./scenarios.ts";

/** KiB of one process, from /proc/PID/smaps_rollup: shared pages divided by those who share them, and all. */
function memoryOf(pid: number): Resident["by"][string] | undefined {
  const text = readIfThere(`/proc/${pid}/smaps_rollup`) ?? "";
  const kib = (field: string) => Number(new RegExp(`^${field}: +(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN);
  const [pss, rss] = [kib("Pss"), kib("Rss")];
  return Number.isNaN(pss) ? undefined : { proportionalKiB: pss, residentKiB: rss };
}

const isReady = async (check: () => boolean): Promise<boolean> => {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (check()) return true;
    await pause(50);
  }
  return false;
};

export async function measureResident(setting: Setting): Promise<Resident[]> {
  const { work, rootfs } = setting;
  const bundle = makeBundle(`${work}/bundle-resident`, rootfs, ["sleep", "3600"], withSeccomp);
  const foreground: Resident = { title: "`run` in the foreground: who waits for the container's end", by: {} };
  const created: Resident = { title: "`create`: who waits for `start`", by: {} };
  const id = `bench-resident-${process.pid}`;
  const isRunning = (program: readonly string[]) =>
    /"status": *"running"/.test(output([...program, "state", id]).stdout);
  const remove = (program: readonly string[]) => output([...program, "delete", "--force", id]);
  for (const [name, program] of commands(setting)) {
    const { child, ended } = startInBackground([...program, "run", "--bundle", bundle, id]);
    if (await isReady(() => isRunning(program))) {
      const memory = child.pid === undefined ? undefined : memoryOf(child.pid);
      if (memory !== undefined) foreground.by[name] = memory;
    }
    remove(program);
    await ended;
    await startInBackground([...program, "create", "--bundle", bundle, id]).ended;
    const pid = Number(/"pid": *(\d+)/.exec(output([...program, "state", id]).stdout)?.[1]);
    const waiting = memoryOf(pid);
    if (waiting !== undefined) created.by[name] = waiting;
    remove(program);
  }
  const own: Resident = { title: "`tupper run`: who waits for the container's end", by: {} };
  const { child, ended } = startInBackground(tupperRun(rootfs, "bind", true, ["sleep", "3600"], id));
  await isReady(() => output([tupper, "exec", id, "true"]).code === 0);
  const memory = child.pid === undefined ? undefined : memoryOf(child.pid);
  if (memory !== undefined) own.by.tupper = memory;
  output([tupper, "kill", id]);
  await ended;
  return [foreground, created, own];
}
