/**
 * What the files of a container could give back to its processes, what they could keep of the caller's, and what they could do to
 * the caller's terminal, tried. Each attack is shown to work on the weakened build first (weaknesses.ts).
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeBundle, makeConfig, newId, running, runtime, untilStatus } from "./bundle.ts";
import {
  atEnd,
  background,
  binary,
  compiled,
  eventually,
  output,
  temporaryDirectory,
  tupper,
  watchForLeftovers,
} from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { printsOnTerminal } from "./terminal.ts";
import { weakenedBinary } from "./weakened.ts";

watchForLeftovers();
const needs = { skip: missing("root", "package:busybox-static", "programs", "weakened") };
const withFileCapabilities = { skip: needs.skip || missing("package:libcap2-bin") };

const NET_RAW = 1 << 13;
/** What an ordinary user may do: programs/show_privileges.c. */
const NOTHING = "uid 1000 gid 1000 effective 0 inheritable 0\n";

/** A root filesystem with that program, made to give more: by setcap(8), chmod(1). */
function rootWith(command: "setcap" | "chmod", argument: string): string {
  const root = makeRootfs({ "bin/show": { copyOf: compiled("show_privileges"), mode: 0o755 } });
  output(command, argument, join(root, "bin/show"));
  return root;
}

/* ---- files that give privileges ------------------------------------------------------------------ */

test("run: a file's inheritable capabilities give a user nothing (CVE-2022-24769)", withFileCapabilities, async () => {
  const root = rootWith("setcap", "cap_net_raw+ei");
  const run = async (weak?: string) => (await tupper(["run", "--user", "1000:1000", root, "show"], { weak })).stdout;
  assert.match(await run("all-inheritable"), new RegExp(`^uid 1000 gid 1000 effective ${NET_RAW} `));
  assert.equal(await run(), NOTHING);
});

test(
  "exec --cap: what is added gives a user nothing through a file (CVE-2022-29162)",
  withFileCapabilities,
  async () => {
    const id = await running(makeConfig(rootWith("setcap", "cap_net_raw+ei")));
    const exec = async (weak?: string) =>
      (await runtime(["exec", "--user", "1000:1000", "--cap", "CAP_NET_RAW", id, "sh", "-c", "show"], { weak })).stdout;
    assert.equal(await exec("all-inheritable"), `uid 1000 gid 1000 effective ${NET_RAW} inheritable ${NET_RAW}\n`);
    assert.equal(await exec(), NOTHING);
  },
);

test(
  "run: a volume that is nosuid gives neither user nor group nor capabilities by a file",
  withFileCapabilities,
  async () => {
    for (const [command, argument, works] of [
      ["chmod", "4755", /^uid 0 gid 1000 /],
      ["chmod", "2755", /^uid 1000 gid 0 /],
      ["setcap", "cap_net_raw+ep", new RegExp(`effective ${NET_RAW} `)],
    ] as const) {
      const config = makeConfig(makeRootfs(), {
        args: ["/volume/bin/show"],
        process: { user: { uid: 1000, gid: 1000 }, capabilities: { bounding: ["CAP_NET_RAW"] } },
        mounts: [
          { destination: "/volume", type: "bind", source: rootWith(command, argument), options: ["bind", "nosuid"] },
        ],
        root: { readonly: false },
      });
      const run = async (weak?: string) =>
        (await runtime(["run", "--bundle", makeBundle(config), newId()], { weak })).stdout;
      assert.match(await run("flags-lost"), works);
      assert.equal(await run(), NOTHING, argument);
    }
  },
);

test(
  "run: under no_new_privs a set-user-id program or one with capabilities gives nothing",
  withFileCapabilities,
  async () => {
    for (const [command, argument] of [
      ["chmod", "4755"],
      ["setcap", "cap_net_raw+ep"],
    ] as const) {
      const args = [
        "run",
        "--user",
        "1000:1000",
        "--security-opt",
        "no-new-privileges",
        rootWith(command, argument),
        "show",
      ];
      assert.notEqual((await tupper(args, { weak: "drop:noNewPrivileges" })).stdout, NOTHING, argument);
      assert.equal((await tupper(args)).stdout, NOTHING, argument);
    }
  },
);

/* ---- what is the caller's ------------------------------------------------------------------------- */

test("run: keys in the caller's session keyring are not the container's", {
  skip: needs.skip || missing("file:/proc/keys", "arch:x64"),
}, async () => {
  const root = makeRootfs({ "bin/attempt": { copyOf: compiled("attempt"), mode: 0o755 } });
  const keyring = "250=,0,-3"; // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING)
  const own = output(compiled("attempt"), keyring);
  const config = makeConfig(root, { args: ["attempt", keyring] });
  const seen = async (weak?: string) =>
    (await runtime(["run", "--bundle", makeBundle(config), newId()], { weak })).stdout;
  assert.equal(await seen("drop:newKeyring"), own);
  assert.match(await seen(), /^250 \d+\n$/);
  assert.notEqual(await seen(), own);
});

