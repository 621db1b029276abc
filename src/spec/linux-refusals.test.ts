// Data: what parseConfig refuses of `linux`: namespaces, devices, paths, sysctls, and the whole error for each.
import { test } from "node:test";
import {
  CONFLICT,
  INVALID,
  inConfig,
  inLinux,
  inUserNamespace,
  mappings,
  NO_ID,
  process,
  refuses,
} from "../../tests/refused-configs.ts";

test("parseConfig refuses wrong namespaces and maps of ids", () => {
  refuses([
    [inConfig({ linux: [] }), INVALID, "linux is []: it must be an object"],
    [
      inLinux({ namespaces: [{ type: "netwrok" }] }),
      INVALID,
      'linux.namespaces[0].type is "netwrok": it must be one of mount, pid, network, ipc, uts, user, cgroup or time',
      "did you mean network?",
    ],
    [
      inLinux({ namespaces: [{ path: "/proc/1/ns/net" }] }),
      INVALID,
      "linux.namespaces[0].type is missing: it must be one of mount, pid, network, ipc, uts, user, cgroup or time",
    ],
    [
      inLinux({ namespaces: [{ type: "network", path: "run/netns/a" }] }),
      INVALID,
      'linux.namespaces[0].path is "run/netns/a": it must be an absolute path',
    ],
    [
      inLinux({ namespaces: [{ type: "pid" }, { type: "ipc" }, { type: "pid" }] }),
      CONFLICT,
      'linux.namespaces[2].type is "pid": each namespace may be listed only once',
    ],
    [
      inLinux({ uidMappings: mappings }),
      CONFLICT,
      'linux.uidMappings is [{"containerID":0,"hostID":100000,"size":65536}]: it needs a user namespace in linux.namespaces',
    ],
    [
      inUserNamespace({ gidMappings: undefined }),
      CONFLICT,
      "linux.gidMappings is missing: a user namespace has maps for both kinds of ids or for none",
    ],
    [
      inUserNamespace({ uidMappings: [{ containerID: 0, hostID: 1, size: 0 }] }),
      INVALID,
      "linux.uidMappings[0].size is 0: it must be a number of ids, at least 1",
    ],
    [
      inUserNamespace({ uidMappings: [{ containerID: 0, hostID: 4294967294, size: 2 }] }),
      INVALID,
      "linux.uidMappings[0].size is 2: it must be at most 1, as the last id is 4294967294",
    ],
    [
      inUserNamespace({ uidMappings: [{ containerID: 4294967295, hostID: 0, size: 1 }] }),
      INVALID,
      "linux.uidMappings[0].containerID is 4294967295: it must be a whole number from 0 to 4294967294",
      NO_ID,
    ],
    [
      inUserNamespace({ gidMappings: [...mappings, { containerID: 65535, hostID: 1, size: 1 }] }),
      CONFLICT,
      "linux.gidMappings[1].containerID is 65535: the range overlaps that of entry 0",
    ],
    [
      inUserNamespace({ gidMappings: [...mappings, { containerID: 65536, hostID: 99999, size: 2 }] }),
      CONFLICT,
      "linux.gidMappings[1].hostID is 99999: the range overlaps that of entry 0",
    ],
    [
      inUserNamespace({}, { process: { ...process, user: { uid: 65536, gid: 0 } } }),
      CONFLICT,
      "process.user.uid is 65536: linux.uidMappings does not have this id",
    ],
    [
      inUserNamespace({}, { process: { ...process, user: { uid: 0, gid: 70000 } } }),
      CONFLICT,
      "process.user.gid is 70000: linux.gidMappings does not have this id",
    ],
    [
      inUserNamespace({}, { process: { ...process, user: { uid: 0, gid: 0, additionalGids: [5, 70000] } } }),
      CONFLICT,
      "process.user.additionalGids[1] is 70000: linux.gidMappings does not have this id",
    ],
  ]);
});

