/** What a config.json hides, and guards: masked paths, /proc, devices, the root; the published attacks on them, tried. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { lstatSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config, Device, Mount } from "../src/spec/config.ts";
import { atEnd, binary, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { makeRootfs } from "./rootfs.ts";
import { bind, configOf, DEFAULT_MOUNTS, inUserNamespace, mounted, refused, run, sees } from "./runtime-config.ts";

watchForLeftovers();
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };

test("process.capabilities: without the field there are none, as under runc and crun", needs, () => {
  const script = "grep '^Cap' /proc/self/status";
  const none = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map((set) => `Cap${set}:\t0000000000000000\n`).join("");
  assert.equal(
    sees(script, ({ process }) => Reflect.deleteProperty(process, "capabilities")),
    none,
  );
});

/* ---- hidden and read-only paths ------------------------------------------------------------ */

test("linux.maskedPaths and readonlyPaths: a file, a directory, a link, what is not there", asRoot, () => {
  const change = (config: Config) => {
    const root = config.root.path;
    writeFileSync(join(root, "secret"), "secret\n");
    mkdirSync(join(root, "hidden"));
    writeFileSync(join(root, "hidden/file"), "secret\n");
    symlinkSync("secret", join(root, "link"));
    Object.assign(config.linux, {
      maskedPaths: ["/nothing", "/link", "/hidden", "/home", "/secret/below", "/proc/keys"],
      readonlyPaths: ["/nothing", "/root", "/etc/passwd"],
    });
  };
  for (const userns of [false, true]) {
    const script =
      "cat /secret /link /proc/keys; ls -A /hidden /home; touch /hidden/x 2>&1; touch /root/x 2>&1; (echo >>/etc/passwd) 2>&1; ls -l /secret | cut -c1";
    assert.equal(
      sees(script, (config) => {
        change(config);
        if (userns) inUserNamespace(config);
      }),
      `/hidden:

/home:
touch: /hidden/x: Read-only file system
touch: /root/x: Read-only file system
sh: can't create /etc/passwd: Read-only file system
c
`,
    );
  }
});

test("linux.maskedPaths: a directory within one that is hidden too", asRoot, () => {
  const seen = sees("ls -A /outer /other", (config) => {
    for (const path of ["outer/inner/secret", "other/secret"])
      mkdirSync(join(config.root.path, path), { recursive: true });
    config.linux.maskedPaths = ["/outer/inner", "/outer", "/other"];
  });
  assert.equal(seen, "/other:\n\n/outer:\n");
});

test(
  "linux.maskedPaths: a /dev/null that is another file hides nothing, and is refused (CVE-2025-31133)",
  asRoot,
  () => {
    const secret = join(temporaryDirectory(), "secret");
    writeFileSync(secret, "of the machine\n");
    const masked = (config: Config) => {
      config.linux.maskedPaths = ["/proc/kcore", "/proc/keys"];
    };
    for (const what of ["file", "link", "device"]) {
      const dev = temporaryDirectory();
      const place = join(dev, "null");
      if (what === "file") writeFileSync(place, "mine\n");
      else if (what === "link") symlinkSync("/proc/sysrq-trigger", place);
      else output("mknod", place, "c", "1", "5");
      const bound = refused((config) => {
        masked(config);
        config.mounts = [DEFAULT_MOUNTS[0] as Mount, bind(dev, "/dev", "bind")];
      });
      assert.equal(bound, "NULL_DEVICE_INVALID", what);
      // The same in the root filesystem, where no /dev is mounted over it.
      const inRoot = refused((config) => {
        masked(config);
        config.mounts = [DEFAULT_MOUNTS[0] as Mount];
        output("cp", "-a", place, join(config.root.path, "dev/null"));
      });
      assert.equal(inRoot, "NULL_DEVICE_INVALID", what);
      // And bound over the one that we would make.
      if (what === "file")
        assert.equal(
          refused((config) => {
            masked(config);
            mounted(bind(secret, "/dev/null", "bind"))(config);
          }),
          "NULL_DEVICE_INVALID",
        );
    }
  },
);

/* ---- the console --------------------------------------------------------------------------- */

