/**
 * Ways out of a container by way of paths, tried: links, links that are swapped while a container is made, files in the place of those that
 * are meant. Each attack is shown to work on the weakened build first (weaknesses.ts). The racing attacker is
 * programs/swap_paths.c; `npm run torture` gives it thousands of containers.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import type { Config, Mount } from "../src/spec/config.ts";
import { type ConfigChange, makeBundle, makeConfig, newId, runtime } from "./bundle.ts";
import { atEnd, compiled, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { inUserNamespace, machineMount } from "./runtime-config.ts";
import { rounds } from "./weakened.ts";

watchForLeftovers();
const needs = { skip: missing("root", "package:busybox-static", "programs", "weakened") };
const planted = { skip: missing("root", "package:busybox-static") };

/** More than any race needed so far, on a machine that has much else to do. */
const UNTIL_IT_WORKS = 600;

const bind = (source: string, destination: string): Mount => ({ destination, source, type: "bind", options: ["bind"] });
const proc: Mount = { destination: "/proc", type: "proc", source: "proc" };
const dev: Mount = { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"] };

/** Exchanges two paths without a pause until the test ends. */
async function swap(one: string, other: string): Promise<void> {
  const swapper = spawn(compiled("swap_paths"), [one, other], { stdio: ["ignore", "pipe", "inherit"] });
  atEnd(async () => {
    const ended = once(swapper, "exit");
    swapper.kill("SIGKILL");
    await ended;
  });
  const [first] = await once(swapper.stdout, "data");
  assert.equal(String(first), "ready\n");
}

/** What a container of this config prints; nothing when it is refused. */
async function printed(config: Config, weak?: string): Promise<string> {
  return (await runtime(["run", "--bundle", makeBundle(config), newId()], { weak })).stdout;
}

/** Runs containers until one of them has done what it must not, or so often. */
async function isReached(tries: number, attempt: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < tries; i++) if (await attempt()) return true;
  return false;
}

/** A race that the weakened build loses and the tested one does not. */
async function race(weak: string, inTheGate: number, attempt: (weak?: string) => Promise<boolean>): Promise<void> {
  assert.equal(await isReached(UNTIL_IT_WORKS, () => attempt(weak)), true, "the attack works on the weakened build");
  assert.equal(await isReached(rounds(inTheGate), () => attempt()), false, "the attack works");
}

/* ---- sources of mounts --------------------------------------------------------------------- */

test("a source that is swapped leads to no mount whose flags the container's root could then take away", {
  skip: missing("root", "package:busybox-static", "programs"),
}, async () => {
  // With a mount below it, each can only be taken outside of the user namespace, and only one of them may.
  const [locked, free] = [machineMount("mode=755", "mode=755"), machineMount("mode=755", "mode=755")];
  output("mount", "-o", "remount,bind,nosuid", locked);
  const links = temporaryDirectory();
  const [one, other] = [join(links, "one"), join(links, "other")];
  symlinkSync(locked, one);
  symlinkSync(free, other);
  await swap(one, other);
  const config = makeConfig(makeRootfs(), {
    args: ["grep", " /data ", "/proc/self/mountinfo"],
    mounts: [bind(one, "/data"), proc],
    root: { readonly: false },
  });
  inUserNamespace(config);
  let taken = 0;
  const isLocked = async () => {
    const seen = await printed(config);
    if (seen !== "") taken++;
    return seen.includes("nosuid");
  };
  assert.equal(await isReached(rounds(60), isLocked), false);
  assert.ok(taken > 0);
});

/* ---- destinations of mounts ---------------------------------------------------------------- */

test(
  "a destination that is swapped for a link leads no mount out (CVE-2021-30465, CVE-2023-28642)",
  needs,
  async () => {
    // The volume that two containers share: one of them swaps its directory for a link to the machine.
    const [volume, outside] = [temporaryDirectory(), temporaryDirectory()];
    mkdirSync(join(volume, "place"));
    symlinkSync(outside, join(volume, "link"));
    await swap(join(volume, "place"), join(volume, "link"));
    const gift = temporaryDirectory();
    const config = makeConfig(makeRootfs(), {
      args: ["cat", "/proc/self/mountinfo"],
      mounts: [bind(volume, "/volume"), bind(gift, "/volume/place"), proc],
      root: { readonly: false },
    });
    // Wherever it went, it is seen inside, or it went out.
    await race("mount-early", 25, async (weak) => {
      const seen = await printed(config, weak);
      return seen !== "" && !seen.includes(basename(gift));
    });
  },
);

