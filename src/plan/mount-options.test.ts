import assert from "node:assert/strict";
import { test } from "node:test";
import { KNOWN_MOUNT_OPTIONS, type MountOptions, parseMountOptions } from "./mount-options.ts";

const NONE: MountOptions = {
  flags: [],
  clear: [],
  recursiveFlags: [],
  recursiveClear: [],
  propagation: [],
  bind: false,
  recursiveBind: false,
  remount: false,
  data: "",
  copyUp: false,
  idmap: undefined,
  idmapText: undefined,
  copySymlink: false,
  srcNofollow: false,
  destNofollow: false,
};

const CASES: [options: string, expected: Partial<MountOptions>][] = [
  ["", {}],
  ["defaults", {}],
  ["bind", { bind: true }],
  ["rbind,ro", { bind: true, recursiveBind: true, flags: ["ro"] }],
  ["ro,rw", { clear: ["ro"] }],
  ["rw,ro", { flags: ["ro"] }],
  ["suid,dev,exec,async,nomand", { clear: ["nosuid", "nodev", "noexec", "sync", "mand"] }],
  [
    "diratime,noiversion,nolazytime,loud,symfollow",
    { clear: ["nodiratime", "iversion", "lazytime", "silent", "nosymfollow"] },
  ],
  [
    "sync,dirsync,mand,iversion,lazytime,silent",
    { flags: ["sync", "dirsync", "mand", "iversion", "lazytime", "silent"] },
  ],
  ["relatime,noatime", { flags: ["noatime"] }],
  ["noatime,strictatime,nodiratime", { flags: ["strictatime", "nodiratime"] }],
  ["noatime,atime", { clear: ["noatime"] }],
  ["norelatime,nostrictatime", { clear: ["relatime", "strictatime"] }],
  ["rro,rnosuid,rnodev,rnoexec,rnosymfollow", { recursiveFlags: ["ro", "nosuid", "nodev", "noexec", "nosymfollow"] }],
  ["rrw,rsuid,rdev,rexec,rsymfollow", { recursiveClear: ["ro", "nosuid", "nodev", "noexec", "nosymfollow"] }],
  ["rrelatime,rnoatime,rnodiratime", { recursiveFlags: ["noatime", "nodiratime"] }],
  [
    "ratime,rdiratime,rnorelatime,rnostrictatime",
    { recursiveClear: ["noatime", "nodiratime", "relatime", "strictatime"] },
  ],
  ["rro,rrw", { recursiveClear: ["ro"] }],
  ["rprivate,rshared", { propagation: ["rprivate", "rshared"] }],
  ["remount,tmpcopyup", { remount: true, copyUp: true }],
  ["idmap", { idmap: "idmap" }],
  ["ridmap", { idmap: "ridmap" }],
  ["idmap=uids=0-1-10;gids=0-1-10", { idmap: "idmap", idmapText: "uids=0-1-10;gids=0-1-10" }],
  ["copy-symlink,src-nofollow,dest-nofollow", { copySymlink: true, srcNofollow: true, destNofollow: true }],
  ["size=1m,ro,mode=755,rsize=4096,raw", { flags: ["ro"], data: "size=1m,mode=755,rsize=4096,raw" }],
];

for (const [options, expected] of CASES) {
  test(`parseMountOptions: ${options || "nothing"}`, () => {
    assert.deepEqual(parseMountOptions(options.split(",").filter(Boolean)), { ...NONE, ...expected });
  });
}

test("KNOWN_MOUNT_OPTIONS: all options that the runtime-spec says a runtime must or should know, and none is data", () => {
  const spec =
    `async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec
    noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rshared rslave
    runbindable rw shared silent slave strictatime suid sync unbindable nosymfollow symfollow ratime rdev rdiratime rexec
    rnoatime rnodiratime rnodev rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow rrelatime rro rrw rstrictatime rsuid
    rsymfollow mand nomand tmpcopyup idmap ridmap`.split(/\s+/);
  assert.deepEqual(
    spec.filter((option) => !KNOWN_MOUNT_OPTIONS.includes(option)),
    [],
  );
  for (const option of KNOWN_MOUNT_OPTIONS) assert.equal(parseMountOptions([option]).data, "", option);
});
