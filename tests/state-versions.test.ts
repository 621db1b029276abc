/**
 * A state directory that versions of tupper share. What an older one wrote (old-records.ts) and what a newer one adds to a record
 * is no hindrance; a record whose version number is higher is refused, by name, and left alone.
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeBundle, makeConfig, newId, runtime, runtimeFails, runtimePrints, stateOf, untilStatus } from "./bundle.ts";
import {
  atEnd,
  background,
  eventually,
  fails,
  isRunning,
  pidOf,
  prints,
  runDirectory,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { OF_RUN, OF_RUNTIME } from "./old-records.ts";
import { sharedRootfs } from "./rootfs.ts";

watchForLeftovers();
const rootfs = sharedRootfs();
const needs = { skip: missing("root", "package:busybox-static", "cgroup:pids") };

interface Recorded {
  cgroups: { controller: string; path: string }[];
  [field: string]: unknown;
}

const pathOf = (program: "tupper" | "tupper-runtime", id: string) => join(runDirectory, program, id);
const recordOf = (directory: string) => JSON.parse(readFileSync(join(directory, "state.json"), "utf8")) as Recorded;
const putRecord = (directory: string, record: unknown) =>
  writeFileSync(join(directory, "state.json"), JSON.stringify(record));

function asFile(link: string): void {
  const text = readlinkSync(link);
  rmSync(link);
  writeFileSync(link, text);
}

/** What a version that knows more could say: more of everything. */
const AHEAD = { ahead: { of: ["its", "time"], by: 2 } };
const extended = (record: Recorded): Recorded => ({
  ...record,
  ...AHEAD,
  cgroups: record.cgroups.map((group) => ({ ...group, ...AHEAD })),
});

/* ---- tupper-runtime ----------------------------------------------------------------------------- */

const RECORDS: readonly { what: string; rewrite: (now: Recorded, poststop: string) => Recorded }[] = [
  {
    what: "an older version wrote",
    rewrite: (now, poststop) => {
      const { id, bundle, rootfs, cgroups } = now;
      const remove = cgroups.map(({ path }) => path);
      const hook = { path: "/bin/sh", args: ["sh", "-c", `cat >${poststop}`] };
      return { ...OF_RUNTIME, id, bundle, rootfs, cgroups, remove, poststop: [hook] };
    },
  },
  {
    what: "a newer version added to",
    rewrite: (now, poststop) => {
      const hook = { path: "/bin/sh", args: ["sh", "-c", `cat >${poststop}`], ...AHEAD };
      return { ...extended(now), poststop: [hook] };
    },
  },
];

for (const { what, rewrite } of RECORDS)
  test(`tupper-runtime: a record that ${what}: every command takes it`, needs, async () => {
    const id = newId();
    const config = makeConfig(rootfs, { resources: { pids: { limit: 40 } }, linux: { cgroupsPath: `/tupper-${id}` } });
    const bundle = makeBundle(config);
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["create", "--bundle", bundle, id]);
    const directory = pathOf("tupper-runtime", id);
    const said = join(temporaryDirectory(), "said");
    const record = rewrite(recordOf(directory), said);
    putRecord(directory, record);
    // Of version 1 it is a file.
    if (record.version === 1) asFile(join(directory, "init"));
    writeFileSync(join(directory, "of-another-version"), "");
    assert.equal((await stateOf(id)).status, "created");
    await runtimePrints(["start", id]);
    assert.match(await runtimePrints(["list"]), new RegExp(`^${id} +\\d+ +running`, "m"));
    assert.equal(await runtimePrints(["exec", id, "hostname"]), "box\n");
    await runtimePrints(["pause", id]);
    assert.equal((await stateOf(id)).status, "paused");
    await runtimePrints(["resume", id]);
    await runtimePrints(["update", "--pids-limit", "50", id]);
    assert.match(await runtimePrints(["events", "--stats", id]), /"limit":50\b/);
    assert.equal((JSON.parse(await runtimePrints(["ps", "--format", "json", id])) as number[]).length, 1);
    await runtimePrints(["kill", id, "KILL"]);
    await untilStatus(id, "stopped");
    await runtimePrints(["delete", id]);
    assert.equal((JSON.parse(readFileSync(said, "utf8")) as { id: string }).id, id);
    assert.equal(existsSync(directory), false);
  });