test(
  "a destination below a link that is swapped in makes no directory on the machine (CVE-2024-45310)",
  needs,
  async () => {
    const [volume, outside] = [temporaryDirectory(), temporaryDirectory()];
    mkdirSync(join(volume, "place"));
    symlinkSync(outside, join(volume, "link"));
    await swap(join(volume, "place"), join(volume, "link"));
    const config = makeConfig(makeRootfs(), {
      args: ["true"],
      mounts: [bind(volume, "/volume"), bind("/etc", "/volume/place/made")],
      root: { readonly: false },
    });
    await race("mount-early", 25, async (weak) => {
      await printed(config, weak);
      const made = readdirSync(outside);
      for (const name of made) rmdirSync(join(outside, name));
      return made.length > 0;
    });
  },
);

test(
  "where the machine's processes are in sight, a link to /proc/PID/root makes nothing on the machine (CVE-2024-45310)",
  needs,
  async () => {
    const changes: ConfigChange[] = [
      { mounts: [proc, bind("/etc", "/way/deep/directory")] },
      { mounts: [proc, bind("/etc/hostname", "/way/file")] },
      { mounts: [proc, { destination: "/way/tmpfs", type: "tmpfs" }] },
      { mounts: [proc], process: { cwd: "/way/directory" } },
      { mounts: [proc], linux: { devices: [{ path: "/way/device", type: "c", major: 1, minor: 3 }] } },
      { mounts: [proc], linux: { devices: [{ path: "/way/fifo", type: "p" }] } },
    ];
    for (const [i, change] of changes.entries()) {
      const made = async (weak?: string) => {
        const outside = temporaryDirectory();
        const root = makeRootfs();
        symlinkSync(`/proc/${process.pid}/root${outside}`, join(root, "way"));
        const config = makeConfig(root, { args: ["true"], ...change, root: { readonly: false } });
        config.linux.namespaces = (["mount", "ipc", "uts"] as const).map((type) => ({ type }));
        await printed(config, weak);
        return readdirSync(outside).length;
      };
      assert.equal(await made("magic-links"), 1, `change ${i}, weakened`);
      assert.equal(await made(), 0, `change ${i}`);
    }
  },
);

test(
  "--preserve-fds: a link to a directory that is handed on makes nothing in it (CVE-2024-21626, CVE-2024-45310)",
  needs,
  async () => {
    const changes: ConfigChange[] = [
      { mounts: [proc, bind("/etc", "/way/deep/directory")] },
      { mounts: [proc, bind("/etc/hostname", "/way/file")] },
      { mounts: [proc], process: { cwd: "/way/directory" } },
      { mounts: [proc], linux: { devices: [{ path: "/way/device", type: "c", major: 1, minor: 3 }] } },
    ];
    for (const [i, change] of changes.entries()) {
      const made = async (weak?: string) => {
        const outside = temporaryDirectory();
        const root = makeRootfs();
        symlinkSync("/proc/self/fd/3", join(root, "way"));
        const config = makeConfig(root, { args: ["true"], ...change, root: { readonly: false } });
        const args = ["run", "--preserve-fds", "1", "--bundle", makeBundle(config), newId()];
        await runtime(args, { prefix: ["sh", "-c", 'exec 3<"$0"; exec "$@"', outside], weak });
        return readdirSync(outside).length;
      };
      assert.equal(await made("magic-links"), 1, `change ${i}, weakened`);
      assert.equal(await made(), 0, `change ${i}`);
    }
  },
);

test("a destination with .. or below an image's link is a place in the container (CVE-2024-0132)", needs, async () => {
  // The link is there before the container, as in the image that NVIDIA's toolkit mounted its libraries into.
  for (const { destination, weak } of [
    { destination: (outside: string) => `/..${"/..".repeat(20)}${outside}/made`, weak: "mount-early,dots-kept" },
    { destination: () => "/usr/lib/made", weak: "mount-early" },
  ]) {
    const made = async (switches?: string) => {
      const [outside, root] = [temporaryDirectory(), makeRootfs()];
      symlinkSync(outside, join(root, "usr/lib"));
      const mounts = [bind("/etc", destination(outside)), proc];
      const args = ["grep", "-c", `${outside}/made`, "/proc/self/mountinfo"];
      const config = makeConfig(root, { args, mounts, root: { readonly: false } });
      return { inside: await printed(config, switches), outside: readdirSync(outside) };
    };
    assert.deepEqual((await made(weak)).outside, ["made"], weak);
    assert.deepEqual(await made(), { inside: "1\n", outside: [] }, weak);
  }
});

