/** Directories of resctrl: classes of service and their monitoring groups. Documentation/filesystems/resctrl.rst. */
import { ContainerError } from "../error.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFile, readFileIfThere, writeFile } from "../sys/files.ts";
import { check, raw, SysError } from "../sys/sys.ts";

interface ResctrlGroup {
  path: string;
  whose: "own" | "shared" | "given";
  schemata: readonly string[];
  monitor?: string;
}

const ENOENT = -2;
const EEXIST = -17;

/** Puts what it makes on the list `made`, the outermost first. */
export function makeResctrlGroup({ path, whose, schemata, monitor }: ResctrlGroup, made: string[]): void {
  if (whose === "given") {
    if (raw.faccessat(AT_FDCWD, path, 0) === ENOENT) {
      throw new ContainerError("RESCTRL_GROUP_MISSING", `there is no class of service ${path}`, {
        field: "linux.intelRdt.closID",
        hint: "without schemata the class must have been made before",
      });
    }
  } else {
    const result = raw.mkdirat(AT_FDCWD, path, 0o755);
    if (result !== EEXIST) {
      checkResctrl(result, path, "mkdirat");
      if (whose === "own") made.push(path);
    }
    if (result === EEXIST && whose === "shared") refuseOther(path, schemata);
    else if (schemata.length > 0) writeSchemata(path, schemata);
  }
  if (monitor === undefined) return;
  const result = raw.mkdirat(AT_FDCWD, monitor, 0o755);
  if (result === EEXIST) return;
  checkResctrl(result, path, "mkdirat", monitor);
  made.push(monitor);
}

/** A line a write is what every kernel takes; all at once is what it takes as one change. */
export function writeSchemata(group: string, schemata: readonly string[]): void {
  try {
    writeFile(`${group}/schemata`, schemata.map((line) => `${line}\n`).join(""));
  } catch (error) {
    if (error instanceof SysError) throw explain(group, error);
    throw error;
  }
}

/** The same for a group in use. Returns what puts back what was there, as well as it goes. */
export function changeSchemata(group: string, schemata: readonly string[]): () => void {
  const before = readFile(`${group}/schemata`);
  writeSchemata(group, schemata);
  return () => {
    try {
      writeFile(`${group}/schemata`, before);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  };
}

function checkResctrl(result: number, group: string, syscall: string, path = group): void {
  try {
    check(result, syscall, path, 0o755);
  } catch (error) {
    throw error instanceof SysError ? explain(group, error) : error;
  }
}

/** resctrl says in words, in info/last_cmd_status, why it refused. */
function explain(group: string, error: SysError): ContainerError | SysError {
  const status = readFileIfThere(`${group.slice(0, group.lastIndexOf("/"))}/info/last_cmd_status`)?.trim();
  if (status === undefined || status === "" || status === "ok") return error;
  return new ContainerError("RESCTRL_REFUSED", `resctrl refuses ${group}: ${status}`, {
    field: "linux.intelRdt",
    cause: error,
  });
}

function refuseOther(path: string, schemata: readonly string[]): void {
  const there = schemataOf(readFile(`${path}/schemata`));
  for (const [domain, value] of schemataOf(schemata.join("\n"))) {
    if (there.get(domain) === value) continue;
    throw new ContainerError(
      "RESCTRL_SCHEMATA_DIFFER",
      `the class of service ${path} has ${domain}=${there.get(domain) ?? "nothing"}, not ${value}`,
      { field: "linux.intelRdt", hint: "another closID makes a class of its own" },
    );
  }
}

/** `L3:0=0ff;1=f` as `L3:0` → `ff`, `L3:1` → `f`: the kernel pads lines, masks and numbers. */
export function schemataOf(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [resource = "", domains] = line.trim().split(":");
    for (const domain of domains?.split(";") ?? []) {
      const [id = "", value = ""] = domain.split("=");
      values.set(
        `${resource}:${Number(id)}`,
        value
          .trim()
          .toLowerCase()
          .replace(/^0+(?=.)/, ""),
      );
    }
  }
  return values;
}
