/** Directories that are gone when this process ends, also when a signal ends it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const made = new Set<string>();
process.on("exit", () => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

export function makeTemporary(prefix: string): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), prefix));
  made.add(path);
  const remove = () => {
    rmSync(path, { recursive: true, force: true });
    made.delete(path);
  };
  return { path, remove };
}
