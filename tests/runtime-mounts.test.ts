/** Mounts of a config.json, as the container sees them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config, Mount } from "../src/spec/config.ts";
import { atEnd, binary, isRoot, output, temporaryDirectory, watchForLeftovers } from "./harness.ts";
import { missing } from "./missing.ts";
import { fillRootfs } from "./rootfs.ts";
import {
  bind,
  configOf,
  DEFAULT_MOUNTS,
  inUserNamespace,
  machineMount,
  mounted,
  mountsAt,
  refused,
  run,
  sees,
} from "./runtime-config.ts";

watchForLeftovers();
const needs = { skip: missing("subuid", "package:busybox-static") };
const asRoot = { skip: missing("root") || needs.skip };
/** Before Linux 5.12 no mount shows other owners. */
const cannotMapOwners = missing("kernel:5.12") !== false;

/* ---- sources below the root filesystem ------------------------------------------------------ */

/** Two directories of the machine, mounted into each other, and then sources that are there only because of that. */
function chained(...options: string[]) {
  return (config: Config): void => {
    const root = config.root.path;
    const [a, b] = ["a", "b"].map((name) => {
      const directory = temporaryDirectory();
      mkdirSync(join(directory, "x"));
      writeFileSync(join(directory, "file"), `${name}\n`);
      return directory;
    });
    mounted(
      bind(a ?? "", "/mnt", "bind"),
      bind(b ?? "", "/mnt/x", "bind"),
      bind(join(root, "mnt/x"), "/of-b", "bind", ...options),
      // Where the caller sees it is as good a name for the destination.
      bind(join(root, "mnt"), join(root, "all"), "rbind", ...options),
      bind(join(root, "mnt"), "/alone", "bind", ...options),
    )(config);
  };
}

test("mounts[].source: below the root filesystem it is what earlier mounts have made of it", asRoot, () => {
  const script = "cat /of-b/file /all/file /all/x/file /alone/file; ls /alone/x";
  for (const change of [chained(), chained("ro"), chained("src-nofollow")])
    assert.equal(sees(script, change), "b\na\nb\na\n");
  const inside = (config: Config) => {
    chained()(config);
    inUserNamespace(config);
  };
  assert.equal(sees(script, inside), "b\na\nb\na\n");
});

test("mounts[].source: below the root filesystem, with owners mapped", asRoot, () => {
  const mapped = chained("idmap=uids=0-2000-1;gids=0-3000-1");
  if (cannotMapOwners) return assert.equal(refused(mapped), "MOUNT_IDMAP_REFUSED");
  assert.equal(sees("stat -c '%u:%g' /of-b/file /mnt/x/file", mapped), "2000:3000\n0:0\n");
});

test("mounts[].source: one below the root filesystem that no earlier mount makes is the machine's", needs, () => {
  const outside = temporaryDirectory();
  writeFileSync(join(outside, "file"), "outside\n");
  const change = (config: Config) => {
    mkdirSync(join(config.root.path, "here"));
    symlinkSync(outside, join(config.root.path, "link"));
    mounted(
      bind(join(config.root.path, "here"), "/data", "bind"),
      bind(join(config.root.path, "link"), "/other", "bind"),
    )(config);
  };
  assert.equal(sees("ls /data; cat /other/file", change), "outside\n");
});

/* ---- options ------------------------------------------------------------------------------- */

test(
  "mounts[].options: a bind mount has the flags that are named, as under runc, and its source's when none is",
  asRoot,
  () => {
    const source = machineMount("nosuid,noexec,relatime", "nodev,relatime");
    const at = (...options: string[]) =>
      sees(mountsAt("/data"), mounted(bind(source, "/data", "rprivate", ...options)));
    assert.equal(at("rbind"), "/data rw,nosuid,noexec,relatime\n/data/below rw,nodev,relatime\n");
    assert.equal(at("bind"), "/data rw,nosuid,noexec,relatime\n");
    assert.equal(at("rbind", "ro"), "/data ro,relatime\n/data/below rw,nodev,relatime\n");
    assert.equal(at("rbind", "rro"), "/data ro,nosuid,noexec,relatime\n/data/below ro,nodev,relatime\n");
    assert.equal(at("rbind", "noatime"), "/data rw,noatime\n/data/below rw,nodev,relatime\n");
    assert.equal(at("bind", "noatime", "strictatime"), "/data rw\n");
    assert.equal(at("bind", "nodiratime", "nodev"), "/data rw,nodev,nodiratime,relatime\n");
  },
);