test("parseConfig refuses time offsets without a new time namespace, and wrong ones", () => {
  refuses([
    [
      inLinux({ namespaces: [], timeOffsets: { monotonic: { secs: 1 } } }),
      CONFLICT,
      'linux.timeOffsets is {"monotonic":{"secs":1}}: it needs a time namespace in linux.namespaces',
    ],
    [
      inLinux({ namespaces: [{ type: "time", path: "/t" }], timeOffsets: { monotonic: { secs: 1 } } }),
      CONFLICT,
      'linux.timeOffsets is {"monotonic":{"secs":1}}: the clocks of the namespace /t that is joined are set already',
    ],
    [
      inLinux({ timeOffsets: { realtime: { secs: 1 } } }),
      INVALID,
      'linux.timeOffsets.realtime is "realtime": it must be one of monotonic or boottime',
    ],
    [
      inLinux({ timeOffsets: { boottime: { secs: 1.5 } } }),
      INVALID,
      "linux.timeOffsets.boottime.secs is 1.5: it must be a whole number from -4611686018 to 4611686018",
    ],
    [
      inLinux({ timeOffsets: { boottime: { nanosecs: 1000000000 } } }),
      INVALID,
      "linux.timeOffsets.boottime.nanosecs is 1000000000: it must be a whole number from 0 to 999999999",
    ],
  ]);
});

test("parseConfig refuses wrong devices and network devices", () => {
  refuses([
    [
      inLinux({ devices: [{ type: "c", major: 1, minor: 3 }] }),
      INVALID,
      "linux.devices[0].path is missing: it must be an absolute path",
    ],
    [
      inLinux({ devices: [{ path: "dev/null", type: "c", major: 1, minor: 3 }] }),
      INVALID,
      'linux.devices[0].path is "dev/null": it must be an absolute path',
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "char", major: 1, minor: 3 }] }),
      INVALID,
      'linux.devices[0].type is "char": it must be one of c, b, u or p',
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "c", minor: 3 }] }),
      CONFLICT,
      "linux.devices[0].major is missing: a device of type c has a major and a minor number",
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "b", major: 1 }] }),
      CONFLICT,
      "linux.devices[0].minor is missing: a device of type b has a major and a minor number",
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "c", major: 4096, minor: 3 }] }),
      INVALID,
      "linux.devices[0].major is 4096: it must be a whole number from 0 to 4095",
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: "0666" }] }),
      INVALID,
      'linux.devices[0].fileMode is "0666": it must be a whole number from 0 to 4294967295',
    ],
    [
      inLinux({ devices: [{ path: "/dev/null", type: "c", major: 1, minor: 3, uid: -1 }] }),
      INVALID,
      "linux.devices[0].uid is -1: it must be a whole number from 0 to 4294967294",
      NO_ID,
    ],
    [
      inLinux({ namespaces: [], netDevices: { eth0: {} } }),
      CONFLICT,
      'linux.netDevices is {"eth0":{}}: it needs a network namespace in linux.namespaces',
    ],
    [
      inLinux({ netDevices: { eth0: { name: 23 } } }),
      INVALID,
      "linux.netDevices.eth0.name is 23: it must be the name of a network interface: at most 15 characters, no slash, colon or space",
    ],
    [
      inLinux({ netDevices: { eth0: { name: "container_eth0_1" } } }),
      INVALID,
      'linux.netDevices.eth0.name is "container_eth0_1": it must be the name of a network interface: at most 15 characters, no slash, colon or space',
    ],
    [
      inLinux({ netDevices: { "eth/0": {} } }),
      INVALID,
      'linux.netDevices["eth/0"] is "eth/0": it must be the name of a network interface: at most 15 characters, no slash, colon or space',
    ],
    [
      inLinux({ netDevices: { "..": {} } }),
      INVALID,
      'linux.netDevices[".."] is "..": it must be the name of a network interface: at most 15 characters, no slash, colon or space',
    ],
    [
      inLinux({ netDevices: { eth0: { name: "eth1" }, eth1: {} } }),
      CONFLICT,
      'linux.netDevices.eth1 is "eth1": two devices get this name',
    ],
  ]);
});

