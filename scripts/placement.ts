/**
 * Where in the binary each block of the heap lies.
 *
 * The kernel maps 16 pages around each page of a file that is touched: a heap in which what `run` needs is scattered
 * costs the memory of all of it. So the build first makes the heap in a training build of the host (host/training.h),
 * lets that run commands on a make-believe machine (training/world.ts), and sees which blocks they touch. Blocks go by their
 * number: the heap is made the same way each time, so the n-th block of the real build is the n-th of this one.
 */
import { spawnSync } from "node:child_process";
import { appendFileSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { build as esbuild } from "esbuild";
import { writeNoBlocks } from "./cold.ts";
import { freezeHeap, linkHost, makeHeap, root, run } from "./link-host.ts";
import { target } from "./target.ts";

/** As in host/pool.h. */
const [AREAS, DROPPED, COLD] = [40, 0, 39];
const [HEADER, GRAIN, PAGE] = [8, 8, 4096];
const WRITTEN = 2;

export interface Placement {
  /** A file for `host --snapshot`. */
  placement: string;
  hotBytes: number;
  coldBytes: number;
}

/**
 * The commands that shall need little memory, and the group of each: what one group needs lies together. `before`: what
 * another command has done on the machine. `first`: up to where the runtime executes itself once more.
 */
const GROUPS = ["run", "launch", "verbs", "exec"] as const;
const COMMANDS: readonly { group: (typeof GROUPS)[number]; words: string; before?: string; first?: boolean }[] = [
  { group: "run", words: "tupper run --root-kind bind /rootfs true" },
  {
    group: "run",
    words: "tupper run --no-tty --security-opt seccomp=unconfined --root-kind overlay host sh -c true",
  },
  {
    group: "run",
    words:
      "tupper run --name box --memory 64m --cpus 1 --pids-limit 10 -e A=b -w /root -u root -v /srv:/srv:ro --hostname x --security-opt no-new-privileges --ulimit nofile=1024:1024 --cap-drop ALL --tmpfs /tmp --read-only /rootfs true",
  },
  { group: "launch", words: "tupper-runtime run --bundle /bundle box" },
  { group: "launch", words: "tupper-runtime run --bundle /bundle box", first: true },
  { group: "launch", words: "tupper-runtime run --bundle bundle box" },
  { group: "launch", words: "tupper-runtime run --bundle /bundle-mounts box" },
  { group: "launch", words: "tupper-runtime run --bundle /bundle-user box" },
  {
    group: "launch",
    words: "tupper-runtime --log /log --log-format json create --bundle /bundle --pid-file /pid box",
  },
  ...[
    "--version",
    "state box",
    "start box",
    "kill box KILL",
    "delete --force box",
    "exec box true",
    "list",
    "pause box",
    "events --stats box",
    "update --pids-limit 100 box",
    "ps box",
    "ps --format json box",
  ].map((words) => ({
    group: "verbs" as const,
    words: `tupper-runtime ${words}`,
    before: "tupper-runtime create --bundle /bundle box",
  })),
  { group: "exec", words: "tupper --version" },
  {
    group: "exec",
    words: "tupper exec --no-tty box true",
    before: "tupper run --name box --root-kind bind /rootfs true",
  },
];

const directory = `${root}/build/training`;

export async function placeBlocks({ objects, init }: { objects: readonly string[]; init: string }): Promise<Placement> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  const cold = `${directory}/no-blocks`;
  writeNoBlocks(cold);
  linkHost({ objects, init, output: `${directory}/host`, cold, training: true });
  const [compiler = "", ...rest] = [...target.runner, `${directory}/host`];
  run(compiler, ...rest, "--compile", "build/bundle.js", "build/bundle.bytecode");
  const { hot } = makeHeap(`${directory}/host`, `${directory}/numbers`);
  freezeHeap(`${directory}/host`, hot, `${directory}/tupper`);
  linkSync(`${directory}/tupper`, `${directory}/tupper-runtime`);
  await esbuild({
    entryPoints: ["world", "names"].map((name) => `${root}/scripts/training/${name}.ts`),
    outdir: directory,
    bundle: true,
    format: "iife",
    target: "es2023",
    logLevel: "warning",
  });
  for (const cgroups of ["hybrid", "v2"])
    for (const { group, words, before, first } of COMMANDS)
      observe(group, "world.js", words, { cgroups, before, first });
  observe("chains", "names.js", "tupper-runtime --version");
  const { bytes, sizes } = describe(readFileSync(hot));
  const placement = `${directory}/placement`;
  writeFileSync(placement, bytes);
  const hotBytes = sizes.slice(DROPPED + 1, COLD).reduce((sum, size) => sum + size, 0);
  // The areas begin below the head of .snap, and one of them on a page of its own.
  return { placement, hotBytes: hotBytes + 2 * PAGE, coldBytes: sizes[COLD] ?? 0 };
}