test(
  "process.terminal: a link at /dev/console is not followed, and what stands at /dev/pts is a devpts (CVE-2025-52565)",
  asRoot,
  () => {
    const change = (config: Config) => {
      config.process.terminal = true;
      config.mounts = (config.mounts ?? []).filter(({ destination }) => destination !== "/dev");
      symlinkSync("/proc/self/attr/current", join(config.root.path, "dev/console"));
    };
    const script = "grep -c ' /proc/' /proc/self/mountinfo; test -c /dev/console && echo a terminal";
    const { stdout, stderr } = run(configOf(script, change));
    assert.deepEqual({ stdout: stdout.replaceAll("\r", ""), stderr }, { stdout: "0\na terminal\n", stderr: "" });
    const { stdout: none, stderr: message } = run(
      configOf("echo runs", (config) => {
        config.process.terminal = true;
        config.mounts = config.mounts?.slice(0, 1) ?? [];
        mkdirSync(join(config.root.path, "dev/pts"));
        output("mknod", join(config.root.path, "dev/pts/ptmx"), "c", "1", "3");
      }),
    );
    // OPEN_PTY_FAILED: below a temporary directory that is mounted nodev, as by systemd, the kernel opens no device.
    assert.match(message, /\((TERMINAL_INVALID|OPEN_PTY_FAILED)\)/);
    assert.equal(none, "");
  },
);

/* ---- /proc --------------------------------------------------------------------------------- */

test("mounts[]: in /proc nothing but what lxcfs stands in for; on /proc only a procfs (CVE-2019-16884)", needs, () => {
  const file = join(temporaryDirectory(), "fake");
  writeFileSync(file, "1.00 2.00\n");
  assert.equal(sees("cat /proc/uptime", mounted(bind(file, "/proc/uptime", "bind"))), "1.00 2.00\n");
  for (const destination of ["/proc/version", "/proc/self/attr", "/proc/sys/kernel/hostname", "/proc/../proc/cmdline"])
    assert.equal(refused(mounted(bind(file, destination, "bind"))), "MOUNT_INSIDE_PROC", destination);
  assert.equal(refused(mounted({ destination: "/proc", type: "tmpfs" })), "MOUNT_INSIDE_PROC");
  assert.equal(refused(mounted(bind("/etc", "/proc", "rbind"))), "MOUNT_INSIDE_PROC");
  assert.equal(refused(mounted(bind("/proc/self", "/proc", "rbind"))), "MOUNT_INSIDE_PROC");
});

test("mounts[]: a link of the root filesystem that leads into /proc is refused too (CVE-2023-27561)", needs, () => {
  for (const [link, destination] of [
    ["/proc", "/way/self"],
    ["/proc/sys/kernel", "/way"],
    ["../../proc/self/attr", "/way"],
  ] as const) {
    for (const mount of [{ destination, type: "tmpfs" }, bind("/etc", destination, "bind")] as Mount[]) {
      const code = refused((config) => {
        symlinkSync(link, join(config.root.path, "way"));
        mounted(mount)(config);
      });
      assert.equal(code, "MOUNT_INSIDE_PROC", `${link}, ${mount.type}`);
    }
  }
});

test(
  "linux.sysctl: is written to the kernel, whatever the root filesystem has in /proc (CVE-2025-52881)",
  asRoot,
  () => {
    const config = configOf("echo runs", ({ root, linux, ...rest }) => {
      mkdirSync(join(root.path, "proc/sys/net/ipv4"), { recursive: true });
      writeFileSync(join(root.path, "proc/sys/net/ipv4/ip_forward"), "untouched\n");
      linux.sysctl = { "net.ipv4.ip_forward": "1" };
      rest.mounts?.splice(0, 1);
    });
    assert.deepEqual(run(config), { stdout: "runs\n", stderr: "", code: 0 });
    assert.equal(readFileSync(join(config.root.path, "proc/sys/net/ipv4/ip_forward"), "utf8"), "untouched\n");
    assert.equal(
      sees("cat /proc/sys/net/ipv4/ip_forward", ({ linux }) => {
        linux.sysctl = { "net.ipv4.ip_forward": "1" };
      }),
      "1\n",
    );
  },
);

