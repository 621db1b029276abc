/**
 * `tupper script run …`, executed by a plain shell, against `tupper run …` with the same words: the same hostname,
 * processes, mounts, namespaces, capabilities, limits (catalogue row S50). What is compared is what a busybox in the
 * container sees.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const binary = resolve(process.env.TUPPER_BINARY ?? fileURLToPath(new URL("../build/tupper", import.meta.url)));
const BUSYBOX = "/bin/busybox";
const SHELLS = ["dash", "bash"];

const has = (program: string) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;

const skip = ((): string | false => {
  const isStatic = spawnSync("ldd", [BUSYBOX], { encoding: "utf8" });
  if (process.getuid?.() !== 0) return "missing: root";
  if (!existsSync(binary)) return `missing: ${binary}`;
  if (!existsSync(BUSYBOX) || isStatic.status === 0) return "missing: a static busybox (package busybox-static)";
  const lacking = ["unshare", "setpriv", "prlimit", "pivot_root", "ldd", "bash"].filter((program) => !has(program));
  return lacking.length > 0 && `missing: ${lacking.join(", ")}`;
})();

/** A root filesystem with nothing but busybox and its links. */
function makeRoot(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), "tupper script's root "));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  chmodSync(root, 0o755);
  for (const directory of ["bin", "dev", "etc", "proc", "sys", "tmp"]) mkdirSync(join(root, directory));
  copyFileSync(BUSYBOX, join(root, "bin/busybox"));
  for (const applet of [
    "cat",
    "cut",
    "env",
    "grep",
    "hostname",
    "id",
    "ls",
    "mount",
    "sort",
    "ps",
    "readlink",
    "sh",
    "sleep",
    "stat",
  ]) {
    symlinkSync("busybox", join(root, "bin", applet));
  }
  return root;
}

const END_STATE = `
hostname; cat /proc/sys/kernel/domainname; id; umask; pwd; env
# Sorted: the kernel lists mounts as they were made, and tupper makes proc and sysfs of a user namespace before the root.
mount | sort
cut -d" " -f4- /proc/self/mountinfo | sort
grep -E "^(Cap|NoNewPrivs|Groups)" /proc/self/status
ulimit -a
cat /proc/self/cgroup /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups /proc/self/oom_score_adj
cat /proc/net/dev | cut -d: -f1
ls -la /dev /dev/shm
stat -c "%a %u %g %n" / /dev /proc /sys /tmp
ls /proc/self/fd
cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null
for ns in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$ns; done
ps -o pid,args | while read pid args; do case $pid in 1) echo "PID 1: $args" ;; esac; done
`;

/** Namespaces by whose they are: the number of a new one is never the same twice. Dates of files are left out. */
function comparable(output: string): string[] {
  return output.split("\n").map((line) => {
    const namespace = /^(\w+):\[\d+\]$/.exec(line);
    if (namespace?.[1] === undefined) return line.replace(/\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d\b/, "(date)");
    return `${namespace[1]}: ${readlinkSync(`/proc/self/ns/${namespace[1]}`) === line ? "the machine's" : "another"}`;
  });
}

interface Ended {
  status: number | null;
  output: string[];
}

function tupperRun(flags: readonly string[], root: string, command: readonly string[], input = ""): Ended {
  const { status, stdout } = spawnSync(binary, ["run", ...flags, root, ...command], { input, encoding: "utf8" });
  return { status, output: comparable(stdout) };
}