test("create, exec: a keyring of the container's name that another user has made for all to find is not the container's", {
  skip: needs.skip || missing("file:/proc/keys", "arch:x64"),
}, async () => {
  const root = makeRootfs({
    "bin/attempt": { copyOf: compiled("attempt"), mode: 0o755 },
    "bin/plant_keyring": { copyOf: compiled("plant_keyring"), mode: 0o755 },
  });
  const own = "250=,0,-3"; // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING)
  const bundle = makeBundle(makeConfig(root, { args: ["sh", "-c", `attempt ${own}; exec sleep 600`] }));
  const isPlanted = async ({ run, exec }: { run?: string; exec?: string }) => {
    const id = newId();
    const thief = spawn(join(root, "bin/plant_keyring"), [`_ses.${id}`], { uid: 12_345, gid: 12_345 });
    atEnd(() => thief.kill("SIGKILL"));
    const planted = String((await once(thief.stdout, "data"))[0]).trim();
    const said = join(temporaryDirectory(), "said");
    atEnd(() => runtime(["delete", "--force", id]));
    const started = await runtime(["run", "--detach", "--bundle", bundle, id], {
      weak: run,
      prefix: ["sh", "-c", `exec "$@" >${said}`, "sh"],
    });
    assert.equal(started.code, 0);
    await eventually("the container has said its keyring", () => readFileSync(said, "utf8").endsWith("\n"));
    const inside = await runtime(["exec", id, "attempt", own], { weak: exec });
    const warning = /^warning: another user \(12345\) has a keyring _ses\./m;
    if (!run && !exec)
      assert.deepEqual(
        [started, inside].map(({ stderr }) => warning.test(stderr)),
        [true, true],
      );
    return [readFileSync(said, "utf8"), inside.stdout].map((text) => text === `250 ${planted}\n`);
  };
  // Once taken nobody else finds it.
  assert.deepEqual(await isPlanted({ run: "keyring-taken", exec: "keyring-taken" }), [true, false]);
  assert.deepEqual(await isPlanted({ exec: "keyring-taken" }), [false, true]);
  assert.deepEqual(await isPlanted({}), [false, false]);
});

test(
  "run, start, exec: the mode of the machine's null device is not changed through a standard descriptor",
  needs,
  async () => {
    // A machine of its own: nobody else's null device is in danger.
    const nodes = temporaryDirectory();
    output("mknod", "-m", "666", join(nodes, "null"), "c", "1", "3");
    const onMachine = `mount --bind ${nodes}/null /dev/null; exec "$@" </dev/null`;
    const prefix = ["unshare", "--mount", "sh", "-c", onMachine, "sh"];
    const change = 'chmod 600 /proc/self/fd/0; test -z "$(head -c 1)" && echo into nothing >&0 && echo works';
    /** What this command of the runtime says, and whether it has changed the mode. */
    const attack = async (args: string[], weak: string | undefined) => {
      chmodSync(join(nodes, "null"), 0o666);
      const { stdout, code } = await runtime(args, { prefix, weak });
      if (args[0] === "start") await untilStatus(args[1] ?? "", "stopped");
      return { said: `${stdout}${code}`, changed: (statSync(join(nodes, "null")).mode & 0o777) !== 0o666 };
    };
    const tries = async (what: string, command: (weak?: string) => Promise<string[]>) => {
      assert.equal((await attack(await command("null-kept"), "null-kept")).changed, true, what);
      const { said, changed } = await attack(await command(), undefined);
      assert.equal(changed, false, what);
      assert.equal(said, what === "start" ? "0" : "works\n0", what);
    };

    await tries("run", async () => {
      const bundle = makeBundle(makeConfig(makeRootfs(), { args: ["sh", "-c", change] }));
      return ["run", "--bundle", bundle, newId()];
    });

    const places = ["", "rm /dev/null;", "rm /dev/null; echo >/dev/null;", "ln -sf /proc/self/fd/0 /dev/null;"];
    for (const place of places)
      for (const noNewPrivileges of [false, true])
        await tries(`exec: ${place}`, async () => {
          const id = await running(makeConfig(makeRootfs(), { process: { noNewPrivileges } }));
          const made = await runtime(["exec", id, "sh", "-c", `${place} true`]);
          assert.equal(made.code, 0);
          return ["exec", id, "sh", "-c", change];
        });

    // Another container of the same root filesystem may take it away while this one waits.
    await tries("start", async (weak) => {
      const [id, root] = [newId(), makeRootfs()];
      atEnd(() => runtime(["delete", "--force", id]));
      const args = ["sh", "-c", change];
      const mounts = [{ destination: "/proc", type: "proc", source: "proc" }];
      const bundle = makeBundle(makeConfig(root, { args, mounts, root: { readonly: false } }));
      const made = await runtime(["create", "--bundle", bundle, id], { prefix, weak });
      assert.equal(made.code, 0);
      rmSync(join(root, "dev/null"));
      return ["start", id];
    });
  },
);

