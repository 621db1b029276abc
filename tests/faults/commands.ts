/** Data: faults of the command: its path, its file, its interpreter, its environment. */
import { type Fault, withArgs, withLinux, withMount, withProcess } from "./fault.ts";

const seccompOf = (...syscalls: object[]) => ({
  seccomp: { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls },
});

export const COMMAND_FAULTS: readonly Fault[] = [
  {
    name: "a command that is in no directory of PATH",
    cause: /no-such-command.*not found in \$?PATH/,
    remedy: /full path|set PATH/,
    config: (config) => withArgs(config, "no-such-command"),
  },
  {
    name: "a command whose name differs in a letter (PATH has `busybox`)",
    cause: /bussybox.*not found in \$?PATH/,
    remedy: /busybox/,
    config: (config) => withArgs(config, "bussybox"),
  },
  {
    name: "a path of which nothing but the last name is missing",
    cause: /\/bin\/no-such.*(does not exist|no such file)/,
    remedy: /inside the (root|container)|\/bin/,
    config: (config) => withArgs(config, "/bin/no-such"),
  },
  {
    name: "a path of which a directory is missing",
    cause: /\/opt\/app (does not exist|is missing|is not there)|no \/opt\/app\b/,
    remedy: /\/opt\b.*(make|install|has|copy)|(make|install|copy).*\/opt/,
    config: (config) => withArgs(config, "/opt/app/bin/server"),
  },
  {
    name: "a path that goes through a file",
    cause: /\/etc\/passwd is (a file|not a directory|no directory)/,
    remedy: /path|directory/,
    config: (config) => withArgs(config, "/etc/passwd/program"),
  },
  {
    name: "a directory on the way that the user may not enter",
    cause: /\/srv\/closed\b.*(mode|0700|rwx).*|may not (enter|search) \/srv\/closed/,
    remedy: /chmod|process\.user|--user/,
    config: (config) => withProcess(config, { args: ["/srv/closed/program"], user: { uid: 1000, gid: 1000 } }),
  },
  {
    name: "a program without its x bit",
    cause: /0644.*x bit|not executable|no execute permission/,
    remedy: /chmod \+x/,
    config: (config) => withArgs(config, "/srv/not-executable"),
  },
  {
    name: "a program that only root may execute, started by another user",
    cause: /0700.*(owner|uid 0|root)/,
    remedy: /--user|process\.user|chmod|mode/,
    config: (config) => withProcess(config, { args: ["/srv/root-only"], user: { uid: 1000, gid: 1000 } }),
  },
  {
    name: "a program on a filesystem that is mounted noexec",
    cause: /noexec/,
    remedy: /without noexec|exec\b.*option/,
    config: (config, { rootfs }) =>
      withMount(withArgs(config, "/mnt/true"), {
        destination: "/mnt",
        type: "bind",
        source: `${rootfs}/srv/programs`,
        options: ["bind", "noexec"],
      }),
  },
  {
    name: "a script whose interpreter is not there",
    cause: /interpreter \/usr\/bin\/python9/,
    remedy: /install|name one/,
    config: (config) => withArgs(config, "/srv/missing-interpreter"),
  },
  {
    name: "a script with DOS line ends",
    cause: /carriage return|CRLF|\\r/,
    remedy: /dos2unix|line ends/,
    config: (config) => withArgs(config, "/srv/dos-line-ends"),
  },
  {
    name: "a script whose first line is #! alone",
    cause: /first line names no interpreter|#! (alone|without)/,
    remedy: /#!\/bin\/sh|interpreter/,
    config: (config) => withArgs(config, "/srv/no-interpreter"),
  },
  {
    name: "a script whose first line is longer than the kernel reads",
    cause: /first line.*(longer|255|256)/,
    remedy: /shorter|link/,
    config: (config) => withArgs(config, "/srv/long-shebang"),
  },
  {
    name: "a script whose interpreter may not be executed",
    cause: /interpreter \/srv\/not-executable.*(0644|x bit|not executable)/,
    remedy: /chmod/,
    config: (config) => withArgs(config, "/srv/bad-interpreter"),
  },
  {
    name: "a script that names itself as its interpreter",
    cause: /interpreter.*(itself|script|loop|round)/,
    remedy: /name.*(program|interpreter)|#!\/bin\/sh/,
    config: (config) => withArgs(config, "/srv/loop-interpreter"),
  },
  {
    name: "a script whose interpreter lacks its loader",
    cause: /loader \S*ld-\S+.*(missing|not exist|not there)/,
    remedy: /install|libc|root filesystem/,
    config: (config) => withArgs(config, "/srv/script-of-dynamic"),
  },
  {
    name: "a text file without #!",
    cause: /neither an ELF program nor a script|no #!|not.*begin with #!/,
    remedy: /#!\/bin\/sh/,
    config: (config) => withArgs(config, "/srv/no-program"),
  },
  {
    name: "an empty file",
    cause: /it is empty|empty file/,
    remedy: /copy|build|install/,
    config: (config) => withArgs(config, "/srv/empty"),
  },
  {
    name: "a directory",
    cause: /is a directory/,
    remedy: /program|path/,
    config: (config) => withArgs(config, "/srv"),
  },
  {
    name: "a symbolic link that leads nowhere",
    cause: /link.*\/nowhere\/at-all/,
    remedy: /\/nowhere\/at-all.*(install|make|not)|link/,
    config: (config) => withArgs(config, "/srv/dangling"),
  },
  {
    name: "a symbolic link that leads to itself",
    cause: /symbolic links?.*(round|circle|loop|each other|itself)/,
    remedy: /ln |link/,
    config: (config) => withArgs(config, "/srv/round"),
  },
  {
    name: "a program that is open for writing",
    cause: /open for writing|being written/,
    remedy: /close|finish|writ(er|ing)/,
    config: (config) => withArgs(config, "/srv/busy"),
    before: ({ rootfs }) => `exec 9>>${rootfs}/srv/busy`,
  },
  {
    name: "a program for another architecture",
    cause: /program for arm64.*x86_64/,
    remedy: /root filesystem for x86_64|image for|qemu|binfmt/,
    config: (config) => withArgs(config, "/srv/foreign"),
    skip: process.arch !== "x64" && "missing: arch:x64",
  },
  {
    name: "a program whose loader is not in the root filesystem",
    cause: /loader \S*ld-\S+.*(missing|not exist|not there)/,
    remedy: /install|libc|root filesystem/,
    config: (config) => withArgs(config, "/srv/dynamic"),
  },
  {
    name: "a program of which only the beginning was copied",
    cause: /cut (off|short)|truncated|shorter than|incomplete/,
    remedy: /copy|again/,
    config: (config) => withArgs(config, "/srv/truncated"),
  },
  {
    name: "arguments and environment that are too long",
    cause: /arguments and environment.*(larger|longer|bytes)/,
    remedy: /rlimit|RLIMIT_STACK|shorter|file/i,
    config: (config) =>
      withProcess(config, {
        env: ["PATH=/bin", ...Array.from({ length: 3 }, (_, i) => `V${i}=${"x".repeat(120_000)}`)],
        rlimits: [{ type: "RLIMIT_STACK", soft: 524_288, hard: 524_288 }],
      }),
  },
  {
    name: "a single environment variable of more than 128 KiB",
    cause: /BIG.*(131072|128 KiB)|(131072|128 KiB).*BIG/,
    remedy: /file|shorter/,
    config: (config) => withProcess(config, { env: ["PATH=/bin", `BIG=${"x".repeat(140_000)}`] }),
  },
  {
    name: "a program with file capabilities that the container's bounding set lacks",
    cause: /cap_net_admin.*bounding/i,
    remedy: /cap-add|capabilities|setcap -r/,
    config: (config) => withArgs(config, "/srv/with-capabilities"),
  },
  {
    name: "a seccomp profile that forbids execve",
    cause: /(seccomp|profile).*execve/,
    remedy: /allow.*execve|execve.*allow/,
    config: (config) => withLinux(config, seccompOf({ names: ["execve"], action: "SCMP_ACT_ERRNO" }) as never),
  },
  {
    name: "a working directory that is a file",
    cause: /\/etc\/passwd.*(not a directory|is a file|no directory)/,
    remedy: /process\.cwd|directory/,
    config: (config) => withProcess(config, { cwd: "/etc/passwd" }),
  },
  {
    name: "a working directory that is missing in a read-only root",
    cause: /\/no\/such.*(read-only)/,
    remedy: /make.*(root filesystem|image)|readonly|process\.cwd/,
    config: (config) => withProcess(config, { cwd: "/no/such" }),
    before: ({ rootfs }) => `mount --bind ${rootfs} ${rootfs} && mount -o remount,bind,ro ${rootfs}`,
  },
  {
    name: "a config without a command",
    cause: /process\.args/,
    remedy: /process\.args/,
    config: (config) => withArgs(config),
  },
];
