/** Data: faults of namespaces, of the caller's rights and of what surrounds the runtime. */
import { type Fault, inUserNamespace, withLinux, withNamespace } from "./fault.ts";

/** A user namespace of our own, in which a limit is set that counts for all below it. */
const limited = (name: string, value: number) => () => [
  "unshare",
  "--user",
  "--map-root-user",
  "--mount",
  "sh",
  "-c",
  `echo ${value} >/proc/sys/user/${name}; exec "$@"`,
  "sh",
];

export const NAMESPACE_FAULTS: readonly Fault[] = [
  {
    name: "user.max_user_namespaces is 0",
    cause: /user\.max_user_namespaces is 0/,
    remedy: /sysctl -w user\.max_user_namespaces/,
    config: (config) => inUserNamespace(config),
    prefix: limited("max_user_namespaces", 0),
  },
  {
    name: "user.max_net_namespaces is 0",
    cause: /user\.max_net_namespaces is 0/,
    remedy: /sysctl -w user\.max_net_namespaces/,
    config: (config) => inUserNamespace(config),
    // A limit counts for the user who has made the namespace above.
    prefix: limited("max_net_namespaces", 0),
  },
  {
    name: "user.max_mnt_namespaces is reached",
    cause: /user\.max_mnt_namespaces|limit is reached/,
    remedy: /sysctl|raise|end what/,
    config: (config) => inUserNamespace(config),
    prefix: limited("max_mnt_namespaces", 1),
  },
  {
    name: "uid 0 without any capability",
    cause: /CAP_SYS_ADMIN|capabilit/,
    remedy: /--privileged|cap-add|root|user namespace/,
    prefix: () => ["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
  },
  {
    name: "an id map with a range that /etc/subuid does not give",
    cause: /\/etc\/subuid gives you nothing/,
    remedy: /usermod --add-subuids/,
    config: (config) => {
      const mapped = inUserNamespace(config, 1999);
      const map = [
        { containerID: 0, hostID: 1999, size: 1 },
        { containerID: 1, hostID: 300_000, size: 1000 },
      ];
      return withLinux(mapped, { uidMappings: map, gidMappings: map });
    },
    user: 1999,
  },
  {
    name: "newuidmap that has lost its set-user-id bit",
    cause: /newuidmap is neither set-user-id root nor/,
    remedy: /chmod u\+s/,
    config: (config) => {
      const mapped = inUserNamespace(config, 1999);
      const map = [
        { containerID: 0, hostID: 1999, size: 1 },
        { containerID: 1, hostID: 300_000, size: 1000 },
      ];
      return withLinux(mapped, { uidMappings: map, gidMappings: map });
    },
    before: ({ own }) =>
      `cp /usr/bin/newuidmap ${own}/newuidmap; chmod 755 ${own}/newuidmap; mount --bind ${own}/newuidmap /usr/bin/newuidmap; echo 1999:300000:1000 >${own}/sub; mount --bind ${own}/sub /etc/subuid; mount --bind ${own}/sub /etc/subgid`,
    user: 1999,
  },
  {
    name: "a user namespace that maps no ids is around the runtime",
    cause: /maps no ids/,
    remedy: /maps/,
    config: (config) => inUserNamespace(config),
    prefix: () => ["unshare", "--user", "--"],
  },
  {
    name: "a namespace to join whose file is not there",
    cause: /\/nowhere\/netns.*(no such|not exist|not there)/,
    remedy: /running|ip netns|path/,
    config: (config) => withNamespace(config, { type: "network", path: "/nowhere/netns" }),
  },
  {
    name: "a namespace to join whose file is one of another kind",
    cause: /not a network namespace|is a? ?(ipc|uts) namespace/,
    remedy: /path|name|network/,
    config: (config) => withNamespace(config, { type: "network", path: "/proc/self/ns/ipc" }),
  },
  {
    name: "a namespace to join whose file is no namespace",
    cause: /\/etc\/passwd.*not a network namespace|not a namespace/,
    remedy: /path|\/proc\/PID\/ns/,
    config: (config) => withNamespace(config, { type: "network", path: "/etc/passwd" }),
  },
  {
    name: "a host name without a UTS namespace",
    cause: /uts|UTS/,
    remedy: /namespaces|namespace/,
    config: (config) =>
      withLinux(config, { namespaces: config.linux.namespaces?.filter(({ type }) => type !== "uts") ?? [] }),
  },
  {
    name: "the same namespace twice",
    cause: /ipc.*(once|twice|duplicate)/,
    remedy: /once|one/,
    config: (config) => withLinux(config, { namespaces: [...(config.linux.namespaces ?? []), { type: "ipc" }] }),
  },
  {
    name: "a setting of the network without a network namespace",
    cause: /net\.ipv4\.ip_forward.*(namespace)/i,
    remedy: /network namespace/i,
    config: (config) =>
      withLinux(config, {
        sysctl: { "net.ipv4.ip_forward": "1" },
        namespaces: config.linux.namespaces?.filter(({ type }) => type !== "network") ?? [],
      }),
  },
  {
    name: "a setting that the kernel does not have",
    cause: /net\.ipv4\.no_such|\/proc\/sys\/net\/ipv4\/no_such/,
    remedy: /no such setting|sysctl -a/,
    config: (config) => withLinux(config, { sysctl: { "net.ipv4.no_such": "1" } }),
  },
  {
    name: "a setting whose value the kernel does not take",
    cause: /ip_unprivileged_port_start.*999999|999999.*ip_unprivileged_port_start/,
    remedy: /range|value|65535|number/,
    config: (config) => withLinux(config, { sysctl: { "net.ipv4.ip_unprivileged_port_start": "999999" } }),
  },
  {
    name: "an offset of a clock without a time namespace",
    cause: /time namespace/,
    remedy: /namespaces|namespace/,
    config: (config) => withLinux(config, { timeOffsets: { boottime: { secs: 10, nanosecs: 0 } } } as never),
  },
  {
    name: "/proc is not mounted on the machine",
    cause: /\/proc.*(not mounted|missing|is it|mounted)/,
    remedy: /mount -t proc|mounted/,
    before: () => "umount -l /proc",
  },
  {
    name: "a network device that is not there",
    cause: /nodevice0/,
    remedy: /ip link/,
    config: (config) => withLinux(config, { netDevices: { nodevice0: {} } } as never),
    only: "tupper",
  },
];
