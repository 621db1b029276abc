/** Data: faults of privileges, hooks, configs and records. */
import { type Fault, withArgs, withLinux, withProcess } from "./fault.ts";

const hook = (path: string, ...args: string[]) => ({ path, args: [path, ...args] });

export const PROCESS_FAULTS: readonly Fault[] = [
  {
    name: "a capability of a name that there is not",
    cause: /CAP_NET_ADMN/,
    remedy: /CAP_NET_ADMIN\b/,
    config: (config) => withProcess(config, { capabilities: { bounding: ["CAP_NET_ADMN"] } as never }),
  },
  {
    name: "a seccomp profile with an action that there is not",
    cause: /SCMP_ACT_DENY/,
    remedy: /SCMP_ACT_ERRNO/,
    config: (config) => withLinux(config, { seccomp: { defaultAction: "SCMP_ACT_DENY" } } as never),
  },
  {
    name: "a seccomp profile that forbids what the start needs, before no_new_privs",
    cause: /seccomp|profile/,
    remedy: /allow|profile/,
    config: (config) =>
      withLinux(config, {
        seccomp: {
          defaultAction: "SCMP_ACT_KILL_PROCESS",
          architectures: ["SCMP_ARCH_X86_64"],
          syscalls: [{ names: ["read", "write", "exit_group"], action: "SCMP_ACT_ALLOW" }],
        },
      } as never),
  },
  {
    name: "an agent for seccomp that nobody is at",
    cause: /\/nowhere\/agent/,
    remedy: /start|listenerPath/,
    config: (config) =>
      withLinux(config, {
        seccomp: {
          defaultAction: "SCMP_ACT_ALLOW",
          listenerPath: "/nowhere/agent.sock",
          architectures: ["SCMP_ARCH_X86_64"],
          syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }],
        },
      } as never),
  },
  {
    name: "a terminal in the config and nobody to take it",
    cause: /terminal/,
    remedy: /--console-socket|without --detach|foreground/,
    config: (config) => withProcess(config, { terminal: true }),
    flags: ["--detach"],
  },
  {
    name: "a hook that is not there",
    cause: /\/nowhere\/hook.*(no such|not exist|not there)/i,
    remedy: /install|hooks\.|path/,
    config: (config) => ({ ...config, hooks: { createRuntime: [hook("/nowhere/hook")] } }),
  },
  {
    name: "a hook that may not be executed",
    cause: /\/etc\/passwd.*(x bit|0644|not executable)/,
    remedy: /chmod \+x/,
    config: (config) => ({ ...config, hooks: { createRuntime: [hook("/etc/passwd")] } }),
  },
  {
    name: "a hook that fails, with its own words",
    cause: /no licence/,
    remedy: /hook|--debug|by hand/,
    config: (config) => ({
      ...config,
      hooks: { prestart: [{ path: "/bin/sh", args: ["sh", "-c", "cat >/dev/null; echo no licence >&2; exit 3"] }] },
    }),
  },
  {
    name: "a hook that takes longer than its timeout",
    cause: /(timeout|timed out|1 s|second)/,
    remedy: /timeout/,
    config: (config) => ({
      ...config,
      hooks: { createRuntime: [{ ...hook("/bin/sleep", "60"), timeout: 1 }] },
    }),
  },
  {
    name: "a config that is no JSON",
    cause: /line 3|column|position/,
    remedy: /line|comma|,/,
    config: () => '{\n  "ociVersion": "1.0.2"\n  "root": {}\n}',
  },
  {
    name: "a config with a word where a number belongs",
    cause: /process\.user\.uid/,
    remedy: /number|integer|uint/,
    config: (config) => withProcess(config, { user: { uid: "root", gid: 0 } as never }),
  },
  {
    name: "a config with a relative working directory",
    cause: /process\.cwd|[Cc]wd|working directory 'srv'|workdir "srv"/,
    remedy: /absolute|begin with/,
    config: (config) => withProcess(config, { cwd: "srv" }),
  },
  {
    name: "a config of a version that does not exist yet",
    cause: /ociVersion|9\.0\.0/,
    remedy: /1\.(x|\d)/,
    config: (config) => ({ ...config, ociVersion: "9.0.0" }),
  },
  {
    name: "a root filesystem that the config does not name",
    cause: /root/,
    remedy: /root\.path|must be an object/,
    config: ({ root: _root, ...config }) => config,
  },
  {
    name: "a device without a type",
    cause: /linux\.devices\[0\]/,
    remedy: /\bc\b|type/,
    config: (config) => withLinux(config, { devices: [{ path: "/dev/x", major: 1, minor: 3 }] } as never),
  },
  {
    name: "a group to be in that setgroups refuses (ordinary user, one id mapped)",
    cause: /gid.*77|77.*gid/,
    remedy: /additionalGids|gidMappings|map/,
    config: (config) => {
      const one = [{ containerID: 0, hostID: 1999, size: 1 }];
      const made = withLinux(config, {
        namespaces: [...(config.linux.namespaces ?? []), { type: "user" }],
        uidMappings: one,
        gidMappings: one,
      });
      return withProcess(made, { user: { uid: 0, gid: 77 } });
    },
    user: 1999,
  },
  {
    name: "a user that the id map of the container does not have",
    cause: /uid.*1000/,
    remedy: /uidMappings|process\.user/,
    config: (config) => {
      const one = [{ containerID: 0, hostID: 0, size: 10 }];
      const made = withLinux(config, {
        namespaces: [...(config.linux.namespaces ?? []), { type: "user" }],
        uidMappings: one,
        gidMappings: one,
      });
      return withProcess(made, { user: { uid: 1000, gid: 0 } });
    },
  },
  {
    name: "ended: the memory limit was reached",
    cause: /(out of memory|memory limit|OOM).*(33554432|32 MiB|32M)/i,
    remedy: /memory\.limit|--memory|raise/,
    config: (config) =>
      withLinux(withArgs(config, "sh", "-c", "exec head -c 200m /dev/zero | tail"), {
        resources: { memory: { limit: 33_554_432n } },
        cgroupsPath: "/tupper-fault-oom",
      } as never),
  },
  {
    name: "ended: the seccomp filter killed it for a system call",
    cause: /(seccomp|SIGSYS).*/,
    remedy: /profile|allow/,
    config: (config) =>
      withLinux(withArgs(config, "mkdir", "/tmp/x"), {
        seccomp: {
          defaultAction: "SCMP_ACT_ALLOW",
          architectures: ["SCMP_ARCH_X86_64"],
          syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL_PROCESS" }],
        },
      } as never),
  },
];