test("a mount is led into /proc by no link, swapped in or not (CVE-2019-16884, CVE-2025-52881)", needs, async () => {
  const volume = temporaryDirectory();
  mkdirSync(join(volume, "place"));
  symlinkSync("/proc/self/attr", join(volume, "link"));
  await swap(join(volume, "place"), join(volume, "link"));
  for (const mount of [bind("/etc", "/volume/place"), { destination: "/volume/place", type: "tmpfs" }]) {
    const config = makeConfig(makeRootfs(), {
      args: ["sh", "-c", "grep -c ' /proc/' /proc/self/mountinfo"],
      mounts: [proc, bind(volume, "/volume"), mount],
      root: { readonly: false },
    });
    await race("into-proc", 20, async (weak) => (await printed(config, weak)).startsWith("1"));
  }
});

/* ---- /proc ---------------------------------------------------------------------------------- */

test(
  "a /proc that another container swaps for a link is mounted and masked in its place, or not at all (CVE-2019-19921, CVE-2023-27561)",
  needs,
  async () => {
    // Two containers have one root filesystem. `keys` is a device where it is masked, else an ordinary file.
    const root = makeRootfs({ "evil/": "" });
    symlinkSync("evil", join(root, "link"));
    await swap(join(root, "proc"), join(root, "link"));
    const script = "for top in proc link evil; do [ -f /$top/keys ] && echo unmasked; done";
    const config = makeConfig(root, {
      args: ["sh", "-c", script],
      mounts: [dev, proc],
      linux: { maskedPaths: ["/proc/keys"] },
    });
    config.linux.namespaces = (["mount", "pid", "ipc", "uts"] as const).map((type) => ({ type }));
    await race("mount-by-path", 30, async (weak) => (await printed(config, weak)).includes("unmasked"));
  },
);

test(
  "linux.sysctl: what the root filesystem has in the place of /proc gets nothing of what is written (CVE-2025-52881)",
  needs,
  async () => {
    const written = async (weak?: string) => {
      const root = makeRootfs({ "proc/sys/net/ipv4/ip_forward": "untouched\n" });
      await printed(
        makeConfig(root, { args: ["true"], mounts: [], linux: { sysctl: { "net.ipv4.ip_forward": "1" } } }),
        weak,
      );
      return readFileSync(join(root, "proc/sys/net/ipv4/ip_forward"), "utf8");
    };
    assert.match(await written("proc-writes-by-path"), /^1/);
    assert.equal(await written(), "untouched\n");
  },
);

/* ---- /dev ----------------------------------------------------------------------------------- */

test(
  "/dev that is a link is a place in the container, or is refused (CVE-2026-41579, CVE-2026-47766)",
  planted,
  async () => {
    // Of runc 1.1.5 the machine's directory has fd, ptmx, stdin, stdout and stderr afterwards.
    for (const up of ["", "../../../../../../../../../.."]) {
      const [outside, root] = [temporaryDirectory(), makeRootfs()];
      rmdirSync(join(root, "dev"));
      symlinkSync(`${up}${outside}`, join(root, "dev"));
      mkdirSync(join(root, outside), { recursive: true });
      const config = makeConfig(root, { args: ["ls", "/dev"], mounts: [proc], root: { readonly: false } });
      assert.match(
        await printed(config),
        /^(core\n)?fd\nfull\nnull\nptmx\nrandom\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n$/,
      );
      assert.deepEqual(readdirSync(outside), []);
    }
  },
);

/* ---- masks and the console ------------------------------------------------------------------- */

test(
  "linux.maskedPaths: what stands in the place of /dev/null is shown in none of their places, swapped in or not (CVE-2025-31133)",
  needs,
  async () => {
    const devices = temporaryDirectory();
    output("mknod", "-m", "666", join(devices, "null"), "c", "1", "3");
    writeFileSync(join(devices, "other"), "of the attacker\n");
    await swap(join(devices, "null"), join(devices, "other"));
    const config = makeConfig(makeRootfs(), {
      args: ["cat", "/proc/keys"],
      mounts: [proc, bind(devices, "/dev")],
      linux: { maskedPaths: ["/proc/keys"] },
    });
    await race("null-unchecked", 25, async (weak) => (await printed(config, weak)) !== "");
  },
);

test(
  "process.terminal: a link at /dev/console leads the terminal nowhere, swapped in or not (CVE-2025-52565)",
  needs,
  async () => {
    const root = makeRootfs();
    writeFileSync(join(root, "dev/console"), "");
    symlinkSync("/proc/self/attr/current", join(root, "dev/other"));
    await swap(join(root, "dev/console"), join(root, "dev/other"));
    const devpts: Mount = {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["newinstance", "ptmxmode=0666"],
    };
    mkdirSync(join(root, "dev/pts"));
    const config = makeConfig(root, {
      args: ["sh", "-c", "grep -c ' /proc/' /proc/self/mountinfo"],
      mounts: [proc, devpts],
      process: { terminal: true },
      root: { readonly: false },
    });
    await race("console-followed", 25, async (weak) => (await printed(config, weak)).startsWith("1"));
  },
);