test(
  "mounts[]: a destination that is swapped for a link into /proc again and again covers nothing there",
  needs,
  async () => {
    const shared = temporaryDirectory();
    mkdirSync(join(shared, "place"));
    const swapper = spawn("sh", [
      "-c",
      `cd "$0"; ln -s /proc/self/attr link; while :; do mv -T place aside; mv -T link place; mv -T place link; mv -T aside place; done`,
      shared,
    ]);
    atEnd(async () => {
      const ended = once(swapper, "exit");
      swapper.kill("SIGKILL");
      await ended;
    });
    let made = 0;
    for (let i = 0; i < 40; i++) {
      const script = "grep -c ' /proc/' /proc/self/mountinfo; true";
      const { stdout, code } = run(
        configOf(script, mounted(bind(shared, "/shared", "bind"), bind("/etc", "/shared/place", "bind"))),
      );
      // Made, refused because the link was in the way, or gone while it was looked for; never in /proc.
      if (code === 0) assert.equal(stdout, "0\n");
      if (code === 0) made++;
    }
    assert.ok(made > 0, "not one attempt came through");
  },
);

/* ---- devices ------------------------------------------------------------------------------- */

const listing = (...paths: string[]) =>
  `ls -ln ${paths.join(" ")} | awk '{ print substr($1, 1, 10), $3 ":" $4, (substr($1, 1, 1) == "p") ? "" : $5 $6, $NF }'`;

test("linux.devices: all types, with mode and owner, also outside of /dev", asRoot, () => {
  const change = ({ linux }: Config) => {
    linux.devices = [
      { path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 0o20640, uid: 1, gid: 2 },
      { path: "/dev/disk", type: "b", major: 8, minor: 1, fileMode: 0o600 },
      { path: "/dev/unbuffered", type: "u", major: 1, minor: 3 },
      { path: "/some/where/fifo", type: "p", fileMode: 0o622 },
      { path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: 0o600 },
    ];
  };
  assert.equal(
    sees(listing("/dev/fuse", "/dev/disk", "/dev/unbuffered", "/some/where/fifo", "/dev/null"), change),
    `brw------- 0:0 8,1 /dev/disk
crw-r----- 1:2 10,229 /dev/fuse
crw------- 0:0 1,3 /dev/null
crw-rw-rw- 0:0 1,3 /dev/unbuffered
prw--w--w- 0:0  /some/where/fifo
`,
  );
});

test("linux.devices: a file that is there and is another one is refused; the same device stays", asRoot, () => {
  const device = { path: "/dev/thing", type: "c", major: 1, minor: 5 } as const;
  const before = (make: (path: string) => unknown) => (config: Config) => {
    config.mounts = (config.mounts ?? []).filter(({ destination }) => !destination.startsWith("/dev"));
    config.linux.devices = [device];
    make(join(config.root.path, "dev/thing"));
  };
  assert.equal(
    sees(
      "ls /dev/thing",
      before((path) => output("mknod", path, "c", "1", "5")),
    ),
    "/dev/thing\n",
  );
  assert.equal(refused(before((path) => output("mknod", path, "c", "1", "8"))), "DEVICE_EXISTS");
  assert.equal(refused(before((path) => writeFileSync(path, ""))), "DEVICE_EXISTS");
  assert.equal(refused(before((path) => symlinkSync("/dev/zero", path))), "DEVICE_EXISTS");
  const { stderr } = run(
    configOf(
      "true",
      before((path) => writeFileSync(path, "")),
    ),
  );
  assert.match(stderr, /\(DEVICE_EXISTS\)\n {2}config: linux\.devices\[0\]\n/);
});

test(
  "devices: without a mount on /dev the default ones are made in the root filesystem; in a bound /dev nothing is",
  needs,
  () => {
    const names = "null zero full random urandom tty fd stdin stdout stderr ptmx".split(" ");
    assert.equal(
      sees(
        `cd /dev; for each in ${names.join(" ")}; do [ -e $each ] || [ -L $each ] || echo no $each; done; readlink ptmx`,
        (config) => {
          config.mounts = (config.mounts ?? []).filter(({ destination }) => !destination.startsWith("/dev"));
          writeFileSync(join(config.root.path, "dev/ptmx"), "");
        },
      ),
      "pts/ptmx\n",
    );
    const dev = temporaryDirectory();
    sees("true", (config) => {
      config.mounts = [DEFAULT_MOUNTS[0] as Mount, bind(dev, "/dev", "bind")];
    });
    assert.equal(output("ls", "-A", dev), "");
  },
);

