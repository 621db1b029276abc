/** Whole commands on a make-believe machine (world.ts). */
import { main } from "../../../src/cli/main.ts";
import type { RawSys } from "../../../src/sys/generated.ts";
import { replaceSys } from "../../../src/sys/sys.ts";
import type { Input } from "./targets.ts";
import { Exit, World, type WorldOptions } from "./world.ts";

/** What no error may say: it is a fault of tupper, or of an engine that found one. */
const FAULTS =
  /this is a fault of tupper|INTERNAL|cannot read property|is not a function|not iterable|not an object|stack overflow|out of memory|\[object /i;

/** An error without what it quotes, which is the input's. */
export const withoutQuotes = (text: string): string => text.replace(/"(?:[^"\\\n]|\\.)*"/g, '""');

/** One command in a world of its own, which comes back. */
function run(real: RawSys, argv: string[], options: WorldOptions): { world: World; code: number } {
  const world = new World(real, options);
  const before = replaceSys(world.table);
  let code: number;
  try {
    code = exitCodeOf(() => main(argv));
  } finally {
    replaceSys(before);
  }
  const [, out = "", err = ""] = world.printed;
  if (FAULTS.test(withoutQuotes(err))) throw new Error(`${argv.map((word) => JSON.stringify(word)).join(" ")}: ${err}`);
  if (out.includes("\0")) throw new Error(`NUL in the output of ${argv.join(" ")}`);
  return { world, code };
}

function exitCodeOf(act: () => number): number {
  try {
    const code = act();
    if (!Number.isInteger(code) || code < 0 || code > 255) throw new Error(`${code} is no exit code`);
    return code;
  } catch (error) {
    if (error instanceof Exit) return error.code;
    throw error;
  }
}

/** The words of a command line, with NUL after each. */
export function commandLine({ text }: Input, real: RawSys): string {
  const words = text.split("\0").slice(0, 64);
  const files = {
    "/bundle/config.json": CONFIG,
    "/root/config.json": CONFIG,
    "/run/tupper-runtime/box/state.json": RECORD,
    "/run/tupper-runtime/box/config.json": CONFIG,
    "/run/tupper-runtime/box/init": "4242 123456",
    "/srv/vars.env": "ONE=1\nTWO\n",
  };
  return String(run(real, words, { cgroups: text.length % 2 === 0 ? "v1" : "v2", spawn: "refused", files }).code);
}

/** A config.json from which a container is made, but for its process. Nothing is left then, and the error says of what. */
export function create({ text }: Input, real: RawSys): string {
  return [{ cgroups: "v1", spawn: "refused" } as const, { cgroups: "v2", spawn: "dies" } as const]
    .map((machine) => {
      const files = { "/bundle/config.json": text };
      const fresh = new World(real, { ...machine, files });
      const before = new Set([...fresh.below("/run"), ...fresh.below("/sys")]);
      const { world, code } = run(real, ["tupper-runtime", "create", "--bundle", "/bundle", "box"], {
        ...machine,
        files,
      });
      const [, , err = ""] = world.printed;
      if (code === 0) throw new Error("a container without a process was created");
      if (!/^error: /m.test(err)) throw new Error(`no error was said: ${err}`);
      const above = groupsAbove(text);
      const left = [...world.below("/run"), ...world.below("/sys")].filter(
        // A filter that was compiled is kept; a file of the kernel is there when somebody asks for it.
        (path) =>
          !before.has(path) &&
          !/^\/run\/tupper-cache(\/|$)|^\/run\/tupper-runtime$/.test(path) &&
          !isKernelFile(path, world) &&
          !above.some((group) => path.endsWith(group)),
      );
      if (left.length > 0) throw new Error(`left behind: ${left.join(" ")} after ${err}`);
      return /\(([A-Z_]+)\)$/m.exec(err)?.[1] ?? "error";
    })
    .join(" ");
}

/** Those that lie above the container's are made as they are missing, and stay, as under runc: others may have begun to use them. */
function groupsAbove(configText: string): string[] {
  const asked = /"cgroupsPath":\s*"([^"]*)"/g;
  return Array.from(configText.matchAll(asked), ([, path = ""]) =>
    path.split("/").filter((part) => part !== "" && part !== "."),
  ).flatMap((parts) => parts.slice(0, -1).map((_, i) => `/${parts.slice(0, i + 1).join("/")}`));
}

const isKernelFile = (path: string, world: World): boolean =>
  path.startsWith("/sys/") && world.text(path) !== undefined;

/** Three texts with a line of `---` between them: state.json, init, config.json. */
export function stateDirectory({ text }: Input, real: RawSys): string {
  const [record = "", init = "", config = CONFIG] = text.split("\n---\n");
  const files = {
    "/run/tupper-runtime/box/state.json": record,
    "/run/tupper-runtime/box/config.json": config,
    ...(init === "" ? {} : { "/run/tupper-runtime/box/init": init }),
  };
  const outcomes = STATE_COMMANDS.map((words) =>
    run(real, ["tupper-runtime", ...words], { cgroups: "v1", spawn: "refused", files }),
  );
  const last = outcomes.at(-1);
  // It is the last resort: whatever the record says, it is gone then, or there is an error.
  if (last?.code === 0 && last.world.text("/run/tupper-runtime/box/state.json") !== undefined)
    throw new Error("delete --force: nothing was deleted, and nothing was said");
  return outcomes.map(({ code }) => code).join(" ");
}

const STATE_COMMANDS = [
  ["list"],
  ["list", "--format", "json"],
  ["state", "box"],
  ["ps", "box"],
  ["events", "--stats", "box"],
  ["start", "box"],
  ["pause", "box"],
  ["resume", "box"],
  ["update", "--memory", "1000000", "--pids-limit", "5", "box"],
  ["exec", "box", "true"],
  ["mounts", "list", "box"],
  ["kill", "box", "KILL"],
  ["delete", "box"],
  ["delete", "--force", "box"],
];

/** The same for the records of `tupper run`: state.json and init. */
export function tupperState({ text }: Input, real: RawSys): string {
  const [record = "", init = ""] = text.split("\n---\n");
  const files = {
    "/run/tupper/box/state.json": record,
    ...(init === "" ? {} : { "/run/tupper/box/init": init }),
  };
  // Without a first process a name is waited for: the same for each command, and long.
  const waits = !/^\S+ \S/.test(init);
  return [
    ["ps"],
    ["ps", "--format", "json"],
    ["stats"],
    ...(waits
      ? []
      : [
          ["inspect", "box"],
          ["exec", "box", "true"],
          ["kill", "box"],
        ]),
    ["run", "/bundle/rootfs", "true"],
  ]
    .map((words) => run(real, ["tupper", ...words], { cgroups: "v2", spawn: "refused", files }).code)
    .join(" ");
}

const CONFIG = JSON.stringify({
  ociVersion: "1.3.0",
  root: { path: "rootfs" },
  process: { user: { uid: 0, gid: 0 }, args: ["true"], cwd: "/", env: ["PATH=/bin"] },
  mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
  linux: {
    namespaces: [{ type: "mount" }, { type: "pid" }, { type: "uts" }],
    resources: { memory: { limit: 67108864 } },
  },
});

const RECORD = JSON.stringify({
  version: 1,
  ociVersion: "1.3.0",
  id: "box",
  bundle: "/bundle",
  rootfs: "/bundle/rootfs",
  created: "2026-01-01T00:00:00Z",
  owner: "root",
  cgroups: [{ controller: "memory", path: "/sys/fs/cgroup/memory/box" }],
});
