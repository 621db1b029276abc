/**
 * The black-box suites, and what each needs of a place. The header comment of a suite says so in a line such as
 * `Needs: systemd, root`; one without it runs everywhere, and its tests say themselves what is missing. `engine` (Docker,
 * containerd, Podman) and `checkout` (the repository, its compilers and tools) are on the host alone.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./places.ts";

export interface Suite {
  /** `runtime-cgroups` */
  name: string;
  /** In the repository. */
  path: string;
  needs: readonly string[];
}

export function findSuites(repository: string): Suite[] {
  return readdirSync(join(repository, "tests"))
    .filter((name) => name.endsWith(".test.ts"))
    .sort()
    .map((name) => {
      const path = join("tests", name);
      const needs = /^(?:\/\*\*| \*) Needs: ([a-z0-9, -]+)\.?(?: \*\/)?$/m.exec(
        readFileSync(join(repository, path), "utf8"),
      );
      return { name: name.slice(0, -".test.ts".length), path, needs: needs?.[1]?.split(", ") ?? [] };
    });
}

/** What keeps a suite from this place. */
export const lacking = (suite: Suite, place: Pick<Place, "offers">): string[] =>
  suite.needs.filter((need) => !place.offers.includes(need));