test(
  "mounts[].options: suid, dev, exec, rw, atime take flags of the source away, with r before them below too",
  asRoot,
  () => {
    const source = machineMount("nosuid,nodev,noexec,noatime", "nosuid,noexec");
    output("mount", "-o", "remount,bind,ro", source);
    const at = (...options: string[]) =>
      sees(mountsAt("/data"), mounted(bind(source, "/data", "rprivate", ...options)));
    assert.equal(at("bind"), "/data ro,nosuid,nodev,noexec,noatime\n");
    assert.equal(at("bind", "rw", "atime"), "/data rw,relatime\n");
    assert.equal(at("bind", "rw", "norelatime", "nostrictatime"), "/data rw,noatime\n");
    assert.equal(at("bind", "suid", "dev", "exec", "rw"), "/data rw,noatime\n");
    assert.equal(at("rbind", "rsuid", "rexec", "rrw", "ratime"), "/data rw,nodev,relatime\n/data/below rw,relatime\n");
  },
);

test("mounts[].options: in a user namespace what the machine locked cannot be taken away", asRoot, () => {
  const source = machineMount("nosuid,noexec");
  output("chmod", "755", source);
  const change =
    (...options: string[]) =>
    (config: Config) => {
      inUserNamespace(config);
      mounted(bind(source, "/data", "bind", "rprivate", ...options))(config);
    };
  assert.match(sees(mountsAt("/data"), change("ro")), /^\/data ro,nosuid,noexec/);
  assert.equal(refused(change("exec")), "TAKE_TREE_FAILED");
});

test(
  "mounts[].source: in a user namespace a mount without those below it, and with access times of its own, is taken outside, as under crun",
  asRoot,
  () => {
    const change =
      (...options: string[]) =>
      (config: Config) => {
        inUserNamespace(config);
        mounted(bind(source, "/data", "rprivate", ...options))(config);
      };
    let source = machineMount("mode=755,strictatime", "mode=755");
    assert.equal(sees(mountsAt("/data"), change("rbind")), "/data rw\n/data/below rw,relatime\n");
    assert.equal(sees(mountsAt("/data"), change("bind")), "/data rw\n");
    assert.equal(sees(mountsAt("/data"), change("bind", "relatime", "ro")), "/data ro,relatime\n");
    // Who reads it outside may keep it for himself.
    chownSync(source, 4242, 4242);
    chmodSync(source, 0o700);
    assert.equal(sees(mountsAt("/data"), change("bind", "noatime")), "/data rw,noatime\n");
    // Not what the container's root could then take away.
    for (const flag of ["ro", "nosuid", "nodev", "noexec"]) {
      source = machineMount("mode=755", "mode=755");
      output("mount", "-o", `remount,bind,${flag}`, source);
      const { stderr } = run(configOf("true", change("bind")));
      assert.match(stderr, /TAKE_TREE_FAILED.*\n(.*\n)* {2}hint: .* which rbind takes along/, flag);
    }
  },
);

test(
  "mounts[].source: what the root of a user namespace may not reach is taken by who started the container",
  asRoot,
  () => {
    const closed = machineMount("mode=700,nosuid,noexec", "nodev");
    // Neither the machine's root nor the container's: only rights over all files of the machine lead in.
    chownSync(closed, 4242, 4242);
    const change =
      (...mounts: Mount[]) =>
      (config: Config) => {
        inUserNamespace(config);
        mounted(...mounts)(config);
      };
    const two = change(
      bind(join(closed, "file"), "/one", "bind"),
      bind(join(closed, "below"), "/two", "rbind", "rprivate", "ro"),
    );
    assert.equal(sees(`cat /one; ${mountsAt("/two")}`, two), "outside\n/two ro,nodev,relatime\n");
    // Relative to the bundle, whose directory is closed too.
    const config = configOf("cat /one", change(bind("of-the-bundle", "/one", "bind")));
    assert.deepEqual(run(config), { stdout: "bundle\n", stderr: "", code: 0 });
    assert.equal(refused(change(bind(join(closed, "missing"), "/one", "bind"))), "MOUNT_SOURCE_MISSING");
    // What the machine locked stays locked for whoever has all capabilities inside.
    assert.equal(refused(change(bind(join(closed, "file"), "/one", "bind", "exec"))), "TAKE_TREE_FAILED");
    const remount = "mount -o remount,bind,exec /one 2>/dev/null || echo refused; grep -c noexec /proc/self/mountinfo";
    assert.match(sees(remount, change(bind(join(closed, "file"), "/one", "bind"))), /^refused\n[1-9]/);
  },
);

