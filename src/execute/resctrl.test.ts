import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../error.ts";
import { recordingSys, type Script } from "../sys/recording.ts";
import { replaceSys, SysError } from "../sys/sys.ts";
import { changeSchemata, makeResctrlGroup, schemataOf, writeSchemata } from "./resctrl.ts";

type Group = Parameters<typeof makeResctrlGroup>[0];

/** What the kernel is asked for. */
function calls(action: () => void, script: Script): string[] {
  const recorder = recordingSys(script);
  const before = replaceSys(recorder);
  try {
    action();
  } finally {
    replaceSys(before);
  }
  return recorder.calls.filter(({ name }) => name !== "close").map(({ name, args }) => `${name} ${args[1]}`);
}

/** What the kernel is asked for a group, and what was made of it. */
function made(group: Group, script: Script = {}): { calls: string[]; made: string[] } {
  const list: string[] = [];
  return { calls: calls(() => makeResctrlGroup(group, list), script), made: list };
}

const PATH = "/sys/fs/resctrl/box";
const EEXIST = -17;
const ENOENT = -2;

test("makeResctrlGroup: a group of its own is made, filled and to be removed; its monitoring group too", () => {
  const group: Group = { path: PATH, whose: "own", schemata: ["L3:0=f", "MB:0=20"], monitor: `${PATH}/mon_groups/box` };
  assert.deepEqual(made(group, { openat: 5 }), {
    calls: [`mkdirat ${PATH}`, `openat ${PATH}/schemata`, "write L3:0=f\nMB:0=20\n", `mkdirat ${PATH}/mon_groups/box`],
    made: [PATH, `${PATH}/mon_groups/box`],
  });
});

test("makeResctrlGroup: without schemata none are written; a group that is there is not ours to remove", () => {
  const group: Group = { path: PATH, whose: "own", schemata: [] };
  assert.deepEqual(made(group, { mkdirat: EEXIST }), { calls: [`mkdirat ${PATH}`], made: [] });
});

test("makeResctrlGroup: a shared one that is there must say the same, however the kernel writes it", () => {
  const group: Group = { path: PATH, whose: "shared", schemata: ["L3:0=f;1=0F"] };
  const script = (text: string): Script => ({ mkdirat: EEXIST, openat: 5, readText: text });
  assert.deepEqual(made(group, script("    L3:0=0000f;1=0000f\n    MB:0= 100\n")).made, []);
  assert.throws(
    () => made(group, script("L3:0=ff;1=f\n")),
    (error) => error instanceof ContainerError && error.code === "RESCTRL_SCHEMATA_DIFFER",
  );
});

test("makeResctrlGroup: a shared one that is not there is made, and stays", () => {
  const { made: list, calls: asked } = made({ path: PATH, whose: "shared", schemata: ["MB:0=10"] }, { openat: 5 });
  assert.deepEqual([list, asked.at(-1)], [[], "write MB:0=10\n"]);
});

test("makeResctrlGroup: one without schemata must have been made before", () => {
  const group: Group = { path: PATH, whose: "given", schemata: [] };
  assert.deepEqual(made(group).calls, [`faccessat ${PATH}`]);
  assert.throws(
    () => made(group, { faccessat: ENOENT }),
    (error) => error instanceof ContainerError && error.code === "RESCTRL_GROUP_MISSING",
  );
});

test("makeResctrlGroup: what resctrl says in last_cmd_status is the reason", () => {
  const group: Group = { path: PATH, whose: "own", schemata: ["L3:0=5"] };
  const refusal = (status: string) => () => made(group, { openat: 5, write: -22, readText: status });
  assert.throws(
    refusal("non-consecutive 1-bits in the mask 5\n"),
    (error) =>
      error instanceof ContainerError &&
      error.message === `resctrl refuses ${PATH}: non-consecutive 1-bits in the mask 5`,
  );
  assert.throws(refusal("ok\n"), (error) => error instanceof SysError && error.code === "EINVAL");
});

test("writeSchemata: all lines at once, and what resctrl says of them", () => {
  const write = () => writeSchemata(PATH, ["L3:0=f", "MB:0=20"]);
  assert.deepEqual(calls(write, { openat: 5 }), [`openat ${PATH}/schemata`, "write L3:0=f\nMB:0=20\n"]);
  assert.throws(
    () => calls(write, { openat: 5, write: -22, readText: "MB value 5 out of range [10,100]\n" }),
    (error) => error instanceof ContainerError && error.code === "RESCTRL_REFUSED",
  );
});

test("changeSchemata: what was there can be put back, and that it cannot is no error", () => {
  const script: Script = { openat: 5, readText: "    L3:0=ff\n    MB:0=100\n" };
  const written = (more: Script) => calls(() => changeSchemata(PATH, ["MB:0=20"])(), { ...script, ...more }).slice(2);
  const expected = ["write MB:0=20\n", `openat ${PATH}/schemata`, "write     L3:0=ff\n    MB:0=100\n"];
  assert.deepEqual(written({}), [`openat ${PATH}/schemata`, ...expected]);
  assert.deepEqual(written({ write: [8, -22] }), [`openat ${PATH}/schemata`, ...expected]);
});

test("schemataOf: by resource and domain, without padding", () => {
  assert.deepEqual(
    [...schemataOf("    L3:0=00ff;1=0F\n  MB:0= 90;1=100\n")],
    [
      ["L3:0", "ff"],
      ["L3:1", "f"],
      ["MB:0", "90"],
      ["MB:1", "100"],
    ],
  );
});
