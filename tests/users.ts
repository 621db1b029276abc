/** Ordinary users for tests: one with a range of subordinate ids, one without. Made and removed by root. */
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { isRoot, output, type User } from "./harness.ts";

export interface TestUsers {
  /** Has subordinate ids, if the machine gives any. */
  user: User;
  /** Has none: a single id is all it can map. */
  bare: User;
}

/** The flags of the map that a user without subordinate ids has anyway: who names it is not told what is missing. */
export const single = ({ uid, gid }: User): string[] => ["--uidmap", `0:${uid}:1`, "--gidmap", `0:${gid}:1`];

const NO_RANGE = ["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"];

/** Once per suite. The users exist while its tests run. */
export function withTestUsers(): TestUsers {
  const users: TestUsers = { user: nobody("tupper-test"), bare: nobody("tupper-test-bare") };
  if (!isRoot) return users;
  before(() => {
    make(users.user, []);
    make(users.bare, NO_RANGE);
  });
  after(() => {
    for (const { name, home } of [users.user, users.bare]) {
      spawnSync("userdel", [name]);
      rmSync(home, { recursive: true, force: true });
    }
  });
  return users;
}

const nobody = (name: string): User => ({ name, uid: -1, gid: -1, home: "/" });

function make(user: User, flags: readonly string[]): void {
  spawnSync("userdel", [user.name]); // left by a run that was killed
  user.home = mkdtempSync(join(tmpdir(), "tupper-test-home-"));
  output("useradd", "--user-group", "--no-create-home", "--home-dir", user.home, ...flags, user.name);
  user.uid = Number(output("id", "-u", user.name));
  user.gid = Number(output("id", "-g", user.name));
  chownSync(user.home, user.uid, user.gid);
  chmodSync(user.home, 0o700);
}