test("mounts[].options: of a new filesystem, in order; what is no flag goes to the filesystem", needs, () => {
  const at = (...options: string[]) =>
    sees(`${mountsAt("/data")}; stat -c %a /data`, mounted({ destination: "/data", type: "tmpfs", options }));
  assert.equal(at("ro", "rw", "nosuid", "nodev", "mode=711"), "/data rw,nosuid,nodev,relatime\n711\n");
  assert.equal(at("noexec", "strictatime", "noatime", "mode=0700"), "/data rw,noexec,noatime\n700\n");
  assert.equal(at("rnosuid", "rro", "mode=755"), "/data ro,nosuid,relatime\n755\n");
  assert.equal(refused(mounted({ destination: "/data", type: "tmpfs", options: ["no-such-option"] })), "MOUNT_FAILED");
  assert.equal(refused(mounted(bind("/etc", "/data", "bind", "no-such-option"))), "BAD_MOUNT_OPTION");
  assert.equal(refused(mounted({ destination: "/data" })), "MOUNT_TYPE_NEEDED");
});

test("mounts[].options: remount changes what an earlier mount has made", needs, () => {
  const tmpfs: Mount = { destination: "/data", type: "tmpfs", options: ["mode=755"] };
  assert.equal(
    sees(mountsAt("/data"), mounted(tmpfs, bind("none", "/data", "remount", "bind", "ro", "nosuid"))),
    "/data ro,nosuid,relatime\n",
  );
  assert.equal(
    sees(
      "df -k /data | awk 'NR == 2 { print $2 }'",
      mounted(tmpfs, { destination: "/data", type: "tmpfs", options: ["remount", "size=4m"] }),
    ),
    "4096\n",
  );
});

test(
  "mounts[]: type bind is enough, a relative source is the bundle's, a relative destination is below /",
  needs,
  () => {
    const { stdout, stderr } = run(
      configOf("cat /data/file", mounted({ destination: "data/file", type: "bind", source: "of-the-bundle" })),
    );
    assert.equal(stdout, "bundle\n");
    assert.match(stderr, /^warning: .*deprecated/);
  },
);

test(
  "mounts[]: a tmpfs has the mode of the directory that it covers, and read-only it can still be mounted in",
  needs,
  () => {
    const change = (config: Config) => {
      output("chmod", "1750", join(config.root.path, "home"));
      mounted(
        { destination: "/home", type: "tmpfs", options: ["ro"] },
        { destination: "/home/inner", type: "tmpfs", options: ["mode=700"] },
        { destination: "/new", type: "tmpfs" },
      )(config);
    };
    assert.equal(
      sees("stat -c '%n %a' /home /home/inner /new; touch /home/x 2>&1; touch /home/inner/x && echo made", change),
      "/home 1750\n/home/inner 700\n/new 1777\ntouch: /home/x: Read-only file system\nmade\n",
    );
  },
);

test("mounts[].options tmpcopyup: the tmpfs begins with what the root filesystem has there", asRoot, () => {
  const change = (config: Config) => {
    const data = join(config.root.path, "data");
    mkdirSync(join(data, "directory"), { recursive: true });
    writeFileSync(join(data, "directory/file"), "copied\n", { mode: 0o640 });
    chownSync(join(data, "directory/file"), 3, 4);
    output("ln", join(data, "directory/file"), join(data, "hard"));
    symlinkSync("directory/file", join(data, "soft"));
    output("chmod", "2711", data);
    config.mounts = [{ destination: "/data", type: "tmpfs", options: ["tmpcopyup", "size=1m"] }, ...DEFAULT_MOUNTS];
  };
  const config = configOf(
    "cat /data/soft; stat -c '%u:%g %a %h' /data/hard; stat -c %a /data; stat -f -c %T /data; touch /data/new",
    change,
  );
  const { stdout, stderr } = run(config);
  assert.deepEqual({ stdout, stderr }, { stdout: "copied\n3:4 640 2\n2711\ntmpfs\n", stderr: "" });
  assert.equal(existsSync(join(config.root.path, "data/new")), false);
});

