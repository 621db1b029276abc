/** How two processes differ in what isolates them: for `tupper explain A B`. Pure. */
import { NS_TYPES, type NsType } from "../namespaces/tree.ts";
import { bytesText, type Subject } from "./findings.ts";
import { isReadonly, type MountEntry, rootMount } from "./mount-entries.ts";
import type { IdRange, Portrait } from "./portrait.ts";

export interface Difference {
  subject: Subject;
  what: string;
  same: boolean;
  /** What each has; equal where `same`. */
  a: string;
  b: string;
}

const SUBJECT_OF: Record<NsType, Subject> = {
  mnt: "files",
  pid: "processes",
  ipc: "processes",
  net: "network",
  user: "ids",
  uts: "names and clocks",
  cgroup: "names and clocks",
  time: "names and clocks",
};

/** Every aspect, the same ones too. */
export function differencesOf(a: Portrait, b: Portrait): Difference[] {
  const found: Difference[] = [];
  const add = (subject: Subject, what: string, of: (one: Portrait) => string) => {
    const [one, other] = [of(a), of(b)];
    found.push({ subject, what, same: one === other, a: one, b: other });
  };
  for (const type of NS_TYPES)
    add(SUBJECT_OF[type], `${type} namespace`, ({ namespaces }) => String(namespaces[type] ?? "cannot be seen"));
  add("files", "root", ({ mounts, rootLink }) => rootText(rootMount(mounts ?? []), rootLink));
  for (const mountPoint of mountPointsOf(a, b))
    add("files", `mount ${mountPoint}`, (one) => mountText(one, mountPoint));
  add("ids", "user and group", ({ uid, gid }) => `${uid}:${gid}`);
  add("ids", "user ids", ({ uidMap }) => mapText(uidMap));
  add("ids", "group ids", ({ gidMap }) => mapText(gidMap));
  const all = [...new Set([...a.capabilities.effective, ...b.capabilities.effective])];
  const only = all.filter(
    (name) => a.capabilities.effective.includes(name) !== b.capabilities.effective.includes(name),
  );
  if (only.length === 0) add("privileges", "capabilities", () => `${all.length}`);
  for (const name of only)
    add("privileges", name, ({ capabilities }) => (capabilities.effective.includes(name) ? "has it" : "has it not"));
  add("privileges", "bounding set", ({ capabilities }) => `${capabilities.bounding.length} capabilities`);
  add("privileges", "no-new-privileges", ({ noNewPrivs }) => (noNewPrivs ? "set" : "not set"));
  add("privileges", "seccomp", ({ seccomp }) =>
    seccomp.mode === 0 ? "no filter" : seccomp.mode === 1 ? "strict" : `${seccomp.filters ?? "some"} filters`,
  );
  add("privileges", "security label", ({ label }) => label ?? "none");
  for (const [i, { what }] of a.limits.entries())
    add("resources", what, ({ limits }) => limitText(what, limits[i]?.value));
  return found;
}

const mapText = (map: readonly IdRange[]): string =>
  map.map(({ inside, outside, size }) => `${inside} ${outside} ${size}`).join(", ") || "none";

function rootText(root: MountEntry | undefined, link: string | undefined): string {
  if (root === undefined) return "cannot be seen";
  const chroot = link === undefined || link === "/" ? "" : `, chroot to ${link}`;
  return `${root.fstype} ${root.source} ${root.root} (${root.device}), ${isReadonly(root) ? "read-only" : "writable"}${chroot}`;
}

const mountPointsOf = (a: Portrait, b: Portrait): string[] =>
  [...new Set([...(a.mounts ?? []), ...(b.mounts ?? [])].map(({ mountPoint }) => mountPoint))]
    .filter((path) => path !== "/")
    .sort();

function mountText({ mounts }: Portrait, path: string): string {
  const mount = mounts?.findLast(({ mountPoint }) => mountPoint === path);
  if (mount === undefined) return "none";
  return `${mount.fstype} ${mount.root}, ${isReadonly(mount) ? "read-only" : "writable"}`;
}

function limitText(what: string, value: number | string | undefined): string {
  if (value === undefined) return "cannot be seen";
  if (value === -1) return "no limit";
  return typeof value === "number" && /memory|swap/.test(what)
    ? bytesText(value)
    : String(value).replaceAll("\n", ", ");
}