test("devices: in a user namespace they are the machine's; a FIFO is made", asRoot, () => {
  assert.equal(
    sees("echo hi >/dev/null && stat -c %t:%T /dev/null /dev/zero; test -p /fifo && echo fifo", (config) => {
      inUserNamespace(config);
      config.linux.devices = [{ path: "/fifo", type: "p", fileMode: 0o600 }];
    }),
    "1:3\n1:5\nfifo\n",
  );
});

test("mounts[] mqueue: in a user namespace the root of the queues is its root's", asRoot, () => {
  assert.equal(
    sees("stat -c %u:%g:%a /dev/mqueue", (config) => {
      inUserNamespace(config);
      config.mounts?.push({ destination: "/dev/mqueue", type: "mqueue", source: "mqueue" });
    }),
    "0:0:1777\n",
  );
});

const MADE: Device[] = [
  { path: "/dev/other", type: "c", major: 1, minor: 5, fileMode: 0o20157, uid: 10, gid: 11 },
  { path: "/some/where/full", type: "u", major: 1, minor: 7 },
  { path: "/dev/zero", type: "c", major: 1, minor: 3, fileMode: 0o600 },
];

function withMade(config: Config): void {
  inUserNamespace(config);
  // As engines copy it from the machine.
  const { mode, uid, gid } = statSync("/dev/full");
  const copied: Device = { path: "/dev/full", type: "c", major: 1, minor: 7, fileMode: mode, uid, gid };
  config.linux.devices = [...MADE, copied, copied];
}

test(
  "linux.devices: what the machine lacks, or has otherwise, is made for a user namespace too, as under crun",
  asRoot,
  () => {
    const script = `${listing("/dev/other", "/some/where/full", "/dev/zero", "/dev/full")}
head -c 2 /dev/other | od -An -tx1; (echo x >/some/where/full) 2>&1; echo gone >/dev/zero
awk '$5 == "/dev/full" || $5 == "/dev/other" || $5 == "/dev/null" { print $5, $6, ($9 == "tmpfs") ? "made" : "bound" }' /proc/self/mountinfo | sort`;
    assert.equal(
      sees(script, withMade),
      `crw-rw-rw- 65534:65534 1,7 /dev/full
c--xr-xrwx 10:11 1,5 /dev/other
crw------- 0:0 1,3 /dev/zero
crw-rw-rw- 0:0 1,7 /some/where/full
 00 00
sh: write error: No space left on device
/dev/full rw,relatime bound
/dev/null rw,nosuid,noexec,relatime bound
/dev/other rw,relatime made
`,
    );
  },
);

test("linux.devices: without CAP_MKNOD a user namespace has the machine's node, as it had", asRoot, () => {
  const config = configOf(listing("/dev/zero"), (it) => {
    withMade(it);
    it.linux.devices = MADE.slice(2);
  });
  const bundle = temporaryDirectory();
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  const runtime = join(temporaryDirectory(), "tupper-runtime");
  symlinkSync(binary, runtime);
  const without = ["--bounding-set", "-mknod", "--inh-caps", "-mknod", runtime, "--root", join(bundle, "state")];
  assert.equal(
    output("setpriv", ...without, "run", "--bundle", bundle, `no-mknod-${process.pid}`),
    "crw-rw-rw- 65534:65534 1,5 /dev/zero\n",
  );
});

