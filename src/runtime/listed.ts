/**
 * All containers at once, as `list` and `--regex` see them. What those tell comes first in state.json; the control groups behind,
 * ten on a machine with cgroup v1, would take most of the time, and are left as text.
 */
import { ContainerError } from "../error.ts";
import { isObject } from "../spec/check.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readDirectory } from "../sys/files.ts";
import { raw, SysError } from "../sys/sys.ts";
import {
  broken,
  isId,
  type ListedContainer,
  parseRecord,
  type RecordHead,
  readContainer,
  VERSION,
} from "./container.ts";

const ENOENT = -2;

/**
 * Calls `look` with each container on record, by ID. What is wrong with one is a warning and no hindrance to the others, as
 * under runc and crun. Throws PROC_MISSING, which concerns all.
 */
export function forEachContainer(
  root: string,
  warn: (text: string) => void,
  look: (container: ListedContainer) => void,
): void {
  const names = namesIn(root).sort();
  // Asked of all at once: for each it would be a twentieth of the time.
  const areIds = !/[^\w+.-]/.test(names.join(""));
  for (const name of names) {
    try {
      const container = readContainer(`${root}/${name}`, parseListed);
      if (container === undefined) continue;
      if (!areIds && !isId(name)) throw broken(container.path);
      look(container);
    } catch (error) {
      if (error instanceof SysError) warn(`container ${name}: ${error.message}`);
      else if (error instanceof ContainerError && error.code !== "PROC_MISSING") warn(error.message);
      else throw error;
    }
  }
}

/** Throws STATE_ROOT. */
function namesIn(root: string): string[] {
  if (raw.faccessat(AT_FDCWD, root, 0) === ENOENT) return [];
  try {
    return readDirectory(root).map(({ name }) => name);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new ContainerError("STATE_ROOT", `cannot read which containers are in ${root}`, {
      field: "--root",
      cause: error,
      ...(error.code === "EACCES" ? { hint: "they are those of another user, who may list them" } : {}),
      ...(error.code === "ENOTDIR" ? { hint: "name the directory in which containers are on record" } : {}),
    });
  }
}

/** What is longer than this is worth being left unread. */
const LONG = 200;

/** Throws STATE_NEWER, STATE_BROKEN. */
function parseListed(text: string, path: string): ListedContainer["record"] {
  // In a string the quotes would be escaped.
  const end = text.indexOf(',"cgroups":[');
  const head = end < 0 || text.length - end < LONG ? undefined : parseHead(`${text.slice(0, end)}}`);
  return head ?? parseRecord(text, path);
}

/** Undefined for what we do not write like this: {@link parseRecord} will say what it is. */
function parseHead(text: string): RecordHead | undefined {
  let head: unknown;
  try {
    head = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return isRecordHead(head) && !text.includes("\\u0000") ? head : undefined;
}

/** A loop, which takes a tenth of the time that the words of check.ts take. */
function isRecordHead(value: unknown): value is RecordHead {
  if (!isObject(value) || (value.version !== VERSION && value.version !== 1)) return false;
  for (const name of TEXTS) if (typeof value[name] !== "string" || value[name] === "") return false;
  const { annotations = {} } = value;
  return isObject(annotations) && Object.values(annotations).every((text) => typeof text === "string");
}

const TEXTS = ["ociVersion", "id", "bundle", "rootfs", "created", "owner"] as const;