test(
  "tupper-runtime: a record of a higher version is refused by name, left alone, and no hindrance to others",
  needs,
  async () => {
    const [id, other] = [newId(), newId()];
    const bundle = makeBundle(makeConfig(rootfs));
    atEnd(() => runtime(["delete", "--force", other]));
    atEnd(() => runtime(["delete", "--force", id]));
    for (const one of [id, other]) await runtimePrints(["run", "--detach", "--bundle", bundle, one]);
    const { pid } = await stateOf(id);
    const directory = pathOf("tupper-runtime", id);
    const before = recordOf(directory);
    putRecord(directory, { ...before, version: 3 });
    const refusal = `STATE_NEWER: ${directory}/state.json was written by a newer version of tupper-runtime`;
    for (const args of [
      ["state", id],
      ["start", id],
      ["exec", id, "true"],
      ["kill", id, "KILL"],
      ["pause", id],
      ["resume", id],
      ["update", "--pids-limit", "50", id],
      ["events", "--stats", id],
      ["ps", id],
      ["delete", id],
      ["delete", "--force", id],
    ])
      assert.equal(await runtimeFails(args), refusal, args.join(" "));
    assert.match(await runtimeFails(["create", "--bundle", bundle, id]), /^CONTAINER_EXISTS: /);
    const listed = await runtime(["list", "--quiet"]);
    assert.deepEqual(listed, { stdout: `${other}\n`, stderr: `warning: ${refusal.slice(13)}\n`, code: 0 });
    assert.equal(isRunning(pid), true);
    putRecord(directory, before);
    await runtimePrints(["delete", "--force", id]);
  },
);

/* ---- tupper ------------------------------------------------------------------------------------- */

/** A config of now, as the record has it. */
const configOf = ({ config }: Recorded) => config as object;

for (const { what, rewrite } of [
  {
    what: "an older version wrote",
    rewrite: (now: Recorded): Recorded => {
      const { id, cgroups, remove } = now;
      const config = { ...OF_RUN.config, root: { path: rootfs, readonly: false } };
      return { ...OF_RUN, id, created: now.created, config, cgroups, remove };
    },
  },
  {
    what: "a newer version added to",
    rewrite: (now: Recorded): Recorded => ({ ...extended(now), config: { ...configOf(now), ...AHEAD } }),
  },
])
  test(`tupper: a record that ${what}: every command takes it, and a crash is cleaned up after`, needs, async () => {
    const running = await background(rootfs, ["--memory", "64m"]);
    const directory = pathOf("tupper", running.name);
    const groups = recordOf(directory).cgroups;
    putRecord(directory, rewrite(recordOf(directory)));
    writeFileSync(join(directory, "of-another-version"), "");
    const pid = await pidOf(running.name);
    assert.equal(await prints(["ps", "--quiet"]), `${running.name}\n`);
    assert.equal(await prints(["exec", running.name, "echo", "inside"]), "inside\n");
    assert.match(await prints(["stats", running.name]), /64MiB/);
    running.child.kill("SIGKILL");
    await running.ended;
    await eventually("the command has died with it", () => !isRunning(pid));
    assert.equal(await prints(["ps", "--quiet"]), "");
    assert.equal(existsSync(directory), false);
    assert.deepEqual(
      groups.filter(({ path }) => existsSync(path)),
      [],
    );
  });

test(
  "tupper: a record of a higher version is refused by name, left alone, and no hindrance to others",
  needs,
  async () => {
    const [newer, other] = [await background(rootfs), await background(rootfs)];
    const directory = pathOf("tupper", newer.name);
    const before = recordOf(directory);
    putRecord(directory, { ...before, version: 2 });
    atEnd(() => existsSync(directory) && putRecord(directory, before));
    const message = `${directory}/state.json was written by a newer version of tupper`;
    for (const args of [
      ["exec", newer.name, "true"],
      ["kill", newer.name],
      ["inspect", newer.name],
      ["stats", newer.name],
    ]) {
      const { code, message: said } = await fails(args);
      assert.deepEqual({ code, said }, { code: "STATE_NEWER", said: message }, args.join(" "));
    }
    const { stdout, stderr, code } = await tupper(["ps", "--quiet"]);
    assert.deepEqual({ stdout, stderr, code }, { stdout: `${other.name}\n`, stderr: `warning: ${message}\n`, code: 0 });
    // What is left of it when it has died is for that version to clean up.
    newer.child.kill("SIGKILL");
    await newer.ended;
    assert.equal((await fails(["run", "--name", newer.name, rootfs, "true"])).code, "STATE_NEWER");
    await prints(["run", rootfs, "true"]);
    assert.deepEqual(readdirSync(directory).sort(), ["init", "state.json"]);
    putRecord(directory, before);
    assert.equal(await prints(["ps", "--quiet"]), `${other.name}\n`);
    assert.equal(existsSync(directory), false);
  },
);