test(
  "linux.devices: from a node that was made for a user namespace there is no way to another, nor past the device rules",
  asRoot,
  () => {
    const script = `
tell() { "$@" 2>&1 && echo "done: $*"; }
chmod 666 /dev/kmsg /dev/other && chown 3:4 /dev/other
tell head -c 1 /dev/kmsg
tell mknod /dev/mine c 1 5
tell mount -o remount,size=1m /dev/other
tell mount -o remount,bind,dev,suid,exec /dev/other
tell ls /dev/other/..
ls /proc/self/fd/ | tr '\\n' ' '; ls -l /proc/1/fd 2>/dev/null | grep -c '/[0-9]$'
head -c 1 /dev/other | od -An -tx1
umount /dev/kmsg && stat -c %F /dev/kmsg; echo unchanged >>/etc/target; cat /etc/target`;
    assert.equal(
      sees(script, (config) => {
        withMade(config);
        writeFileSync(join(config.root.path, "etc/target"), "a file\n");
        output("chown", "100000:100000", join(config.root.path, "etc/target"));
        symlinkSync("/etc/target", join(config.root.path, "link"));
        config.linux.devices?.push(
          { path: "/dev/kmsg", type: "c", major: 1, minor: 11, fileMode: 0o600 },
          { path: "/link", type: "c", major: 1, minor: 11 },
        );
      }),
      `head: /dev/kmsg: Operation not permitted
mknod: /dev/mine: Operation not permitted
mount: permission denied (are you root?)
done: mount -o remount,bind,dev,suid,exec /dev/other
ls: /dev/other/..: Not a directory
0 1 2 3 0
 00
regular empty file
a file
unchanged
`,
    );
  },
);

/* ---- the root ------------------------------------------------------------------------------ */

test("root.path: relative to the bundle, a link, a mount point; root.readonly", asRoot, () => {
  const rootfs = makeRootfs();
  const parent = temporaryDirectory();
  symlinkSync(rootfs, join(parent, "link"));
  assert.equal(
    sees("cat /CONTAINER_ROOT_DIR; touch /made && rm /made", ({ root }) => {
      root.path = join(parent, "link");
    }),
    "inside\n",
  );
  output("mount", "--bind", rootfs, rootfs);
  atEnd(() => spawnSync("umount", ["-l", rootfs]));
  assert.equal(
    sees("touch /made 2>&1; true", (config) => {
      config.root = { path: rootfs, readonly: true };
    }),
    "touch: /made: Read-only file system\n",
  );
  assert.equal(lstatSync(join(parent, "link")).isSymbolicLink(), true);
});

test("root.readonly: a working directory that is missing is made all the same", needs, () => {
  assert.equal(
    sees("pwd; touch made 2>&1; stat -c %a .", (config) => {
      config.root = { path: makeRootfs(), readonly: true };
      config.process.cwd = "/made/by/run";
    }),
    "/made/by/run\ntouch: made: Read-only file system\n755\n",
  );
});

// Go's decoder, and so runc, does not look at the case: who wrote `readOnly` believes the root to be read-only.
test("root.readOnly: a property in other letters is what it is meant for, with a warning", needs, () => {
  const config = configOf("touch /made 2>&1; true", ({ root }) => {
    Object.assign(root, { readOnly: true });
  });
  assert.deepEqual(run(config), {
    stdout: "touch: /made: Read-only file system\n",
    stderr: "warning: the property readOnly is taken for readonly\n",
    code: 0,
  });
});

test(
  "--no-pivot: the same view, entered by MS_MOVE and chroot, with no proc or sysfs of the machine under it",
  needs,
  () => {
    const script =
      "ls /; cat /CONTAINER_ROOT_DIR; ls /proc/1/exe; grep -c -e ' - proc ' -e ' - sysfs ' /proc/self/mountinfo";
    assert.equal(sees(script, undefined, "--no-pivot"), sees(script));
    assert.equal(
      refused(({ linux }) => {
        linux.rootfsPropagation = "rprivate";
      }, "--no-pivot"),
      "NO_PIVOT_PRIVATE",
    );
  },
);

test(
  "mounts[] sysfs: in a user namespace without a network namespace the machine's /sys is shown, read-only",
  asRoot,
  () => {
    const change = (config: Config) => {
      inUserNamespace(config);
      config.linux.namespaces = (config.linux.namespaces ?? []).filter(({ type }) => type !== "network");
    };
    assert.equal(
      sees("ls -d /sys/class/net; awk '$5 == \"/sys\" { print $6 }' /proc/self/mountinfo", change),
      "/sys/class/net\nro,nosuid,nodev,noexec,relatime\n",
    );
  },
);
