/**
 * `--user` and `--group-add` by the rootfs's own /etc/passwd and /etc/group, as docker reads them: a name is looked up,
 * a number need not be there. passwd(5), group(5).
 */

import type { ErrorCode } from "../../../error-codes.ts";
import { didYouMean } from "../../../nearest.ts";
import type { IdMaps, User } from "../../../spec/config.ts";
import type { RootFacts } from "../root-facts.ts";
import type { RunOptions } from "../run-options.ts";
import { flagError, MAX_ID, parseId } from "./flag-value.ts";
import { hasSingleId, isMapped } from "./id-maps.ts";

export interface ContainerUser {
  user: User;
  home: string;
  warnings: string[];
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

const DEFAULT_UMASK = 0o022;
/** Also one that is no id, and gets an error of its own. */
const NUMBER = /^-?\d+$/;

export function containerUser(
  options: Pick<RunOptions, "user" | "groupAdd" | "umask">,
  root: Pick<RootFacts, "passwd" | "group">,
  mapped: IdMaps | undefined,
): ContainerUser {
  const [userPart = "", groupPart] = splitUser(options.user ?? "0");
  const entry = findUser(userPart, root.passwd);
  const gid = groupPart === undefined ? entry.gid : findGroup("--user", groupPart, root.group);
  // Groups of the passwd user count only where the group was not named: as docker has it.
  const listed = groupPart === undefined && entry.name !== "" ? groupsOf(entry.name, root.group) : [];
  const added = (options.groupAdd ?? []).map((group) => findGroup("--group-add", group, root.group));
  checkMapped(entry.uid, gid, options.user, mapped);

  // The primary group belongs to the supplementary ones, or a group that is denied by a mode of 0705 would not be (CVE-2022-36109).
  const all = [...new Set([gid, ...listed, ...added])];
  const kept = all.filter((id) => isMapped(id, mapped?.gidMappings));
  const lost = added.filter((id) => !kept.includes(id));
  return {
    user: {
      uid: entry.uid,
      gid,
      umask: options.umask === undefined ? DEFAULT_UMASK : parseUmask(options.umask),
      ...(hasSingleId(mapped) ? {} : { additionalGids: kept }),
    },
    home: entry.home,
    warnings:
      lost.length === 0 ? [] : [`--group-add ${lost.join(", ")} has no effect: the user namespace maps no such group`],
  };
}

function splitUser(value: string): [user: string, group?: string] {
  const [user = "", group, ...rest] = value.split(":");
  if (user === "" || group === "" || rest.length > 0) {
    throw flagError(
      "BAD_USER",
      "--user",
      `--user "${value}" is not of the form USER or USER:GROUP`,
      "names or numbers, such as www-data, 1000 or 1000:100",
    );
  }
  return group === undefined ? [user] : [user, group];
}

function findUser(value: string, passwd: string | undefined): PasswdEntry {
  const named = parsePasswd(passwd, `${value}:`).find(({ name }) => name === value);
  if (named !== undefined) return named;
  if (NUMBER.test(value)) {
    const uid = parseId("--user", value);
    const known = parsePasswd(passwd, `:${uid}:`).find((entry) => entry.uid === uid);
    return known ?? { name: "", uid, gid: 0, home: uid === 0 ? "/root" : "/" };
  }
  throw unknownName("UNKNOWN_USER", "--user", "user", value, parsePasswd(passwd));
}

function findGroup(flag: string, value: string, group: string | undefined): number {
  const named = parseGroup(group, `${value}:`).find(({ name }) => name === value);
  if (named !== undefined) return named.gid;
  if (NUMBER.test(value)) return parseId(flag, value);
  throw unknownName("UNKNOWN_GROUP", flag, "group", value, parseGroup(group));
}

/** The groups that list a user as a member. */
const groupsOf = (user: string, group: string | undefined): number[] =>
  parseGroup(group, user)
    .filter(({ members }) => members.includes(user))
    .map(({ gid }) => gid);

function unknownName(
  code: ErrorCode,
  flag: string,
  kind: "user" | "group",
  value: string,
  known: readonly { name: string }[],
) {
  const file = kind === "user" ? "/etc/passwd" : "/etc/group";
  const names = known.map(({ name }) => name);
  const otherwise = known.length === 0 ? `it has no ${file}: give a number` : "give a number, or a name that is there";
  return flagError(
    code,
    flag,
    `there is no ${kind} "${value}" in the container's ${file}`,
    didYouMean(value, names) ?? otherwise,
  );
}

function checkMapped(uid: number, gid: number, value: string | undefined, mapped: IdMaps | undefined): void {
  const outside = !isMapped(uid, mapped?.uidMappings)
    ? `user id ${uid}`
    : !isMapped(gid, mapped?.gidMappings)
      ? `group id ${gid}`
      : undefined;
  if (outside === undefined) return;
  throw flagError(
    "ID_UNMAPPED",
    "--user",
    `--user "${value ?? "0"}": ${outside} does not exist in the container's user namespace`,
    "an ordinary user has further ids by newuidmap and newgidmap (package uidmap) and a range in /etc/subuid and /etc/subgid; root can give --uidmap and --gidmap",
  );
}

function parseUmask(value: string): number {
  if (/^0?[0-7]{1,3}$/.test(value)) return Number.parseInt(value, 8);
  throw flagError("BAD_UMASK", "--umask", `--umask "${value}" is not a mask`, "up to three octal digits, such as 022");
}

function parsePasswd(text: string | undefined, part?: string): PasswdEntry[] {
  return records(text, part).flatMap(([name = "", , uid = "", gid = "", , home = ""]) =>
    name !== "" && isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid), home: home || "/" }] : [],
  );
}

function parseGroup(text: string | undefined, part?: string): GroupEntry[] {
  return records(text, part).flatMap(([name = "", , gid = "", members = ""]) =>
    name !== "" && isId(gid)
      ? [{ name, gid: Number(gid), members: members.split(",").filter((member) => member !== "") }]
      : [],
  );
}

/** The fields of the lines that contain `part`: every run looks up one user, and files may have thousands. */
const records = (text = "", part = ":"): string[][] =>
  text
    .split("\n")
    .filter((line) => line.includes(part) && !line.startsWith("#"))
    .map((line) => line.trim().split(":"));

const isId = (text: string): boolean => /^\d+$/.test(text) && Number(text) <= MAX_ID;