test("mounts[].options of crun: copy-symlink, src-nofollow, dest-nofollow", needs, () => {
  const link = join(temporaryDirectory(), "link");
  symlinkSync("/no/where", link);
  assert.equal(sees("readlink /a/link", mounted(bind(link, "/a/link", "copy-symlink"))), "/no/where\n");
  assert.equal(
    sees("readlink /link; grep -c ' /link ' /proc/self/mountinfo", (config) => {
      symlinkSync("/etc", join(config.root.path, "link"));
      mounted(bind(link, "/link", "src-nofollow", "dest-nofollow"))(config);
    }),
    "/no/where\n1\n",
  );
});

test("mounts[] proc: hidepid and subset are the filesystem's", needs, () => {
  const script = "awk '$5 == \"/proc\" { print $NF }' /proc/self/mountinfo; ls /proc/sys 2>&1";
  const change = (config: Config) => {
    config.mounts?.splice(0, 1, { destination: "/proc", type: "proc", options: ["hidepid=2", "subset=pid"] });
  };
  const { stdout } = run(configOf(script, change));
  assert.equal(stdout, "rw,hidepid=invisible,subset=pid\nls: /proc/sys: No such file or directory\n");
});

/* ---- propagation --------------------------------------------------------------------------- */

test("propagation: without options mounts follow the machine, as rootfsPropagation is rslave", asRoot, () => {
  const source = machineMount("mode=755", "mode=755");
  const at = (rootfsPropagation: string | undefined, ...options: string[]) =>
    sees(mountsAt("/data"), (config) => {
      if (rootfsPropagation !== undefined) config.linux.rootfsPropagation = rootfsPropagation;
      mounted(bind(source, "/data", "rbind", ...options))(config);
    })
      .split("\n")
      .map((line) => line.replace(/^\S+ \S+ ?/, ""))
      .slice(0, 2);
  const [none, slave, shared, both] = ["", "master", "shared", "shared master"];
  assert.deepEqual(at(undefined), [slave, slave]);
  assert.deepEqual(at(undefined, "rprivate"), [none, none]);
  assert.deepEqual(at(undefined, "private"), [none, slave]);
  assert.deepEqual(at(undefined, "rshared"), [both, both]);
  assert.deepEqual(at("rprivate"), [none, none]);
  assert.deepEqual(at("rprivate", "rslave"), [none, none]);
  assert.deepEqual(at("shared"), [shared, shared]);
  assert.deepEqual(at("shared", "rslave"), [slave, slave]);
  assert.deepEqual(at("shared", "unbindable"), ["unbindable", shared]);
});

test("linux.rootfsPropagation: of the root itself; a word that is none is refused", needs, () => {
  const at = (rootfsPropagation: string) =>
    sees(
      "awk '$5 == \"/\" || $5 == \"/proc\" { print $5, $7 }' /proc/self/mountinfo | sed 's/:.*//' | sort",
      (config) => {
        config.linux.rootfsPropagation = rootfsPropagation;
      },
    );
  assert.equal(at("rprivate"), "/ -\n/proc -\n");
  assert.equal(at("shared"), "/ shared\n/proc -\n");
  assert.equal(at("rshared"), "/ shared\n/proc shared\n");
  assert.equal(at("unbindable"), "/ unbindable\n/proc -\n");
  assert.match(
    refused((config) => {
      config.linux.rootfsPropagation = "sahred";
    }),
    /^(BAD_PROPAGATION|CONFIG_INVALID)$/,
  );
});

test(
  "linux.rootfsPropagation shared: what the container mounts in a shared mount appears on the machine",
  asRoot,
  () => {
    const source = machineMount("mode=755");
    sees("mount -t tmpfs from-inside /data/below", (config) => {
      config.linux.rootfsPropagation = "shared";
      mounted(bind(source, "/data", "rbind", "rshared"))(config);
    });
    assert.match(readFileSync("/proc/self/mountinfo", "utf8"), / - tmpfs from-inside /);
  },
);

