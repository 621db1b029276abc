import assert from "node:assert/strict";
import { test } from "node:test";
import { type ProcessRow, renderProcesses } from "./process-table.ts";

const HOUR = 3600 * 100;
/** Noon of 26 November 2026 where the test runs, two years after boot. */
const moment = { now: new Date(2026, 10, 26, 12, 0, 30).getTime(), uptime: 2 * 365 * 24 * HOUR };
const row = (change: Partial<ProcessRow>): ProcessRow => ({
  user: "root",
  pid: 4242,
  parent: 1,
  used: 0,
  start: moment.uptime,
  terminal: "?",
  command: "sleep 600",
  ...change,
});

test("renderProcesses: the columns of ps -ef; a start of today, of this year, of another", () => {
  const rows = [
    row({}),
    row({ start: moment.uptime - 2 * HOUR, used: HOUR, terminal: "pts/0" }),
    row({ start: moment.uptime - 50 * HOUR, used: 2 * 50 * HOUR }),
    row({ start: 0, used: 30 * HOUR + 4_200 }),
  ];
  assert.equal(
    renderProcesses(rows, moment, 5),
    `UID        PID  PPID  C STIME TTY          TIME CMD
root      4242     1  0 12:00 ?        00:00:00 sleep 600
root      4242     1 50 10:00 pts/0    01:00:00 sleep 600
root      4242     1 99 Nov24 ?     04-04:00:00 sleep 600
root      4242     1  0  2024 ?     01-06:00:42 sleep 600
`,
  );
});

test("renderProcesses: names and numbers that are too long, control characters", () => {
  const rows = [
    row({ user: "systemd-network", pid: 4_194_303, parent: 4_194_302, command: "a\nb\u009f\udc80" }),
    row({ user: "4294967294" }),
  ];
  assert.equal(
    renderProcesses(rows, moment, 7),
    `UID          PID    PPID  C STIME TTY          TIME CMD
systemd+ 4194303 4194302  0 12:00 ?        00:00:00 a?b??
4294967+    4242       1  0 12:00 ?        00:00:00 sleep 600
`,
  );
  assert.equal(renderProcesses([], moment, 5), "UID        PID  PPID  C STIME TTY          TIME CMD\n");
});
