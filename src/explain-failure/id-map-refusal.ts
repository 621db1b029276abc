/** Why newuidmap or newgidmap refuses a map: what it said itself, and what the machine shows afterwards. newuidmap(1), subuid(5). */
import { ContainerError } from "../error.ts";
import { findProgram } from "../execute/helper-program.ts";
import { statOf } from "../execute/init/paths.ts";
import { subordinateIds } from "../execute/probe.ts";
import type { IdMapping } from "../spec/config.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../sys/constants.ts";
import { readFileIfThere } from "../sys/files.ts";
import { parseStatfs, STATFS_SIZE } from "../sys/structs.ts";
import { raw } from "../sys/sys.ts";

export type MapHelper = "newuidmap" | "newgidmap";

export function idMapRefusal(
  program: MapHelper,
  mappings: readonly IdMapping[],
  { code, output }: { code: number; output: string },
): ContainerError {
  const [why, hint] = whyRefused(program, mappings);
  const said = output.trim() || `exit code ${code}`;
  return new ContainerError(
    "ID_MAP_REFUSED",
    `${program} refused the id map: ${said}${why === undefined ? "" : `; ${why}`}`,
    { field: program === "newuidmap" ? "linux.uidMappings" : "linux.gidMappings", hint },
  );
}

function whyRefused(program: MapHelper, mappings: readonly IdMapping[]): [why: string | undefined, hint: string] {
  const path = findProgram(program);
  if (path === undefined)
    return [undefined, `install it (Debian: apt install uidmap), or map no more than the own id: 0:${raw.geteuid()}:1`];
  const file = program === "newuidmap" ? "/etc/subuid" : "/etc/subgid";
  const own = (program === "newuidmap" ? raw.geteuid() : raw.getegid()) as number;
  const ranges = subordinateIds(file);
  const foreign = mappings.find(
    ({ hostID, size }) =>
      !(hostID === own && size === 1) &&
      !ranges.some(({ start, count }) => hostID >= start && hostID + size <= start + count),
  );
  if (foreign !== undefined) {
    const given = ranges.map(({ start, count }) => `${start}-${start + count - 1}`).join(", ") || "nothing";
    const flag = program === "newuidmap" ? "--add-subuids" : "--add-subgids";
    return [
      `${file} gives you ${given}, not ${foreign.hostID}-${foreign.hostID + foreign.size - 1}`,
      `root adds a range: usermod ${flag} 100000-165535 NAME`,
    ];
  }
  if (/^NoNewPrivs:\s1$/m.test(readFileIfThere("/proc/self/status") ?? ""))
    return [
      "tupper runs with no_new_privs, under which no program gains rights",
      "start tupper without it: setpriv --no-new-privs, systemd's NoNewPrivileges= and containers' no-new-privileges set it",
    ];
  if (!hasRights(path))
    return [
      `${path} is neither set-user-id root nor has file capabilities`,
      `root mends it: chmod u+s ${path}, or setcap cap_set${program === "newuidmap" ? "u" : "g"}id+ep ${path}`,
    ];
  const statfs = new ArrayBuffer(STATFS_SIZE);
  const ST_NOSUID = 2;
  if (raw.statfs(path, statfs) >= 0 && Number(parseStatfs(statfs).flags) & ST_NOSUID)
    return [`${path} lies on a filesystem that is mounted nosuid`, "mount that filesystem without nosuid"];
  return [undefined, `see ${file}, and whether tupper runs in a container that keeps ${program} from its rights`];
}

function hasRights(path: string): boolean {
  const S_ISUID = 0o4000;
  const { mode, uid } = statOf(AT_FDCWD, path, 0);
  if ((mode & S_ISUID) !== 0 && uid === 0) return true;
  const fd = raw.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  const length = raw.fgetxattr(fd, "security.capability", new ArrayBuffer(64));
  raw.close(fd);
  return Number(length) > 0;
}
