/**
 * How containers ended: a symbolic link for each in the state root, `.ended-<milliseconds>-<pid>`, whose target is the record
 * as JSON. Nobody follows it: a link is made whole by one system call, which is all that a run pays for it (ADR 25).
 *
 * The last 32 at least are kept: whoever sweeps the state root (each `run` does) and finds more than 64 removes the oldest.
 */
import { fits } from "../../execute/record-checks.ts";
import type { Explained } from "../../explain-failure/end.ts";
import { integer, list, object, text, uint32, uint64 } from "../../spec/check.ts";
import { AT_FDCWD } from "../../sys/constants.ts";
import { raw } from "../../sys/sys.ts";

export interface End extends Partial<Omit<Explained, "cause">> {
  id: string;
  /** ISO 8601. */
  created: string;
  finished: string;
  /** Of the init process, as its runner saw it; 0 when there was none. */
  pid: number;
  /** What it ran, see {@link briefly}. */
  command?: string[];
  /** 128 + n for a signal. */
  exitCode: number;
  /**
   * What `exitCode` does not say: `exited` by itself; `not-started`: the error of the start is in `why`; `runner-died`: the tupper
   * that ran it was killed, and the container with it.
   */
  cause: Explained["cause"] | "exited" | "not-started" | "runner-died";
}

/** Inode of the container's state directory: a later container of the same name has another. */
type Recorded = End & { state: number };

const PREFIX = ".ended-";
const KEPT = 32;
const MOST = 64;
/** What every filesystem takes as a link's target: XFS no more than 1024 bytes. */
const LONGEST = 1000;
const EEXIST = -17;

export const isEnd = (name: string): boolean => name.startsWith(PREFIX);

/** 0, or the kernel's answer: a container's end is no less of one when it cannot be put on record. */
export function recordEnd(root: string, state: number, end: Omit<End, "finished">): number {
  const now = new Date();
  const record: Recorded = { ...end, finished: now.toISOString(), state };
  for (let time = now.getTime(); ; time++) {
    const result = raw.symlinkat(textOf(record), AT_FDCWD, `${root}/${PREFIX}${time}-${end.pid}`);
    if (result !== EEXIST) return result;
  }
}

/** The first 60 characters of a command, so that it fits into a link: at most 6 bytes each in JSON. */
export function briefly(args: readonly string[]): string[] {
  const kept: string[] = [];
  let room = 60;
  for (const arg of args) {
    if (room <= 0) break;
    kept.push(arg.length <= room ? arg : `${arg.slice(0, room)}…`);
    room -= arg.length + 1;
  }
  return kept;
}

/** In ASCII, whose length is its bytes. What does not fit is the sentence's end. */
function textOf(record: Recorded): string {
  const { why } = record;
  if (why === undefined) return JSON.stringify(record);
  const whole = ascii(record);
  return whole.length <= LONGEST ? whole : ascii({ ...record, why: `${why.slice(0, LONGEST - whole.length - 6)}…` });
}

const ascii = (record: Recorded): string =>
  JSON.stringify(record).replace(
    /[^\0-\x7f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/** Removes the oldest of too many. `names`: all that is in the state root. */
export function pruneEnds(root: string, names: readonly string[]): void {
  const ends = names.filter(isEnd);
  if (ends.length <= MOST) return;
  for (const name of ends.sort().slice(0, -KEPT)) raw.unlinkat(AT_FDCWD, `${root}/${name}`, 0);
}

/** The last end on record of a container of this name; with `state`, of the one that had this state directory. */
export function findEnd(root: string, names: readonly string[], id: string, state?: number): End | undefined {
  for (const name of names.filter(isEnd).sort().reverse()) {
    const record = parseEnd(raw.readlinkText(AT_FDCWD, `${root}/${name}`));
    if (record?.id !== id || (state !== undefined && record.state !== state)) continue;
    const { state: _state, ...end } = record;
    return end;
  }
  return undefined;
}

/** Of each name the last end on record, the newest first. */
export function lastEnds(root: string, names: readonly string[]): End[] {
  const ends = new Map<string, End>();
  for (const name of names.filter(isEnd).sort().reverse()) {
    const record = parseEnd(raw.readlinkText(AT_FDCWD, `${root}/${name}`));
    if (record === undefined || ends.has(record.id)) continue;
    const { state: _state, ...end } = record;
    ends.set(record.id, end);
  }
  return [...ends.values()];
}

/** Undefined for what is no record, or gone. */
function parseEnd(target: string | number): Recorded | undefined {
  if (typeof target !== "string") return undefined;
  let record: unknown;
  try {
    record = JSON.parse(target);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return fits(RECORD, record) ? (record as Recorded) : undefined;
}

type Checked = Pick<Recorded, "id" | "created" | "finished" | "pid" | "command" | "exitCode" | "cause" | "state">;
const RECORD = object<Checked>(
  {
    id: text,
    created: text,
    finished: text,
    pid: uint32,
    command: list(text),
    exitCode: integer(0, 255),
    cause: text,
    state: uint64,
  },
  ["id", "created", "finished", "pid", "exitCode", "cause", "state"],
);