function scriptFor(flags: readonly string[], root: string, command: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(binary, ["script", "run", ...flags, root, ...command], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

/** dash cannot close descriptors above 9, and whoever started the tests may have left us some. */
const CLOSING = 'for fd in $(ls /proc/self/fd); do [ "$fd" -le 2 ] || eval "exec $fd>&-"; done; exec "$0" "$@"';

/** Standard input is the container's: the script itself comes from a file. */
function runScript(t: TestContext, shell: string, script: string, input = ""): Ended & { stderr: string } {
  const directory = mkdtempSync(join(tmpdir(), "tupper-script-test-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, "script.sh");
  writeFileSync(file, script);
  const { status, stdout, stderr } = spawnSync("bash", ["-c", CLOSING, shell, file], { input, encoding: "utf8" });
  return { status, output: comparable(stdout), stderr };
}

function machine(): string[] {
  const groups = spawnSync(
    "find",
    ["/sys/fs/cgroup", "-name", "script-test-*", "-o", "-name", "tupper-script-test-*"],
    { encoding: "utf8" },
  );
  const directories = readdirSync("/run").filter((name) => name.startsWith("tupper-script."));
  return [readFileSync("/proc/self/mountinfo", "utf8"), groups.stdout, ...directories];
}

/** Filters are compared only where setpriv can load one. */
const UNCONFINED = ["--security-opt", "seccomp=unconfined"];

const CASES: Readonly<Record<string, readonly string[]>> = {
  "no flags": [],
  limits: [
    "--memory",
    "64m",
    "--pids-limit",
    "30",
    "--cpu-shares",
    "512",
    "--ulimit",
    "nofile=512:1024",
    "--oom-score-adj",
    "300",
  ],
  "a user with groups": [
    "--user",
    "1000:1001",
    "--group-add",
    "10",
    "--umask",
    "077",
    "--workdir",
    "/made/by the script",
    "-e",
    "A=it's $HOME",
  ],
  "another set of capabilities": ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges"],
  "names and kernel settings": [
    "--hostname",
    "h1",
    "--domainname",
    "d1",
    "--sysctl",
    "net.ipv4.ip_unprivileged_port_start=80",
  ],
  "a read-only root with volumes": [
    "--read-only",
    "--tmpfs",
    "/tmp:size=1m,mode=1777",
    "-v",
    "/etc:/da ta:ro",
    "-v",
    "/etc/hostname:/etc/name:ro",
  ],
  "the directory itself as root": ["--root-kind", "bind"],
  "a copy as root": ["--root-kind", "copy", "--size", "20m"],
  "all namespaces of the machine": [
    "--net",
    "host",
    "--ipc",
    "host",
    "--uts",
    "host",
    "--pid",
    "host",
    "--cgroupns",
    "host",
  ],
  "a user namespace": ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"],
  "a time namespace": ["--timens", "private", "--time-offset", "boottime=864000"],
  "all privileges": ["--privileged"],
};

for (const [name, flags] of Object.entries(CASES)) {
  for (const shell of SHELLS) {
    test(`script run: ${name}: ${shell} ends in the same state as tupper run`, { skip }, (t) => {
      if (!has(shell)) return t.skip(`missing: ${shell}`);
      const root = makeRoot(t);
      const words = [...UNCONFINED, "--name", `script-test-${process.pid}`, ...flags];
      // mount(8) of util-linux 2.38 has no id-mapped mounts: what root owns on disk is nobody's in the script's container.
      const mapsOwners = flags.includes("--uidmap");
      const command = ["sh", "-c", mapsOwners ? END_STATE.replace("/sys /tmp", "/sys") : END_STATE];
      const before = machine();
      const expected = tupperRun(words, root, command);
      assert.equal(expected.status, 0);
      const { status, output } = runScript(t, shell, scriptFor(words, root, command));
      assert.deepEqual({ status, output }, expected);
      assert.deepEqual(machine(), before);
    });
  }
}

test("script run: the namespaces of another container are joined", { skip }, async (t) => {
  const root = makeRoot(t);
  const other = spawn("unshare", ["--net", "--uts", "--ipc", "sh", "-c", "hostname other; exec sleep 60"]);
  t.after(() => other.kill("SIGKILL"));
  while (
    spawnSync("nsenter", ["--uts", "-t", String(other.pid), "hostname"], { encoding: "utf8" }).stdout !== "other\n"
  )
    await sleep(10);
  const joins = ["net", "uts", "ipc"].flatMap((type) => [`--${type}`, `/proc/${other.pid}/ns/${type}`]);
  const words = [...UNCONFINED, "--name", `script-test-${process.pid}`, ...joins];
  const command = ["sh", "-c", "hostname; cut -d: -f1 /proc/net/dev"];
  const { status, output } = runScript(t, "sh", scriptFor(words, root, command));
  assert.deepEqual({ status, output }, tupperRun(words, root, command));
  assert.equal(output[0], "other");
});

test("script run: with --init the shell is PID 1, reaps orphans and hands on the exit code", { skip }, (t) => {
  const root = makeRoot(t);
  const words = [...UNCONFINED, "--init"];
  const command = ["sh", "-c", "(sleep 0.1 &); sleep 0.3; ps -o stat | grep -c Z; read line; echo $line; exit 7"];
  const { status, output } = runScript(t, "sh", scriptFor(words, root, command), "from stdin\n");
  assert.deepEqual({ status, output }, { status: 7, output: ["0", "from stdin", ""] });
});

for (const [command, code] of [
  [["sh", "-c", "exit 7"], 7],
  [["no-such-command"], 127],
  [["/etc"], 126],
  [["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137],
] as const) {
  test(`script run: ${command.join(" ")} ends with ${code}, as tupper run`, { skip }, (t) => {
    const root = makeRoot(t);
    assert.equal(tupperRun(UNCONFINED, root, command).status, code);
    assert.equal(runScript(t, "sh", scriptFor(UNCONFINED, root, command)).status, code);
  });
}

test("script run: a set-up that fails ends with 125 and leaves nothing", { skip }, (t) => {
  const root = makeRoot(t);
  const before = machine();
  const script = scriptFor([...UNCONFINED, "-v", "/etc/hostname:/etc/name"], root, ["true"]);
  const { status, stderr } = runScript(t, "sh", script.replaceAll("/etc/hostname", "/no/such/file"));
  assert.equal(status, 125);
  assert.match(stderr, /\/no\/such\/file/);
  assert.deepEqual(machine(), before);
});

test("script run: no file of the container decides what the tools of the set-up load or believe", { skip }, (t) => {
  const root = makeRoot(t);
  const script = scriptFor(UNCONFINED, root, ["sh", "-c", "id -u; id -g; mount | grep '/proc/sys '"]);
  // Were they read, uid 0 would become the uid of a user who is named 0, and the loader would complain about the library.
  writeFileSync(join(root, "etc/passwd"), "0:x:1234:1234::/:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "0:x:1234:\n");
  writeFileSync(join(root, "etc/nsswitch.conf"), "passwd: files evil\n");
  writeFileSync(join(root, "etc/ld.so.preload"), "/lib/evil.so\n");
  writeFileSync(join(root, "etc/fstab"), "none /proc/sys none rw,suid 0 0\n");
  const { status, output, stderr } = runScript(t, "sh", script);
  assert.deepEqual(
    { status, output },
    { status: 0, output: ["0", "0", "proc on /proc/sys type proc (ro,nosuid,nodev,noexec,relatime)", ""] },
  );
  assert.doesNotMatch(stderr, /evil/);
});

test("script run: when the script is killed with SIGKILL the container ends too", { skip }, async (t) => {
  const root = makeRoot(t);
  const name = `script-test-${process.pid}`;
  const seconds = String(100_000 + process.pid);
  const directory = mkdtempSync(join(tmpdir(), "tupper-script-test-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, "script.sh"), scriptFor([...UNCONFINED, "--name", name], root, ["sleep", seconds]));
  const script = spawn("sh", [join(directory, "script.sh")], { stdio: "ignore" });
  const running = () => spawnSync("pgrep", ["-xf", `sleep ${seconds}`]).status === 0;
  const until = async (condition: () => boolean) => {
    for (let i = 0; i < 500 && !condition(); i++) await sleep(10);
    assert.ok(condition());
  };
  await until(running);
  const left = machine()
    .slice(1)
    .flatMap((text) => text.split("\n"))
    .filter((line) => line !== "");
  script.kill("SIGKILL");
  await until(() => !running());
  // A killed script cannot clean up: the test does.
  for (const path of left) {
    if (path.startsWith("tupper-script.")) rmSync(join("/run", path), { recursive: true });
    else
      for (let i = 0; i < 100 && existsSync(path); i++)
        try {
          rmdirSync(path);
        } catch {
          await sleep(10);
        }
  }
});