/**
 * Runs a command and adds what it touches to a file of marks. No path of this machine is in it: the addresses of new
 * blocks follow from the length of texts, and what is looked up from the addresses.
 */
function observe(
  marks: string,
  script: string,
  words: string,
  {
    cgroups = "v2",
    before = "",
    first = false,
  }: { cgroups?: string; before?: string | undefined; first?: boolean | undefined } = {},
): void {
  const { status, stderr } = spawnSync("setarch", ["-R", ...target.runner, ...`./${words}`.split(" ")], {
    cwd: directory,
    env: {
      TUPPER_MARKS: marks,
      TUPPER_TRAINING: script,
      TRAINING_CGROUPS: cgroups,
      TRAINING_BEFORE: before,
      TRAINING_FIRST: first ? "yes" : "",
      TRAINING_WORDS: words,
    },
  });
  if (status === 0) return;
  // No reason to have no binary; tests/memory.test.ts fails for it.
  const failure = `training: ${words} (${cgroups}) failed where nothing should fail: see scripts/training/world.ts\n${stderr}`;
  console.error(failure);
  appendFileSync(`${directory}/failures`, failure);
}

/** The file for the host, as host/pool.h describes it, and the bytes of each area. */
function describe(snapshot: Buffer): { bytes: Buffer; sizes: number[] } {
  const read = (name: string) => readFileSync(`${directory}/${name}`);
  const numbers = read("numbers");
  const [chains, ...groups] = ["chains", ...GROUPS].map(read);
  const poolOffset = snapshot.length - numbers.length * (GRAIN / 4);
  const sizes = new Array<number>(AREAS).fill(0);
  const areas: number[] = [];
  for (let i = 0; i < numbers.length / 4; i++) {
    const number = numbers.readUInt32LE(i * 4);
    if (number === 0) continue;
    const bytes = Number(snapshot.readBigUInt64LE(poolOffset + i * GRAIN - HEADER));
    const units = Math.max(1, bytes / GRAIN);
    const area = areaFor(
      groups.map((marks) => touched(marks, i, units)),
      touched(chains, i, units) !== 0,
    );
    sizes[area] = (sizes[area] ?? 0) + bytes + HEADER;
    areas[number - 1] = area;
  }
  const head = [areas.length, ...sizes, ...sizes.map((_, area) => (area === FIRST_READ ? PAGE : GRAIN))];
  const words = Buffer.from(new BigUint64Array(head.map(BigInt)).buffer);
  return { bytes: Buffer.concat([words, Buffer.from(Array.from(areas, (area) => area ?? DROPPED))]), sizes };
}

/** Sets of groups, so ordered that each differs from the one before in one group: a reflected binary code. */
const SETS = 2 ** GROUPS.length;
const ORDER = Array.from({ length: SETS }, (_, i) => i ^ (i >> 1));
/** A page that is copied, because something in it is written, holds nothing that is only read: here begins a page. */
const FIRST_READ = SETS;
const CHAINS = 2 * SETS;

/** Written areas, one for each set of groups, then those only read, then what only looking up names reads. */
function areaFor(byGroup: readonly number[], byChains: boolean): number {
  const set = byGroup.reduce((sum, marks, i) => sum | (marks === 0 ? 0 : 1 << i), 0);
  if (set === 0) return byChains ? CHAINS : COLD;
  const isWritten = byGroup.some((marks) => (marks & WRITTEN) !== 0);
  return ORDER.indexOf(set) + (isWritten ? 0 : SETS);
}

function touched(marks: Buffer | undefined, from: number, units: number): number {
  let all = 0;
  for (let i = from; i < from + units; i++) all |= marks?.[i] ?? 0;
  return all;
}