test("linux.rootfsPropagation: where the machine shares all its mounts, none of the set-up shows there", asRoot, () => {
  const bundle = temporaryDirectory();
  const runtime = join(bundle, "tupper-runtime");
  symlinkSync(binary, runtime);
  for (const flags of [[], ["--no-pivot"]]) {
    for (const rootfsPropagation of ["rslave", "slave", "shared", "rshared", "unbindable"]) {
      const config = configOf("true", (changed) => {
        changed.linux.rootfsPropagation = rootfsPropagation;
        mounted(bind(bundle, "/data", "rbind"))(changed);
      });
      writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
      const command = `"${runtime}" --root "${bundle}/state" run ${flags.join(" ")} --bundle "${bundle}" shared-${process.pid}`;
      const script = `mount --make-rshared /; before=$(cat /proc/self/mountinfo); ${command} && [ "$before" = "$(cat /proc/self/mountinfo)" ] && echo untouched`;
      const { stdout, stderr } = spawnSync("unshare", ["-m", "sh", "-c", script], { encoding: "utf8" });
      assert.deepEqual({ stdout, stderr }, { stdout: "untouched\n", stderr: "" }, `${rootfsPropagation} ${flags}`);
    }
  }
});

/* ---- owners -------------------------------------------------------------------------------- */

function owned(): string {
  const directory = temporaryDirectory();
  for (const [name, uid] of [
    ["a", 1000],
    ["b", 0],
  ] as const) {
    writeFileSync(join(directory, name), "");
    chownSync(join(directory, name), uid, uid + 1);
  }
  return directory;
}

const OWNERS = "cd /data; stat -c '%n %u:%g' a b";

test("mounts[].uidMappings and gidMappings: files under other owners", asRoot, () => {
  const directory = owned();
  const mappings = {
    uidMappings: [{ containerID: 1000, hostID: 5, size: 1 }],
    gidMappings: [{ containerID: 1, hostID: 6, size: 2000 }],
  };
  if (cannotMapOwners)
    return assert.equal(refused(mounted({ ...bind(directory, "/data", "bind"), ...mappings })), "MOUNT_IDMAP_REFUSED");
  assert.equal(sees(OWNERS, mounted({ ...bind(directory, "/data", "bind"), ...mappings })), "a 5:1006\nb 65534:6\n");
  assert.equal(
    sees(OWNERS, mounted(bind(directory, "/data", "bind", "idmap=uids=1000-0-1#0-7-1;gids=1001-5-1#1-9-1"))),
    "a 0:5\nb 7:9\n",
  );
  // Nobody outside has it open.
  assert.equal(sees("umount /data && ls /data", mounted({ ...bind(directory, "/data", "bind"), ...mappings })), "");
});

test("mounts[].options idmap: the mappings of the container's user namespace; ridmap with the mounts below", {
  skip: asRoot.skip || missing("kernel:6.3"),
}, () => {
  // tmpfs shows other owners since then
  const directory = owned();
  mkdirSync(join(directory, "below"));
  output("mount", "-t", "tmpfs", "-o", "mode=755", "none", join(directory, "below"));
  atEnd(() => spawnSync("umount", ["-l", join(directory, "below")]));
  const at = (option: string) =>
    sees(`${OWNERS}; stat -c '%n %u:%g' below; touch made; rm made`, (config) => {
      inUserNamespace(config);
      mounted(bind(directory, "/data", "rbind", option))(config);
    });
  output("chmod", "755", directory);
  assert.equal(at("idmap"), "a 1000:1001\nb 0:1\nbelow 65534:65534\n");
  assert.equal(at("ridmap"), "a 1000:1001\nb 0:1\nbelow 0:0\n");
});

test("mounts[] uidMappings, idmap of a new filesystem: its files have other owners, as under crun", {
  skip: asRoot.skip || missing("kernel:6.3"),
}, () => {
  const tmpfs = (change: Partial<Mount>, ...options: string[]): Mount => ({
    destination: "/data",
    type: "tmpfs",
    options: ["size=1m", ...options],
    ...change,
  });
  const range = (containerID: number, hostID: number, size: number) => ({ containerID, hostID, size });
  const swapped = [range(0, 1000, 1), range(1000, 0, 1), range(1001, 1001, 10)];
  const maps = { uidMappings: swapped, gidMappings: swapped };
  const script =
    "stat -c '%n %u:%g %a' /data /data/* 2>/dev/null; grep -c idmapped /proc/self/mountinfo; df -k /data | awk 'END { print $2 }'";
  const withFile = (mount: Mount) => (config: Config) => {
    mkdirSync(join(config.root.path, "data"), { mode: 0o751 });
    writeFileSync(join(config.root.path, "data/file"), "");
    chownSync(join(config.root.path, "data/file"), 1005, 1006);
    chownSync(join(config.root.path, "data"), 1001, 1002);
    mounted(mount)(config);
  };
  assert.equal(sees(script, withFile(tmpfs(maps, "mode=711"))), "/data 1000:1000 711\n1\n1024\n");
  assert.equal(
    sees(script, withFile(tmpfs(maps, "tmpcopyup"))),
    "/data 1001:1002 751\n/data/file 1005:1006 644\n1\n1024\n",
  );
  const inside = (option: string) => (config: Config) => {
    inUserNamespace(config);
    mounted(tmpfs({}, option, "ro", "mode=750"))(config);
  };
  const owned = "stat -c '%u:%g %a' /data; touch /data/made 2>&1 | grep -c Read-only";
  assert.equal(sees(owned, inside("idmap")), "0:0 750\n1\n");
  assert.equal(sees(owned, inside("idmap=uids=0-100007-1;gids=0-100008-1")), "7:8 750\n1\n");
});

