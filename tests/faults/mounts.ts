/** Data: faults of the root filesystem and of mounts. */
import { type Fault, inUserNamespace, withMount } from "./fault.ts";

const bind = (source: string, destination: string, ...options: string[]) => ({
  destination,
  type: "bind",
  source,
  options: ["bind", ...options],
});

export const MOUNT_FAULTS: readonly Fault[] = [
  {
    name: "a root filesystem that is not there",
    cause: /\/nowhere\/root.*(does not exist|no such)|no root filesystem at \/nowhere\/root/,
    remedy: /root\.path|make it|unpack/,
    config: (config) => ({ ...config, root: { path: "/nowhere/root" } }),
  },
  {
    name: "a root filesystem that is a file",
    cause: /\/etc\/passwd.*(not a directory|is a file|no directory)/,
    remedy: /directory.*(unpack|name)|root\.path/,
    config: (config) => ({ ...config, root: { path: "/etc/passwd" } }),
  },
  {
    name: "a bind mount whose source is not there",
    cause: /\/nowhere\/data.*(does not exist|no such)|does not exist: \/nowhere\/data/,
    remedy: /create it|mkdir/,
    config: (config) => withMount(config, bind("/nowhere/data", "/mnt")),
  },
  {
    name: "a bind mount of a file over a directory",
    cause: /file.*over a file|\/mnt is a directory|onto a file \(or vice-versa\)/,
    remedy: /destination|file over|name|is the expected type/,
    config: (config) => withMount(config, bind("/etc/passwd", "/mnt")),
  },
  {
    name: "a bind mount of a directory over a file",
    cause: /directory.*over a directory|\/etc\/passwd is a file|onto a file \(or vice-versa\)/,
    remedy: /destination|name|is the expected type/,
    config: (config) => withMount(config, bind("/etc", "/etc/passwd")),
  },
  {
    name: "a mount point that is missing in a root filesystem which is read-only",
    cause: /\/data\/here.*read-only/,
    remedy: /make.*(root filesystem|image|place)|mkdir/,
    config: (config, { own }) => withMount(config, bind(own, "/data/here")),
    before: ({ rootfs }) => `mount --bind ${rootfs} ${rootfs} && mount -o remount,bind,ro ${rootfs}`,
  },
  {
    name: "a mount point below a file",
    cause: /\/etc\/passwd is (a file|not a directory|no directory)/,
    remedy: /destination/,
    config: (config) => withMount(config, bind("/etc", "/etc/passwd/etc")),
  },
  {
    name: "a filesystem that the kernel does not have",
    cause: /no filesystem nosuchfs|unknown filesystem|nosuchfs.*not supported/,
    remedy: /modprobe|\/proc\/filesystems/,
    config: (config) => withMount(config, { destination: "/mnt", type: "nosuchfs", source: "none" }),
  },
  {
    name: "a mount option that the filesystem does not know",
    cause: /sise=64m|"sise"/,
    remedy: /tmpfs\(5\)|size\b|leave/,
    config: (config) =>
      withMount(config, { destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["sise=64m"] }),
  },
  {
    name: "a mount option whose value is none",
    cause: /size=lots/,
    remedy: /tmpfs\(5\)|64m|number/,
    config: (config) =>
      withMount(config, { destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["size=lots"] }),
  },
  {
    name: "a disk that is not there",
    cause: /\/dev\/nodisk.*(not exist|no such|not there)/,
    remedy: /lsblk|source/,
    config: (config) => withMount(config, { destination: "/mnt", type: "ext4", source: "/dev/nodisk" }),
  },
  {
    name: "a filesystem for disks, of a source that is a file",
    cause: /(is not|no) (a )?block device/,
    remedy: /losetup|loop/,
    config: (config, { rootfs }) =>
      withMount(config, { destination: "/mnt", type: "ext4", source: `${rootfs}/etc/passwd` }),
  },
  {
    name: "an overlay whose lower directory is not there",
    cause: /\/nowhere\/lower.*(not exist|no such|not there)/,
    remedy: /make it|mkdir|create/,
    config: (config) =>
      withMount(config, {
        destination: "/mnt",
        type: "overlay",
        source: "overlay",
        options: ["lowerdir=/nowhere/lower:/etc"],
      }),
  },
  {
    name: "an overlay whose upper and work directory lie on different filesystems",
    cause: /work(dir| directory).*(same|differ|another) |upper.*work.*(same|differ|another)/,
    remedy: /same (filesystem|mount)|beside/,
    config: (config, { rootfs, own }) =>
      withMount(config, {
        destination: "/mnt",
        type: "overlay",
        source: "overlay",
        options: [`lowerdir=${rootfs}/srv`, `upperdir=${own}/upper`, `workdir=${own}/work`],
      }),
    before: ({ own }) =>
      `mkdir ${own}/upper ${own}/work && mount -t tmpfs none ${own}/upper && mount -t tmpfs none ${own}/work`,
  },
  {
    name: "a mount into /proc that would hide the kernel's files",
    cause: /\/proc\/sys\/kernel.*inside \/?proc/,
    remedy: /can be mounted on|another (place|destination)|outside/,
    config: (config) => withMount(config, bind("/etc", "/proc/sys/kernel")),
  },
  {
    name: "/proc of the root filesystem is a symbolic link",
    cause: /\/proc.*symbolic link|\/proc.*symlink/,
    remedy: /directory/,
    config: (config, { own }) => ({ ...config, root: { path: `${own}/root` } }),
    before: ({ own, rootfs }) => `cp -a ${rootfs} ${own}/root && rmdir ${own}/root/proc && ln -s /etc ${own}/root/proc`,
  },
  {
    name: "in a user namespace: a mount that the machine has read-only is to be writable",
    cause: /locked/,
    remedy: /leave away|without|ro\b/,
    config: (config, { own }) => withMount(inUserNamespace(config), bind(`${own}/data`, "/mnt", "rw", "exec")),
    before: ({ own }) => `mkdir ${own}/data && mount -t tmpfs -o ro,noexec,nosuid none ${own}/data`,
    prefix: () => ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "slave"],
  },
  {
    name: "in a user namespace: a new proc where parts of the machine's are covered",
    cause: /proc.*\/proc\/\S+.*mounted over/,
    remedy: /systempaths=unconfined|unmask/,
    config: (config) => inUserNamespace(config),
    before: () => "mount -t tmpfs none /proc/sys/kernel/random && mount --bind /dev/null /proc/version",
  },
  {
    name: "in a user namespace: an ext4 disk",
    cause: /user namespace.*ext4|ext4.*user namespace/,
    remedy: /bind/,
    config: (config) => inUserNamespace(withMount(config, { destination: "/mnt", type: "ext4", source: "/dev/null" })),
  },
  {
    name: "owners of a bind mount mapped, on a filesystem that cannot",
    cause: /(proc|filesystem).*(cannot|not|no).*(map|idmap)/i,
    remedy: /without|leave|filesystem|copy/,
    config: (config) =>
      withMount(config, {
        ...bind("/proc/self/fdinfo", "/mnt"),
        uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
        gidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
      } as never),
  },
  {
    name: "a device that is there already as another kind of file",
    cause: /\/etc\/passwd/,
    remedy: /linux\.devices|remove|another path/,
    config: (config) => ({
      ...config,
      linux: { ...config.linux, devices: [{ path: "/etc/passwd", type: "c", major: 1, minor: 3 }] },
    }),
  },
  {
    name: "no space left where the record is written",
    cause: /no space left/i,
    remedy: /free|--root|df/,
    before: ({ own }) => `mount -t tmpfs -o size=4k,nr_inodes=3 none ${own}/state`,
  },
  {
    name: "a record's directory that is read-only",
    cause: /read-only/,
    remedy: /--root|writable|remount/,
    before: ({ own }) => `mount -t tmpfs -o ro none ${own}/state`,
  },
];
