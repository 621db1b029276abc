import assert from "node:assert/strict";
import { test } from "node:test";
import { ContainerError } from "../../error.ts";
import { NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS } from "../../sys/constants.ts";
import { recordingSys, type Script } from "../../sys/recording.ts";
import { replaceSys } from "../../sys/sys.ts";
import { arrangeNamespaces, listNamespaces, listNamespacesOf, type Namespace, NS_TYPES } from "./tree.ts";

const FLAGS: Record<string, number> = { user: 0x10000000, pid: 0x20000000, mnt: 0x20000 };

interface Process {
  /** Links by name in /proc/PID/ns; a number is the errno. What is not named is ENOENT. */
  ns: Record<string, string | number>;
  cmdline?: string;
  comm?: string;
}

interface Machine {
  processes: Record<string, Process>;
  /** Owner and parent by link; what has none is EPERM. */
  owner?: Record<string, string>;
  parent?: Record<string, string>;
  uid?: Record<string, number>;
  mountinfo?: string;
}

/** A machine that exists only as answers: descriptors stand for texts, and for the links that they were opened on. */
function machine({ processes, owner = {}, parent = {}, uid = {}, mountinfo = "" }: Machine): Script {
  const open: string[] = [];
  const opened = (text: string): number => 100 + open.push(text) - 1;
  const behind = (fd: number | bigint): string => open[Number(fd) - 100] ?? "";
  const linkOf = (path: string): string | number => {
    const [, pid = "", name = ""] = /^\/proc\/(\w+)\/ns\/(\w+)$/.exec(path) ?? [];
    return processes[pid]?.ns[name] ?? -2;
  };
  let listed = false;
  return {
    openat: (_dirfd, path) => {
      const [, pid = "", file = ""] = /^\/proc\/(\d+)\/(cmdline|comm)$/.exec(path) ?? [];
      if (path === "/proc") listed = false;
      if (path === "/proc") return opened("");
      if (path === "/proc/self/mountinfo") return opened(mountinfo);
      const text = file === "" ? linkOf(path) : (processes[pid]?.[file as "comm"] ?? (processes[pid] ? "" : -2));
      return typeof text === "number" ? text : opened(text);
    },
    getdents64: (_fd, buffer) => {
      if (listed) return 0;
      listed = true;
      return fillDirectory(buffer, ["self", ...Object.keys(processes)]);
    },
    readlinkText: (_dirfd, path) => {
      const fd = /^\/proc\/self\/fd\/(\d+)$/.exec(path)?.[1];
      return fd === undefined ? linkOf(path) : behind(Number(fd));
    },
    readText: (fd) => behind(fd),
    read: (fd, buffer) => {
      const bytes = Buffer.from(behind(fd));
      new Uint8Array(buffer).set(bytes);
      return bytes.length;
    },
    ioctlInt: (fd, request) => {
      const link = behind(fd);
      if (request === NS_GET_NSTYPE) return FLAGS[link.split(":")[0] ?? ""] ?? 0;
      const other = request === NS_GET_USERNS ? owner[link] : request === NS_GET_PARENT ? parent[link] : undefined;
      return other === undefined ? -1 : opened(other);
    },
    ioctl: (fd, request, argument) => {
      if (request !== NS_GET_OWNER_UID) return -22;
      new Uint32Array(argument).set([uid[behind(fd)] ?? 0]);
      return 0;
    },
  };
}

/** struct linux_dirent64 of each name. */
function fillDirectory(buffer: ArrayBuffer, names: readonly string[]): number {
  const view = new DataView(buffer);
  let at = 0;
  for (const name of names) {
    const size = (19 + name.length + 1 + 7) & ~7;
    view.setUint16(at + 16, size, true);
    view.setUint8(at + 18, 4);
    new Uint8Array(buffer, at + 19, name.length + 1).set([...Buffer.from(name), 0]);
    at += size;
  }
  return at;
}

function on<T>(script: Script, body: () => T): T {
  const recorder = recordingSys(script);
  const before = replaceSys(recorder);
  try {
    const result = body();
    const count = (name: string) => recorder.calls.filter((call) => call.name === name).length;
    const opened = recorder.calls.filter(({ name }) => name === "close").map(({ args }) => args[0]);
    assert.equal(new Set(opened).size, count("close"), "a descriptor was closed twice");
    return result;
  } finally {
    replaceSys(before);
  }
}

const nothing = { userNamespace: undefined, parent: undefined, ownerUid: undefined, file: undefined };
const rootUser = { ...nothing, type: "user", inode: 1, ownerUid: 0 } as const;