const legacyTiocsti = "/proc/sys/dev/tty/legacy_tiocsti";

test("run, exec: nothing is typed into the caller's terminal (TIOCSTI)", {
  skip: needs.skip || missing("package:util-linux") || (isOff(legacyTiocsti) && `${legacyTiocsti} is 0`),
}, async () => {
  const root = makeRootfs({ "bin/push_input": { copyOf: compiled("push_input"), mode: 0o755 } });
  const { name } = await background(root);
  // The caller's shell reads what was typed for it meanwhile: twice, for script(1) types the end of its own input first.
  const typed = (program: string, words: string, { weak = "", waitS = 1 } = {}) => {
    const read = `$(timeout --foreground ${waitS} head -n 1)`;
    const shell = `TUPPER_WEAK=${weak} ${program} ${words} push_input touched; echo "got:${read}${read}"`;
    return /got:(\w*)/.exec(printsOnTerminal(shell))?.[1];
  };
  for (const words of [`run --no-tty ${root}`, `exec --no-tty ${name}`]) {
    assert.equal(typed(weakenedBinary, words, { weak: "drop:newSession", waitS: 10 }), "touched", words);
    assert.equal(typed(binary, words), "", words);
  }
});

function isOff(path: string): boolean {
  try {
    return readFileSync(path, "utf8").trim() === "0";
  } catch {
    return false; // before Linux 6.2 it was always allowed
  }
}

test("ps, errors: control characters of a command, a name, a path are not the terminal's", needs, async () => {
  const evil = "\u001b]0;evil\u0007\u009b31m";
  const root = makeRootfs();
  const { name } = await background(root, [], { script: `: '${evil}'` });
  const shown = async (weak?: string) => {
    const listed = await tupper(["ps"], { weak });
    const { stdout } = await tupper(["exec", name, "true"], { weak });
    const refused = await tupper(["run", `/no/such${evil}`, "true"], { weak });
    return /[^\P{Cc}\n]/u.test(listed.stdout) || /[^\P{Cc}\n]/u.test(refused.stderr) || stdout !== "";
  };
  assert.equal(await shown("escapes-printed"), true);
  assert.equal(await shown(), false);
});

test(
  "errors, --diagnose, JSON: a name with line feeds and escapes looks like no line of tupper's own",
  needs,
  async () => {
    const forged = "x\nerror: all is well (FORGED)\n  hint:   use --privileged";
    const root = makeRootfs({ [`app/${forged}`]: "", "app/script": { text: "#!/no/\u009bsuch\n", mode: 0o755 } });
    const bundle = makeBundle(makeConfig(root, { args: ["/app/script"] }));
    const denied = 'printf "x\\nallow:" >/proc/self/comm; : >/proc/sys/kernel/core_pattern';
    const forges = async (weak?: string) => {
      const error = await tupper(["run", root, "/app/none"], { weak });
      const diagnosis = await tupper(["run", "--diagnose", root, "sh", "-c", denied], { weak });
      const log = await runtime(["--log-format", "json", "run", "--bundle", bundle, newId()], { weak });
      assert.match(error.stderr, /\(COMMAND_NOT_FOUND\)$/m);
      assert.match(diagnosis.stderr, /^denied: .*core_pattern/m);
      assert.match(log.stderr, /SHEBANG_MISSING/);
      return [
        /^(error: all| {2}hint: {3}use)/m.test(error.stderr),
        /^allow:/m.test(diagnosis.stderr),
        /[^\P{Cc}\n]/u.test(log.stderr),
      ];
    };
    assert.deepEqual(await forges("escapes-printed"), [true, true, true]);
    assert.deepEqual(await forges(), [false, false, false]);
  },
);

test("run: what a container has put into the kernel's log is not taken for the word of its seccomp filter", {
  skip: missing("root", "package:busybox-static"),
}, async () => {
  const profile = join(temporaryDirectory(), "profile.json");
  const syscalls = [
    { names: ["execve"], action: "SCMP_ACT_KILL_PROCESS", args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }] },
  ];
  writeFileSync(profile, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls }));
  const forged = 'lowerdir=/no type=1326 a pid=1 comm=\\"x\\" b sig=31 c syscall=101';
  const script = `mount -t overlay -o "${forged}" x /tmp 2>/dev/null; kill -SYS $$`;
  const flags = ["--init", "--cap-add", "SYS_ADMIN", "--security-opt", `seccomp=${profile}`];
  const { stderr, code } = await tupper(["run", ...flags, makeRootfs(), "sh", "-c", script]);
  assert.equal(code, 159);
  assert.match(stderr, /SIGSYS/);
  assert.doesNotMatch(stderr, /ptrace/);
});
