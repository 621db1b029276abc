import assert from "node:assert/strict";
import { test } from "node:test";
import { managerGroup, timeLimitMs } from "./systemd.ts";

test("managerGroup: the group above init.scope, in whichever hierarchy systemd counts processes", () => {
  for (const [text, group] of [
    ["0::/init.scope\n", ""],
    ["0::/\n", ""],
    ["0::/docker/0f/init.scope\n", "/docker/0f"],
    ["2:memory:/init.scope\n1:name=systemd:/lxc/a/init.scope\n", "/lxc/a"],
    ["0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "/user.slice/user-1000.slice/user@1000.service"],
    ["", ""],
  ] as const)
    assert.equal(managerGroup(text), group);
});

test("timeLimitMs: seconds unless a unit stands there; 30 s without a number or with 0", () => {
  for (const [text, ms] of [
    [undefined, 30_000],
    ["", 30_000],
    ["0", 30_000],
    ["soon", 30_000],
    ["5", 5000],
    ["1.5", 1500],
    ["250ms", 250],
    ["2 min", 120_000],
    ["1h", 3_600_000],
  ] as const)
    assert.equal(timeLimitMs(text), ms);
});
