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
import { orderText } from "./text-order.ts";

/** As in host/pool.h. */
const DROPPED = 0;
const [HEADER, GRAIN, PAGE] = [8, 8, 4096];
const WRITTEN = 2;

export interface Placement {
  /** A file for `host --snapshot`. */
  placement: string;
  hotBytes: number;
  coldBytes: number;
  /** For the linker: the order of functions. */
  order: string;
}

/** After another command has made a container. `first`: up to where the runtime executes itself once more. */
interface Command {
  words: string;
  before?: string;
  first?: boolean;
}

const onContainer = (words: string): Command => ({
  words: `tupper-runtime ${words}`,
  before: "tupper-runtime create --bundle /bundle box",
});
/** As engines call it. */
const WITH_ROOT = "--root /run/tupper-runtime";

/**
 * The commands that shall need little memory. What the first of them touches lies together, before what it does not
 * touch; in each half likewise for the second one, and so on. Of the orders tried this one has the fewest windows of 64 KiB (docs/adr/0015).
 */
const COMMANDS: readonly Command[] = [
  onContainer("--version"),
  { words: "tupper-runtime run --bundle /bundle box", first: true },
  { words: "tupper --version" },
  ...["pause box", "state box", "exec box true", "start box", "ps --format json box", "delete --force box"].map(
    (words) => onContainer(`${WITH_ROOT} ${words}`),
  ),
  { words: `tupper-runtime ${WITH_ROOT} run --bundle bundle box` },
  { words: "tupper-runtime run --bundle /bundle-mounts box" },
  { words: `tupper-runtime ${WITH_ROOT} --log /log --log-format json create --bundle /bundle --pid-file /pid box` },
  { words: "tupper-runtime run --bundle /bundle box" },
  ...["list", "kill box KILL"].map(onContainer),
  { words: "tupper-runtime run --bundle /bundle-user box" },
  ...["events --stats box", "ps box"].map(onContainer),
  { words: "tupper run --root-kind bind /rootfs true" },
  { words: "tupper run --no-tty --security-opt seccomp=unconfined --root-kind overlay host sh -c true" },
  onContainer("update --pids-limit 100 box"),
  { words: "tupper exec --no-tty box true", before: "tupper run --name box --root-kind bind /rootfs true" },
  {
    words:
      "tupper run --name box --memory 64m --cpus 1 --pids-limit 10 -e A=b -w /root -u root -v /srv:/srv:ro --hostname x --security-opt no-new-privileges --ulimit nofile=1024:1024 --cap-drop ALL --tmpfs /tmp --read-only /rootfs true",
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
  for (const [i, command] of COMMANDS.entries())
    for (const cgroups of ["hybrid", "v2"]) observe(marksOf(i), "world.js", command, cgroups);
  observe("chains", "names.js", { words: "tupper-runtime --version" });
  const { bytes, hotBytes, coldBytes } = describe(readFileSync(hot));
  const [placement, order] = [`${directory}/placement`, `${directory}/order.ld`];
  writeFileSync(placement, bytes);
  const heapMarks = readMarks("numbers").length / 4;
  const textMarks = COMMANDS.map((_, i) => readMarks(marksOf(i)).subarray(heapMarks));
  orderText(`${directory}/host`, textMarks, patternOf, order);
  return { placement, hotBytes, coldBytes, order };
}

const marksOf = (command: number) => `marks-${command}`;
const readMarks = (name: string) => readFileSync(`${directory}/${name}`);
/** Sorts what the first command touches before what it does not, and so on. */
const patternOf = (touches: readonly number[]) => touches.map((marks) => (marks === 0 ? "b" : "a")).join("");

/**
 * Runs a command and adds what it touches to a file of marks. No path of this machine is in it: the addresses of new
 * blocks follow from the length of texts, and what is looked up from the addresses.
 */
function observe(marks: string, script: string, { words, before = "", first = false }: Command, cgroups = "v2"): void {
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

/** A block that was left at the end, by the number of its making. */
interface Block {
  number: number;
  bytes: number;
  /** Blocks with the same key lie together, and keys in their order. */
  key: string;
}

/** What is written, what of that is so large that it is written here and there, what is read, what only looking up names reads. */
const [SMALL_WRITTEN, LARGE_WRITTEN, READ, CHAINS, COLD] = ["0", "1", "2", "3", "4"];

/** The file for the host, as host/pool.h describes it. */
function describe(snapshot: Buffer): { bytes: Buffer; hotBytes: number; coldBytes: number } {
  const blocks = finalBlocks(snapshot);
  const keys = [...new Set(blocks.map(({ key }) => key))].sort();
  const areaOf = new Map(keys.map((key, i) => [key, i + 1]));
  const sizes = new Array<number>(keys.length + 1).fill(0);
  const areas: number[] = [];
  for (const { number, bytes, key } of blocks) {
    const area = areaOf.get(key) ?? DROPPED;
    sizes[area] = (sizes[area] ?? 0) + bytes + HEADER;
    areas[number - 1] = area;
  }
  // A page that is copied, because something in it is written, holds nothing that is only read.
  const firstRead = areaOf.get(keys.find((key) => key >= READ) ?? "");
  const hasCold = keys.at(-1) === COLD;
  const head = [
    areas.length,
    sizes.length,
    hasCold ? 1 : 0,
    ...sizes,
    ...sizes.map((_, area) => (area === firstRead ? PAGE : GRAIN)),
  ];
  const words = Buffer.from(new BigUint64Array(head.map(BigInt)).buffer);
  const bytes = Buffer.concat([words, Buffer.from(Uint16Array.from(areas, (area) => area ?? DROPPED).buffer)]);
  const coldBytes = hasCold ? (sizes.at(-1) ?? 0) : 0;
  const all = sizes.reduce((sum, size) => sum + size, 0);
  // The areas begin below the head of .snap, and one of them on a page of its own.
  return { bytes, hotBytes: all - coldBytes + 2 * PAGE, coldBytes };
}

function finalBlocks(snapshot: Buffer): Block[] {
  const [numbers, chains] = [readMarks("numbers"), readMarks("chains")];
  const commands = COMMANDS.map((_, i) => readMarks(marksOf(i)));
  const poolOffset = snapshot.length - numbers.length * (GRAIN / 4);
  const blocks: Block[] = [];
  for (let i = 0; i < numbers.length / 4; i++) {
    const number = numbers.readUInt32LE(i * 4);
    if (number === 0) continue;
    const bytes = Number(snapshot.readBigUInt64LE(poolOffset + i * GRAIN - HEADER));
    const units = Math.max(1, bytes / GRAIN);
    const touches = commands.map((marks) => touched(marks, i, units));
    const isInChain = touched(chains, i, units) !== 0;
    blocks.push({ number, bytes, key: keyOf(touches, bytes, isInChain) });
  }
  return blocks;
}

function keyOf(touches: readonly number[], bytes: number, isInChain: boolean): string {
  if (touches.every((marks) => marks === 0)) return isInChain ? CHAINS : COLD;
  const isWritten = touches.some((marks) => (marks & WRITTEN) !== 0);
  const kind = !isWritten ? READ : bytes < PAGE ? SMALL_WRITTEN : LARGE_WRITTEN;
  return kind + patternOf(touches);
}

function touched(marks: Buffer, from: number, units: number): number {
  let all = 0;
  for (let i = from; i < from + units; i++) all |= marks[i] ?? 0;
  return all;
}