test("mounts[].options idmap: refused where it cannot be, with the reason", asRoot, () => {
  const { stderr } = run(
    configOf("true", mounted({ destination: "/data", type: "ramfs", options: ["idmap=uids=0-1-1;gids=0-1-1"] })),
  );
  if (!cannotMapOwners)
    assert.match(stderr, /^error: ramfs cannot show other owners \(MOUNT_IDMAP_REFUSED\)\n {2}config: mounts\[4\]\n/);
  assert.equal(refused(mounted(bind("/proc", "/data", "bind", "idmap=uids=0-1-1;gids=0-1-1"))), "MOUNT_IDMAP_REFUSED");
  assert.match(refused(mounted(bind("/etc", "/data", "bind", "idmap"))), /^(MOUNT_IDMAP_REFUSED|CONFIG_CONFLICT)$/);
  assert.match(
    refused(mounted({ destination: "/data", type: "tmpfs", options: ["idmap"] })),
    /^(MOUNT_IDMAP_REFUSED|CONFIG_CONFLICT)$/,
  );
  const nonsense = mounted(bind("/etc", "/data", "bind", "idmap=nonsense"));
  assert.equal(refused(nonsense), cannotMapOwners ? "MOUNT_IDMAP_REFUSED" : "BAD_MOUNT_OPTION");
});

/* ---- on the root ---------------------------------------------------------------------------- */

const first =
  (mount: Mount) =>
  (config: Config): void => {
    config.mounts?.unshift(mount);
  };

/** Another root filesystem, with a file that says so. Not in /tmp, which systemd mounts with nosuid and nodev: a bind mount has both then, and no device in it can be opened. */
function otherRoot(): string {
  const root = fillRootfs(temporaryDirectory("/var/tmp"));
  writeFileSync(join(root, "other"), "other\n");
  return root;
}

/** What is on `/`, the places mounted below it, and how often there is a mount at `/`. */
const COVERED = `cat /other; awk '$5 == "/" { n++; print $6 } END { print n }' /proc/self/mountinfo; ls -d /dev/null /sys/kernel`;
const FLAGS_ON = /^other\n(rw|ro),relatime\n1\n\/dev\/null\n\/sys\/kernel\n$/;

test(
  "mounts[].destination /: a bind mount is the root, and what comes after it stands in it, as under crun",
  needs,
  () => {
    const cover = bind(otherRoot(), "/", "bind");
    const onCover = (change: (config: Config) => void, ...flags: string[]): string | undefined =>
      FLAGS_ON.exec(
        sees(
          COVERED,
          (config) => {
            first(cover)(config);
            change(config);
          },
          ...flags,
        ),
      )?.[1];
    assert.equal(
      onCover(() => {}),
      "rw",
    );
    assert.equal(
      onCover((config) => Object.assign(config.root, { readonly: true })),
      "ro",
    );
    assert.equal(
      onCover(() => {}, "--no-pivot"),
      "rw",
    );
    // A mount namespace begins with the machine's mounts shared: pivot_root refuses that.
    if (isRoot)
      for (const rootfsPropagation of ["shared", "rslave", "private", "unbindable"])
        assert.equal(
          onCover((config) => Object.assign(config.linux, { rootfsPropagation })),
          "rw",
          rootfsPropagation,
        );
  },
);