test("listNamespaces: members, owner, parent, owner uid; an owner without processes is found", () => {
  const list = on(
    machine({
      processes: {
        "1": { ns: { user: "user:[1]", pid: "pid:[2]" }, cmdline: "/sbin/init\0--x\0" },
        "7": { ns: { user: "user:[1]", pid: "pid:[5]", pid_for_children: "pid:[5]" }, cmdline: "", comm: "kthreadd\n" },
      },
      owner: { "pid:[2]": "user:[1]", "pid:[5]": "user:[4]", "user:[4]": "user:[1]" },
      parent: { "pid:[5]": "pid:[2]", "user:[4]": "user:[1]" },
      uid: { "user:[4]": 1000 },
    }),
    listNamespaces,
  );
  const init = { pid: 1, command: "/sbin/init --x" };
  const thread = { pid: 7, command: "[kthreadd]" };
  assert.deepEqual(list, {
    namespaces: [
      { ...nothing, type: "pid", inode: 2, userNamespace: 1, processes: 1, members: [init] },
      { ...nothing, type: "pid", inode: 5, userNamespace: 4, parent: 2, processes: 1, members: [thread] },
      { ...rootUser, processes: 2, members: [init, thread] },
      { ...nothing, type: "user", inode: 4, userNamespace: 1, parent: 1, ownerUid: 1000, processes: 0, members: [] },
    ],
    hiddenProcesses: 0,
  });
});

test("listNamespaces: processes that may not be looked into are counted, zombies and vanished ones are not", () => {
  const list = on(
    machine({
      processes: {
        "1": { ns: { mnt: -13 } },
        "2": { ns: { mnt: -1 } },
        "3": { ns: {} },
        "4": { ns: { mnt: -3 } },
        "5": { ns: { mnt: "mnt:[9]" }, cmdline: "sh\0" },
      },
    }),
    listNamespaces,
  );
  const members = [{ pid: 5, command: "sh" }];
  assert.deepEqual(list, {
    namespaces: [{ ...nothing, type: "mnt", inode: 9, processes: 1, members }],
    hiddenProcesses: 2,
  });
});

test("listNamespaces: a process that ends between readlink and open leaves a namespace that nothing is known of", () => {
  const script = machine({ processes: { "5": { ns: { mnt: "mnt:[9]" } } }, owner: { "mnt:[9]": "user:[1]" } });
  const { openat } = script;
  const vanishing: Script = {
    ...script,
    openat: (dirfd, path, flags, mode) =>
      path.startsWith("/proc/5/") ? -2 : typeof openat === "function" ? openat(dirfd, path, flags, mode) : -2,
  };
  assert.deepEqual(on(vanishing, listNamespaces).namespaces, [
    { ...nothing, type: "mnt", inode: 9, processes: 1, members: [] },
  ]);
});

test("listNamespaces: a namespace that only a mount keeps has its file", () => {
  const mountinfo = "60 24 0:4 mnt:[9] /run/my\\040ns rw shared:5 - nsfs nsfs rw\n1 0 0:1 / / rw - tmpfs x rw\n";
  assert.deepEqual(on(machine({ processes: {}, mountinfo }), listNamespaces).namespaces, [
    { ...nothing, type: "mnt", inode: 9, processes: 0, members: [], file: "/run/my ns" },
  ]);
});

test("listNamespacesOf: says which namespaces differ from the caller's and from those of process 1", () => {
  const { namespaces, command } = on(
    machine({
      processes: {
        "1": { ns: { mnt: -13 } },
        self: { ns: { user: "user:[1]", mnt: "mnt:[9]" } },
        "5": { ns: { user: "user:[1]", mnt: "mnt:[8]" }, cmdline: "sh\0" },
      },
    }),
    () => listNamespacesOf(5),
  );
  assert.equal(command, "sh");
  assert.deepEqual(
    namespaces.map(({ type, differsFromCaller, differsFromInit }) => [type, differsFromCaller, differsFromInit]),
    [
      ["mnt", true, undefined],
      ["user", false, undefined],
    ],
  );
});

for (const [errno, code] of [
  [2, "PROCESS_NOT_FOUND"],
  [3, "PROCESS_NOT_FOUND"],
  [13, "PROCESS_NOT_READABLE"],
  [1, "PROCESS_NOT_READABLE"],
] as const) {
  test(`listNamespacesOf: errno ${errno} is ${code}`, () => {
    const ns = Object.fromEntries(NS_TYPES.map((type) => [type, -errno]));
    assert.throws(
      () => on(machine({ processes: { "5": { ns } } }), () => listNamespacesOf(5)),
      (error) => error instanceof ContainerError && error.code === code && error.kernel !== undefined,
    );
  });
}

test("arrangeNamespaces: user and pid namespaces nest, the rest hangs below its owner, strangers are roots", () => {
  const ns = (type: Namespace["type"], inode: number, userNamespace?: number, parent?: number): Namespace => ({
    ...nothing,
    type,
    inode,
    userNamespace,
    parent,
    processes: 0,
    members: [],
  });
  const roots = arrangeNamespaces([
    ns("mnt", 10, 1),
    ns("mnt", 11, 4),
    ns("mnt", 12, 99),
    ns("pid", 2, 1),
    ns("pid", 5, 4, 2),
    ns("user", 1),
    ns("user", 4, 1, 1),
  ]);
  const draw = ({ namespace, children }: (typeof roots)[number]): unknown =>
    children.length === 0 ? namespace.inode : [namespace.inode, ...children.map(draw)];
  assert.deepEqual(roots.map(draw), [12, [1, 10, [2, 5], [4, 11]]]);
});
