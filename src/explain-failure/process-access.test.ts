import assert from "node:assert/strict";
import { test } from "node:test";
import { type Access, explainAccess } from "./process-access.ts";

const ALL = ["CAP_KILL", "CAP_SYS_PTRACE", "CAP_SYS_RESOURCE"];
const FULL_MAP = "0 0 4294967295";
const root = { uid: 0, gid: 0, capabilities: ALL, uidMap: FULL_MAP, label: undefined };
const zeros = [0, 0, 0];
const target = { uids: zeros, gids: zeros, permitted: ALL, uidMap: FULL_MAP, owner: 0 };
const known = { pid: 7, isFirst: true, modules: undefined, others: { readable: 9, all: 9 } };
const without = (name: string) => ({ ...root, capabilities: ALL.filter((other) => other !== name) });
const user = { ...root, uid: 1000, gid: 100, capabilities: [] };

/** [what, how things are, why, hint, a part of the evidence]. */
const CASES: readonly [string, Access, RegExp, RegExp, RegExp][] = [
  [
    "another user's",
    { ...known, ours: user, theirs: target },
    /^it belongs to another user$/,
    /^run as root/,
    /Uid 0 0 0, Gid 0 0 0; this one is 1000:100 without CAP_SYS_PTRACE/,
  ],
  [
    "another user's, to root without the capability",
    { ...known, ours: without("CAP_SYS_PTRACE"), theirs: { ...target, uids: [33, 33, 33] } },
    /^it belongs to another user$/,
    /--cap-add SYS_PTRACE/,
    /Uid 33 33 33/,
  ],
  [
    "a set-user-id program is of two users",
    { ...known, ours: user, theirs: { ...target, uids: [1000, 0, 0], gids: [100, 100, 100] } },
    /^it belongs to another user$/,
    /^run as root/,
    /Uid 1000 0 0/,
  ],
  [
    "not dumpable",
    {
      ...known,
      ours: user,
      theirs: { ...target, uids: [1000, 1000, 1000], gids: [100, 100, 100], permitted: [], owner: 0 },
    },
    /^it is not dumpable/,
    /^run as root/,
    /^\/proc\/7\/status belongs to 0, the process to 1000/,
  ],
  [
    "with more capabilities",
    { ...known, ours: { ...root, capabilities: ["CAP_KILL"] }, theirs: target },
    /^it may have capabilities/,
    /--cap-add SYS_PTRACE/,
    /CapPrm with CAP_SYS_PTRACE, CAP_SYS_RESOURCE;/,
  ],
  [
    "of another user namespace",
    { ...known, isFirst: false, ours: { ...root, uidMap: "0 1000 1" }, theirs: target },
    /^it is in another user namespace, for which/,
    /outside of this one/,
    /uid_map is "0 0 4294967295" there and "0 1000 1" here/,
  ],
  [
    "perhaps of another user namespace",
    { ...known, isFirst: false, ours: root, theirs: target },
    /^it is in another user namespace with the same map, or/,
    /no capability of this place helps/,
    /is not the machine's first/,
  ],
  [
    "root with all that it takes",
    { ...known, ours: without("CAP_SYS_RESOURCE"), theirs: target, modules: "capability,selinux" },
    /^not by its ids or capabilities: a security module/,
    /no user and no capability of this place helps/,
    /0:0 with CAP_SYS_PTRACE; in the machine's first user namespace.*; security modules: capability,selinux; 9 of 9 other/,
  ],
];

for (const [what, access, why, hint, evidence] of CASES)
  test(`explainAccess: ${what}`, () => {
    const found = explainAccess(access);
    assert.match(found.why ?? "", why);
    assert.match(found.hint ?? "", hint);
    assert.match(found.evidence ?? "", evidence);
  });

test("explainAccess: a label and unseen security modules are evidence where nothing else is", () => {
  const { evidence } = explainAccess({
    ...known,
    ours: { ...root, label: "docker-default (enforce)" },
    theirs: target,
  });
  assert.match(
    evidence ?? "",
    /label of this process is docker-default \(enforce\); which security modules .* not to be seen/,
  );
});