test("parseConfig refuses wrong paths and propagations", () => {
  refuses([
    [inLinux({ cgroupsPath: 5 }), INVALID, "linux.cgroupsPath is 5: it must be a string"],
    [
      inLinux({ rootfsPropagation: "salve" }),
      INVALID,
      'linux.rootfsPropagation is "salve": it must be one of private, shared, slave, unbindable, rprivate, rshared, rslave or runbindable',
      "did you mean slave?",
    ],
    [
      inLinux({ maskedPaths: ["/proc/kcore", "proc/keys"] }),
      INVALID,
      'linux.maskedPaths[1] is "proc/keys": it must be an absolute path',
    ],
    [inLinux({ readonlyPaths: [""] }), INVALID, 'linux.readonlyPaths[0] is "": it must be an absolute path'],
    [inLinux({ mountLabel: ["a"] }), INVALID, 'linux.mountLabel is ["a"]: it must be a string'],
  ]);
});

test("parseConfig refuses sysctls that are not the container's", () => {
  refuses([
    [
      inLinux({ namespaces: [], sysctl: { "kernel.shmmax": "1" } }),
      CONFLICT,
      'linux.sysctl["kernel.shmmax"] is "1": without an ipc namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "kernel.sem": "1" } }),
      CONFLICT,
      'linux.sysctl["kernel.sem"] is "1": without an ipc namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "fs.mqueue.msg_max": "1" } }),
      CONFLICT,
      'linux.sysctl["fs.mqueue.msg_max"] is "1": without an ipc namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "net.ipv4.ip_forward": "1" } }),
      CONFLICT,
      'linux.sysctl["net.ipv4.ip_forward"] is "1": without a network namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "net/ipv4/ip_forward": "1" } }),
      CONFLICT,
      'linux.sysctl["net/ipv4/ip_forward"] is "1": without a network namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ namespaces: [], sysctl: { "kernel.domainname": "a" } }),
      CONFLICT,
      'linux.sysctl["kernel.domainname"] is "a": without a uts namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ sysctl: { "user.max_user_namespaces": "1" } }),
      CONFLICT,
      'linux.sysctl["user.max_user_namespaces"] is "1": without a user namespace in linux.namespaces this is the machine\'s',
    ],
    [
      inLinux({ sysctl: { "kernel.hostname": "a" } }),
      CONFLICT,
      'linux.sysctl["kernel.hostname"] is "a": the field hostname sets the host name',
    ],
    [
      inLinux({ sysctl: { "kernel.core_pattern": "|/x" } }),
      CONFLICT,
      'linux.sysctl["kernel.core_pattern"] is "|/x": this setting is the machine\'s, and belongs to no namespace',
      "a container can have kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*, net.*, user.* and kernel.domainname",
    ],
    [
      inLinux({ sysctl: { "vm.overcommit_memory": "1" } }),
      CONFLICT,
      'linux.sysctl["vm.overcommit_memory"] is "1": this setting is the machine\'s, and belongs to no namespace',
      "a container can have kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*, net.*, user.* and kernel.domainname",
    ],
    [
      inLinux({ sysctl: { "net.//.//.kernel.core_pattern": "|/x" } }),
      INVALID,
      'linux.sysctl["net.//.//.kernel.core_pattern"] is "|/x": it must be a setting with a name such as net.ipv4.ip_forward',
    ],
    [
      inLinux({ sysctl: { "net/../kernel/core_pattern": "|/x" } }),
      INVALID,
      'linux.sysctl["net/../kernel/core_pattern"] is "|/x": it must be a setting with a name such as net.ipv4.ip_forward',
    ],
    [
      inLinux({ sysctl: { "net..core": "1" } }),
      INVALID,
      'linux.sysctl["net..core"] is "1": it must be a setting with a name such as net.ipv4.ip_forward',
    ],
    [
      inLinux({ sysctl: { "net.core.somaxconn": 1 } }),
      INVALID,
      'linux.sysctl["net.core.somaxconn"] is 1: it must be a string',
    ],
  ]);
});
