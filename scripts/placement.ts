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
import { freezeHeap, linkHost, root } from "./link-host.ts";

/** As in host/pool.h. */
const AREAS = ["dropped", "written", "read", "chains", "cold"] as const;
type Area = (typeof AREAS)[number];
const HEADER = 8;
const GRAIN = 8;
const WRITTEN = 2;

export interface Placement {
  /** A file for `host --snapshot`. */
  placement: string;
  hotBytes: number;
  coldBytes: number;
}

/** What the commands are that shall need little memory. `running`: in a world where container `box` runs. */
const COMMANDS: readonly { words: string; running?: boolean }[] = [
  { words: "tupper run --root-kind bind /rootfs true" },
  { words: "tupper run --no-tty --security-opt seccomp=unconfined --root-kind overlay host sh -c true" },
  {
    words:
      "tupper run --name box --memory 64m --cpus 1 --pids-limit 10 -e A=b -w /root -u root -v /srv:/srv:ro --hostname x --security-opt no-new-privileges --ulimit nofile=1024:1024 --cap-drop ALL --tmpfs /tmp --read-only /rootfs true",
  },
  { words: "tupper exec --no-tty box true", running: true },
  { words: "tupper-runtime --version" },
];

const directory = `${root}/build/training`;

export async function placeBlocks({ objects, init }: { objects: readonly string[]; init: string }): Promise<Placement> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  linkHost({ objects, init, output: `${directory}/host`, training: true });
  const { hot } = freezeHeap(`${directory}/host`, `${directory}/tupper`, `${directory}/numbers`);
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
    for (const { words, running } of COMMANDS) observe("commands", "world.js", words, { cgroups, running });
  observe("chains", "names.js", "tupper-runtime --version");
  const { bytes, size } = describe(readFileSync(hot));
  const placement = `${directory}/placement`;
  writeFileSync(placement, bytes);
  // The areas begin below the head of .snap, and one of them on a page of its own.
  return { placement, hotBytes: size.written + size.read + size.chains + 2 * 4096, coldBytes: size.cold };
}

/**
 * Runs a command and adds what it touches to a file of marks. No path of this machine is in it: the addresses of new
 * blocks follow from the length of texts, and what is looked up from the addresses.
 */
function observe(
  marks: string,
  script: string,
  words: string,
  { cgroups = "v2", running = false }: { cgroups?: string; running?: boolean | undefined } = {},
): void {
  const { status, stderr } = spawnSync("setarch", ["-R", ...`./${words}`.split(" ")], {
    cwd: directory,
    env: {
      TUPPER_MARKS: marks,
      TUPPER_TRAINING: script,
      TRAINING_CGROUPS: cgroups,
      TRAINING_RUNNING: running ? "yes" : "",
    },
  });
  if (status === 0) return;
  // No reason to have no binary; tests/memory.test.ts fails for it.
  const failure = `training: ${words} (${cgroups}) failed where nothing should fail: see scripts/training/world.ts\n${stderr}`;
  console.error(failure);
  appendFileSync(`${directory}/failures`, failure);
}

/** The file for the host, as host/pool.h describes it, and the bytes of each area. */
function describe(snapshot: Buffer): { bytes: Buffer; size: Record<Area, number> } {
  const [numbers, commands, chains] = (["numbers", "commands", "chains"] as const).map((name) =>
    readFileSync(`${directory}/${name}`),
  ) as [Buffer, Buffer, Buffer];
  const poolOffset = snapshot.length - numbers.length * (GRAIN / 4);
  const size: Record<Area, number> = { dropped: 0, written: 0, read: 0, chains: 0, cold: 0 };
  const areaOf: number[] = [];
  for (let i = 0; i < numbers.length / 4; i++) {
    const number = numbers.readUInt32LE(i * 4);
    if (number === 0) continue;
    const bytes = Number(snapshot.readBigUInt64LE(poolOffset + i * GRAIN - HEADER));
    const units = Math.max(1, bytes / GRAIN);
    const area = areaFor(touched(commands, i, units), touched(chains, i, units));
    size[area] += bytes + HEADER;
    areaOf[number - 1] = AREAS.indexOf(area);
  }
  const head = Buffer.alloc(8 * (1 + AREAS.length));
  head.writeBigUInt64LE(BigInt(areaOf.length));
  for (const [i, area] of AREAS.entries()) head.writeBigUInt64LE(BigInt(size[area]), 8 * (i + 1));
  return { bytes: Buffer.concat([head, Buffer.from(Array.from(areaOf, (area) => area ?? 0))]), size };
}

function areaFor(byCommands: number, byChains: number): Area {
  if ((byCommands & WRITTEN) !== 0) return "written";
  if (byCommands !== 0) return "read";
  return byChains === 0 ? "cold" : "chains";
}

function touched(marks: Buffer, from: number, units: number): number {
  let all = 0;
  for (let i = from; i < from + units; i++) all |= marks[i] ?? 0;
  return all;
}