test("mounts[].destination /: what was mounted before it is not there", needs, () => {
  const cover = bind(otherRoot(), "/", "bind");
  assert.equal(sees("cat /other; ls -d /proc/self /dev/pts/ptmx 2>/dev/null; true", mounted(cover)), "other\n");
  const again = mounted(cover, { destination: "/proc", type: "proc" });
  const masked = (config: Config) => {
    again(config);
    Object.assign(config.linux, { maskedPaths: ["/proc/uptime"], sysctl: { "net.ipv4.ip_forward": "1" } });
  };
  const script = "awk '{ print $5 }' /proc/self/mountinfo; cat /proc/sys/net/ipv4/ip_forward; wc -c </proc/uptime";
  const seen = sees(script, masked);
  assert.equal(seen.replace(/^\/dev.*\n/gm, ""), "/\n/proc\n/proc/uptime\n1\n0\n");
});

test("mounts[].destination /: a tmpfs, which tmpcopyup fills; ro holds once all is in it", needs, () => {
  const root = (...options: string[]): Mount => ({ destination: "/", type: "tmpfs", options });
  const script = "ls /; touch /made && ls -d /made";
  const change = (config: Config) => {
    writeFileSync(join(config.root.path, "of-the-root"), "");
    first(root("size=32m", "tmpcopyup"))(config);
    Object.assign(config.root, { readonly: false });
  };
  assert.match(sees(script, change), /^(.*\n)*bin\n(.*\n)*of-the-root\n(.*\n)*\/made\n$/);
  const bin = bind(join(otherRoot(), "bin"), "/bin", "bind");
  const empty = (config: Config) => config.mounts?.unshift(root("ro", "mode=750"), bin);
  assert.equal(
    sees("ls /; stat -c %a /; touch /made 2>&1; true", empty as (config: Config) => void).replace(/: .*/, ""),
    "bin\ndev\nproc\nsys\n750\ntouch\n",
  );
});

test("mounts[].destination /: with hooks they see it at root.path; exec is in it; remount changes it", asRoot, () => {
  const other = otherRoot();
  const hooked = (config: Config) => {
    first(bind(other, "/", "bind"))(config);
    const args = ["sh", "-c", `cat ${config.root.path}/other >${other}/seen`];
    Object.assign(config, { hooks: { createContainer: [{ path: "/bin/sh", args }] } });
  };
  assert.equal(sees("cat /other /seen", hooked), "other\nother\n");
  const remounted = mounted(bind("none", "/", "bind", "remount", "noatime"));
  const flags = sees("awk '$5 == \"/\" { print $6 }' /proc/self/mountinfo", remounted);
  assert.match(flags, /^rw,(nosuid,nodev,)?noatime\n$/);
  const inside = (config: Config) => {
    first(bind(other, "/", "rbind", "rslave"))(config);
    inUserNamespace(config);
    output("chown", "-hR", "100000:100000", other);
  };
  assert.match(sees(COVERED, inside), FLAGS_ON);
});

test("mounts[].destination /: no filesystem of the kernel's, no file", needs, () => {
  for (const type of ["proc", "sysfs", "cgroup"])
    assert.equal(refused(mounted({ destination: "/x/..", type })), "MOUNT_ON_ROOT");
  assert.equal(refused(mounted(bind("/etc/passwd", "/", "bind"))), "PLACE_TREE_FAILED");
});

/* ---- control groups ------------------------------------------------------------------------ */

test("mounts[] cgroup: the container's own groups, with a cgroup namespace and without", {
  skip: missing("root", "package:busybox-static", "cgroup1"),
}, () => {
  const script = `cd /sys/fs/cgroup
for each in *; do [ -L $each ] || grep -qx $$ $each/cgroup.procs || echo $each is not ours; done
mkdir pids/inner 2>&1 && rmdir pids/inner && echo writable; ls pids/cgroup.procs`;
  for (const access of ["ro", "rw"]) {
    for (const own of [true, false]) {
      const stdout = sees(`${script}`, (config) => {
        if (!own) config.linux.namespaces = (config.linux.namespaces ?? []).filter(({ type }) => type !== "cgroup");
        mounted({ destination: "/sys/fs/cgroup", type: "cgroup", options: ["nosuid", "noexec", "nodev", access] })(
          config,
        );
      });
      const answer = access === "ro" ? "mkdir: can't create directory 'pids/inner': Read-only file system" : "writable";
      assert.equal(stdout, `${answer}\npids/cgroup.procs\n`, `${access}, ${own ? "with" : "without"} a namespace`);
    }
  }
});