test(
  "ps: what a crash left of a container whose config is not understood loses its groups all the same",
  needs,
  async () => {
    const running = await background(rootfs);
    const directory = pathOf("tupper", running.name);
    const record = recordOf(directory);
    putRecord(directory, { ...record, config: { ...configOf(record), mounts: "of another kind" } });
    assert.equal((await fails(["inspect", running.name])).code, "STATE_BROKEN");
    running.child.kill("SIGKILL");
    await running.ended;
    assert.equal(await prints(["ps", "--quiet"]), "");
    assert.equal(existsSync(directory), false);
    assert.deepEqual(
      record.cgroups.filter(({ path }) => existsSync(path)),
      [],
    );
  },
);

test(
  "ps, list: a record that gives another name than its directory's is none: `kill $(ps -q)` would end another",
  needs,
  async () => {
    const running = await background(rootfs);
    const id = newId();
    atEnd(() => runtime(["delete", "--force", id]));
    await runtimePrints(["create", "--bundle", makeBundle(makeConfig(rootfs)), id]);
    for (const [program, name, list, look] of [
      ["tupper", running.name, () => tupper(["ps", "--quiet"]), () => tupper(["inspect", running.name])],
      ["tupper-runtime", id, () => runtime(["list", "--quiet"]), () => runtime(["state", id])],
    ] as const) {
      const directory = pathOf(program, name);
      const record = recordOf(directory);
      atEnd(() => existsSync(directory) && putRecord(directory, record));
      for (const other of ["other", `\u001b[31m\n${name}`, `/${name}`]) {
        putRecord(directory, { ...record, id: other });
        const { stdout, stderr, code } = await list();
        const warning = `warning: ${directory}/state.json is not a container's record\n`;
        assert.deepEqual({ stdout, stderr, code }, { stdout: "", stderr: warning, code: 0 });
        assert.match((await look()).stderr, /\(STATE_BROKEN\)$/m);
      }
      putRecord(directory, record);
    }
    // The name of a directory that is no ID.
    const odd = pathOf("tupper-runtime", "odd\nname");
    atEnd(() => rmSync(odd, { recursive: true }));
    mkdirSync(odd);
    putRecord(odd, { ...recordOf(pathOf("tupper-runtime", id)), id: "odd\nname" });
    const { stdout, stderr } = await runtime(["list", "--quiet"]);
    const warning = `warning: ${odd.replace("\n", "?")}/state.json is not a container's record\n`;
    assert.deepEqual({ stdout, stderr }, { stdout: `${id}\n`, stderr: warning });
  },
);

test("ps: of a container whose init file cannot be read stderr tells, and the others are listed", needs, async () => {
  const [unread, other] = [await background(rootfs), await background(rootfs)];
  const init = join(pathOf("tupper", unread.name), "init");
  const putBack = () => {
    if (!existsSync(`${init}.away`)) return;
    rmSync(init, { recursive: true });
    renameSync(`${init}.away`, init);
  };
  atEnd(putBack);
  renameSync(init, `${init}.away`);
  mkdirSync(init);
  const stderr = `warning: container ${unread.name}: read("${init}") = EISDIR (Is a directory)\n`;
  const list = async () => {
    const { stdout, stderr, code } = await tupper(["ps", "--quiet"]);
    return { stdout, stderr, code };
  };
  assert.deepEqual(await list(), { stdout: `${other.name}\n`, stderr, code: 0 });
  // What a crash left and cannot be read stays, and the others are listed all the same.
  unread.child.kill("SIGKILL");
  await unread.ended;
  const left = await list();
  assert.deepEqual({ ...left, stderr: "" }, { stdout: `${other.name}\n`, stderr: "", code: 0 });
  assert.ok(
    left.stderr.startsWith(`warning: cannot remove what is left of the container ${unread.name}: `),
    left.stderr,
  );
  putBack();
  assert.deepEqual(await list(), { stdout: `${other.name}\n`, stderr: "", code: 0 });
});
