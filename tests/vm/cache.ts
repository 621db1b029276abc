/**
 * What is built once and used by many runs: kept outside the repository under a name that says what went in.
 *
 * TUPPER_VM_CACHE names the directory, else /var/cache/tupper-vm. An entry is built beside its place and renamed, under a
 * lock, so that runs side by side neither see half of it nor build it twice. Old entries of the same kind are removed.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import { join } from "node:path";

export const cacheDirectory = process.env.TUPPER_VM_CACHE ?? "/var/cache/tupper-vm";

/** A name for these ingredients. */
export function keyOf(...ingredients: readonly (string | Buffer)[]): string {
  const hash = createHash("sha256");
  for (const ingredient of ingredients) hash.update(`${ingredient.length}\n`).update(ingredient);
  return hash.digest("hex").slice(0, 12);
}

export const contentsOf = (...paths: readonly string[]): Buffer[] => paths.map((path) => readFileSync(path));

/** The directory `kind-key` of the cache; `build` fills it when it is not there. */
export async function cached(kind: string, key: string, build: (directory: string) => unknown): Promise<string> {
  const place = join(cacheDirectory, `${kind}-${key}`);
  if (!existsSync(place)) {
    mkdirSync(cacheDirectory, { recursive: true });
    await locked(kind, async () => {
      if (existsSync(place)) return; // somebody else has built it meanwhile
      for (const name of readdirSync(cacheDirectory)) // left by runs that were killed
        if (name.startsWith(`.building-${kind}-`)) rmSync(join(cacheDirectory, name), { recursive: true, force: true });
      const directory = mkdtempSync(join(cacheDirectory, `.building-${kind}-`));
      try {
        await build(directory);
        renameSync(directory, place);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
      removeOld(kind);
    });
  }
  const now = new Date();
  utimesSync(place, now, now);
  return place;
}

/** flock(1) holds the lock until its stdin ends, so the kernel drops it however we end. */
async function locked(kind: string, work: () => Promise<void>): Promise<void> {
  const holder = spawn("flock", [join(cacheDirectory, `.lock-${kind}`), "sh", "-c", "echo locked; cat"]);
  await once(holder.stdout, "data");
  try {
    await work();
  } finally {
    holder.stdin.end();
  }
}

/** A few are kept of each kind: worktrees differ. */
function removeOld(kind: string): void {
  const paths = readdirSync(cacheDirectory)
    .filter((name) => name.startsWith(`${kind}-`) && /^[0-9a-f]{12}$/.test(name.slice(kind.length + 1)))
    .map((name) => join(cacheDirectory, name));
  const youngestFirst = paths.map((path) => ({ path, at: statSync(path).mtimeMs })).sort((a, b) => b.at - a.at);
  for (const { path } of youngestFirst.slice(4)) rmSync(path, { recursive: true, force: true });
}
