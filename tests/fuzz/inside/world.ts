/**
 * A make-believe machine for whole commands: directories, files and descriptors in memory, where a process can be made only
 * in name. Each run gets one of its own, and what a command left of itself in it can be counted.
 *
 * It is stricter than `scripts/training/world.ts`: paths lead through directories that are there, what exists cannot be made again, a
 * directory with something in it stays. A command that makes too many calls is one that hangs.
 */
import type { RawSys } from "../../../src/sys/generated.ts";

const [ENOENT, EBADF, EAGAIN, EEXIST, ENOTDIR, EINVAL, ENOTTY, EROFS, ELOOP, ENOTEMPTY, ECHILD] = [
  -2, -9, -11, -17, -20, -22, -25, -30, -40, -39, -10,
];
const [O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW] = [
  0o100, 0o200, 0o1000, 0o2000, 0o200000, 0o400000,
];
const AT_FDCWD = -100;
const AT_REMOVEDIR = 0x200;
const LOCK_NB = 4;
const FIRST_FD = 1000;
const CALL_LIMIT = 30_000;
const INIT = 4242;
const [S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR] = [0o040000, 0o100000, 0o120000, 0o020000];

/** A node: `undefined` text is a directory. */
interface Node {
  text: string | undefined;
  kind: number;
  number: number;
}

/** What ends a process of its own will. */
export class Exit {
  readonly code: number;
  constructor(code: number) {
    this.code = code;
  }
}

export interface WorldOptions {
  cgroups: "v1" | "v2";
  /** What `spawn` answers: no process, or one that dies at once. */
  spawn: "refused" | "dies";
  files?: Readonly<Record<string, string>>;
  /** What comes over sockets, in this order; then end of file. */
  messages?: readonly { text: string; fds: number[] }[];
}

const CONTROLLERS = ["cpu", "cpuset", "memory", "devices", "freezer", "pids", "name=systemd"];
const DIRECTORIES =
  "/ /proc /proc/self /proc/self/ns /proc/self/fd /run /sys /sys/fs /sys/fs/cgroup /tmp /dev /etc /usr /usr/bin /root /bundle /bundle/rootfs /bundle/rootfs/etc /var /srv";

export class World {
  readonly table: RawSys;
  /** What was written to standard output and error. */
  readonly printed = ["", "", ""];
  readonly #nodes = new Map<string, Node>();
  readonly #open = new Map<number, { path: string; at: number; append: boolean }>();
  readonly #locks = new Map<string, number>();
  readonly #messages: { text: string; fds: number[] }[];
  readonly #options: WorldOptions;
  #next = FIRST_FD;
  #calls = 0;
  #clock = 0;
  #cwd = "/root";

  constructor(real: RawSys, options: WorldOptions) {
    this.#options = options;
    this.#messages = [...(options.messages ?? [])];
    for (const path of DIRECTORIES.split(" ")) this.#put(path, undefined);
    const v1 = options.cgroups === "v1" ? CONTROLLERS : [];
    const tree = v1.length === 0 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
    for (const one of v1) this.#put(groupPath(one), undefined);
    this.#put(tree, undefined);
    const mounts = [
      "22 27 0:21 / /proc rw,relatime - proc proc rw",
      "23 27 0:22 / /sys rw,relatime - sysfs sysfs rw",
      "24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12334432k,mode=755",
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
      ...v1.map((one, i) => `${32 + i} 31 0:${29 + i} / ${groupPath(one)} rw,relatime - cgroup cgroup rw,${one}`),
      `49 31 0:48 / ${tree} rw,relatime - cgroup2 cgroup2 rw`,
    ];
    const own = `${v1.map((one, i) => `${i + 1}:${one}:/\n`).join("")}0::/user.slice\n`;
    const files: Record<string, string> = {
      "/proc/self/mountinfo": `${mounts.join("\n")}\n`,
      "/proc/self/cgroup": own,
      "/proc/self/status": "Name:\ttupper\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n",
      "/proc/self/uid_map": "         0          0 4294967295\n",
      "/proc/self/gid_map": "         0          0 4294967295\n",
      [`/proc/${INIT}/stat`]: `${INIT} (true) S 1 ${"4242 ".repeat(17)}123456 4096 1`,
      [`/proc/${INIT}/cgroup`]: own,
      [`${tree}/cgroup.controllers`]: "cpuset cpu io memory hugetlb pids rdma misc\n",
      [`${tree}/cgroup.subtree_control`]: "",
      "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
      "/bundle/rootfs/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh\n",
      ...options.files,
    };
    for (const [path, text] of Object.entries(files)) this.#put(path, text);
    const calls = this.#calls_(real);
    const nothing = () => 0;
    const table: Record<string, unknown> = {};
    for (const name of Object.getOwnPropertyNames(real)) {
      const call = (calls[name as keyof RawSys] ?? nothing) as (...args: unknown[]) => unknown;
      table[name] = (...args: unknown[]) => {
        if (++this.#calls > CALL_LIMIT) throw new Error(`hangs: more than ${CALL_LIMIT} calls, the last is ${name}`);
        return call(...args);
      };
    }
    this.table = table as unknown as RawSys;
  }

  /** All paths below a directory. */
  below(directory: string): string[] {
    return [...this.#nodes.keys()].filter((path) => path.startsWith(`${directory}/`));
  }

  text(path: string): string | undefined {
    return this.#nodes.get(path)?.text;
  }

  /** A file, and the directories above it. */
  #put(path: string, text: string | undefined): Node {
    const above = path.slice(0, path.lastIndexOf("/"));
    if (above !== "" && !this.#nodes.has(above)) this.#put(above, undefined);
    const node = { text, kind: text === undefined ? S_IFDIR : S_IFREG, number: this.#nodes.size + 1 };
    this.#nodes.set(path, node);
    return node;
  }

  #absolute(dirfd: number | bigint, path: string): string {
    const from = Number(dirfd) === AT_FDCWD ? this.#cwd : (this.#open.get(Number(dirfd))?.path ?? "/nowhere");
    const parts: string[] = [];
    for (const part of (path.startsWith("/") ? path : `${from}/${path}`).split("/")) {
      if (part === "..") parts.pop();
      else if (part !== "" && part !== ".") parts.push(part);
    }
    return `/${parts.join("/")}`;
  }

  /** A node, or why there is none. A control group has all files that somebody may ask for. */
  #find(path: string): Node | number {
    const node = this.#nodes.get(path);
    if (node !== undefined) return node;
    const above = path.slice(0, path.lastIndexOf("/")) || "/";
    const parent = this.#nodes.get(above);
    if (parent === undefined) return this.#missing(above);
    if (parent.text !== undefined) return ENOTDIR;
    const name = path.slice(above.length + 1);
    if (path.startsWith("/sys/fs/cgroup/") && /^[a-z_0-9]+\.[\w.]+$|^tasks$/.test(name))
      return this.#put(path, name.startsWith("cpuset.") ? "0" : "");
    return ENOENT;
  }

  /** Why a directory cannot be gone through. */
  #missing(path: string): number {
    for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/")))
      if (this.#nodes.get(at)?.text !== undefined) return ENOTDIR;
    return ENOENT;
  }

  #make(path: string, text: string | undefined): number {
    if (this.#nodes.has(path)) return EEXIST;
    const above = path.slice(0, path.lastIndexOf("/")) || "/";
    const parent = this.#nodes.get(above);
    if (parent === undefined) return this.#missing(above);
    if (parent.text !== undefined) return ENOTDIR;
    this.#put(path, text);
    return 0;
  }

  #openAt(dirfd: number | bigint, name: string, flags: number): number {
    const path = this.#absolute(dirfd, name);
    let node = this.#find(path);
    if (typeof node === "number") {
      if (node !== ENOENT || (flags & O_CREAT) === 0) return node;
      const made = this.#make(path, "");
      if (made < 0) return made;
      node = this.#find(path);
    } else if ((flags & O_EXCL) !== 0) return EEXIST;
    if (typeof node === "number") return node;
    if (node.kind === S_IFLNK && (flags & O_NOFOLLOW) !== 0) return ELOOP;
    if ((flags & O_DIRECTORY) !== 0 && node.text !== undefined) return ENOTDIR;
    if ((flags & O_TRUNC) !== 0 && node.text !== undefined) node.text = "";
    return this.#descriptor(path, (flags & O_APPEND) !== 0);
  }

  #descriptor(path: string, append = false): number {
    this.#open.set(this.#next, { path, at: 0, append });
    return this.#next++;
  }

  #statx(dirfd: number | bigint, name: string, buffer: ArrayBuffer): number {
    const path = name === "" ? (this.#open.get(Number(dirfd))?.path ?? "") : this.#absolute(dirfd, name);
    const node = this.#find(path);
    // A lock is held on a directory that was removed meanwhile: it has no links.
    const view = new DataView(buffer);
    if (typeof node === "number" && name !== "") return node;
    const { kind, number, text } = typeof node === "number" ? { kind: S_IFDIR, number: 0, text: undefined } : node;
    view.setUint32(16, typeof node === "number" ? 0 : 2, true);
    view.setUint16(28, (path.startsWith("/dev/") ? S_IFCHR : kind) | 0o700, true);
    view.setBigUint64(32, BigInt(number), true);
    view.setBigUint64(40, BigInt(text?.length ?? 0), true);
    return 0;
  }

  #entries(fd: number | bigint, buffer: ArrayBuffer): number {
    const file = this.#open.get(Number(fd));
    if (file === undefined) return EBADF;
    const prefix = file.path === "/" ? "/" : `${file.path}/`;
    const names = [...this.#nodes.keys()].filter(
      (path) => path.startsWith(prefix) && path !== prefix && !path.slice(prefix.length).includes("/"),
    );
    const view = new DataView(buffer);
    let at = 0;
    for (const path of names.slice(file.at)) {
      const name = Array.from(path.slice(prefix.length), (c) => c.charCodeAt(0) & 0xff);
      const size = Math.ceil((20 + name.length) / 8) * 8;
      if (at + size > buffer.byteLength) break;
      view.setUint16(at + 16, size, true);
      view.setUint8(at + 18, this.#nodes.get(path)?.text === undefined ? 4 : 8);
      for (const [i, byte] of [...name, 0].entries()) view.setUint8(at + 19 + i, byte);
      at += size;
      file.at++;
    }
    return at;
  }

  #write(fd: number, text: string): number {
    const file = this.#open.get(fd);
    if (fd < 3) this.printed[fd] += text;
    else if (file === undefined) return EBADF;
    const node = file === undefined ? undefined : this.#nodes.get(file.path);
    if (file === undefined || node?.text === undefined) return text.length;
    node.text = node.text.slice(0, file.append ? undefined : file.at) + text;
    file.at = node.text.length;
    return text.length;
  }

  #unlink(path: string, directory: boolean): number {
    const node = this.#nodes.get(path);
    if (node === undefined) return ENOENT;
    if (directory !== (node.text === undefined)) return directory ? ENOTDIR : EINVAL;
    const inside = this.below(path);
    // What lies in a control group are no files but the group itself.
    const isGroup = path.startsWith("/sys/fs/cgroup/");
    if (inside.some((each) => !isGroup || this.#nodes.get(each)?.text === undefined)) return ENOTEMPTY;
    for (const each of inside) this.#nodes.delete(each);
    this.#nodes.delete(path);
    return 0;
  }

  #calls_(real: RawSys): { [K in keyof RawSys]?: RawSys[K] } {
    const take = (fd: number | bigint, limit: number): string | number => {
      const file = this.#open.get(Number(fd));
      if (file === undefined) return EBADF;
      const text = (this.#nodes.get(file.path)?.text ?? "").slice(file.at, file.at + limit);
      file.at += text.length;
      return text;
    };
    const fill = (buffer: ArrayBuffer, text: string): number => {
      const bytes = new Uint8Array(real.encodeText(text) as ArrayBuffer).subarray(0, buffer.byteLength);
      new Uint8Array(buffer).set(bytes);
      return bytes.length;
    };
    const descriptor = () => this.#descriptor("anonymous");
    return {
      openat: (dirfd, path, flags) => this.#openAt(dirfd, path, Number(flags)),
      openat2: (dirfd, path, how) => this.#openAt(dirfd, path, Number(new DataView(how).getBigUint64(0, true))),
      openTree: (dirfd, path) => this.#openAt(dirfd, path, 0),
      openTreeAttr: (dirfd, path) => this.#openAt(dirfd, path, 0),
      fsopen: descriptor,
      fsmount: descriptor,
      pidfdOpen: descriptor,
      socket: descriptor,
      memfdCreate: descriptor,
      signalfd4: descriptor,
      eventfd2: descriptor,
      socketpair: (_domain, _type, _protocol, fds) => {
        new Int32Array(fds).set([descriptor(), descriptor()]);
        return 0;
      },
      pipe2: (fds) => {
        new Int32Array(fds).set([descriptor(), descriptor()]);
        return 0;
      },
      close: (fd) => {
        const path = this.#open.get(Number(fd))?.path ?? "";
        if (this.#locks.get(path) === Number(fd)) this.#locks.delete(path);
        return this.#open.delete(Number(fd)) || Number(fd) < 3 ? 0 : EBADF;
      },
      read: (fd, buffer) => {
        const text = take(fd, buffer.byteLength);
        return typeof text === "number" ? text : fill(buffer, text);
      },
      readText: (fd) => take(fd, 1 << 30),
      write: (fd, data) =>
        this.#write(
          Number(fd),
          typeof data === "string" ? data : (real.decodeText(data, 0, data.byteLength) as string),
        ),
      statx: (dirfd, path, _flags, _mask, buffer) => this.#statx(dirfd, path, buffer),
      faccessat: (dirfd, path) => {
        if (path === "/proc/self/exe") return EROFS;
        const found = this.#find(this.#absolute(dirfd, path));
        return typeof found === "number" ? found : 0;
      },
      getdents64: (fd, buffer) => this.#entries(fd, buffer),
      flock: (fd, operation) => {
        const path = this.#open.get(Number(fd))?.path ?? "";
        const holder = this.#locks.get(path);
        if (holder !== undefined && holder !== Number(fd)) {
          if ((Number(operation) & LOCK_NB) !== 0) return EAGAIN;
          throw new Error(`hangs: waits for its own lock on ${path}`);
        }
        this.#locks.set(path, Number(fd));
        return 0;
      },
      mkdirat: (dirfd, path) => this.#make(this.#absolute(dirfd, path), undefined),
      unlinkat: (dirfd, path, flags) => this.#unlink(this.#absolute(dirfd, path), (Number(flags) & AT_REMOVEDIR) !== 0),
      renameat2: (olddirfd, oldpath, newdirfd, newpath) => {
        const from = this.#nodes.get(this.#absolute(olddirfd, oldpath));
        if (from === undefined) return ENOENT;
        this.#nodes.set(this.#absolute(newdirfd, newpath), from);
        this.#nodes.delete(this.#absolute(olddirfd, oldpath));
        return 0;
      },
      symlinkat: (target, dirfd, path) => {
        const made = this.#make(this.#absolute(dirfd, path), target);
        const node = this.#nodes.get(this.#absolute(dirfd, path));
        if (made === 0 && node !== undefined) node.kind = S_IFLNK;
        return made;
      },
      readlinkText: (dirfd, path) => {
        if (path === "/proc/self/ns/user") return "user:[4026531837]";
        if (path === "/proc/self/cwd") return this.#cwd;
        if (path === "/proc/self/exe") return "/usr/bin/tupper-runtime";
        const file = /^\/proc\/self\/fd\/(\d+)$/.exec(path);
        if (file !== null) return this.#open.get(Number(file[1]))?.path ?? ENOENT;
        const found = this.#find(this.#absolute(dirfd, path));
        return typeof found === "number" ? found : found.kind === S_IFLNK ? (found.text ?? "") : EINVAL;
      },
      chdir: (path) => {
        const found = this.#find(this.#absolute(AT_FDCWD, path));
        if (typeof found === "number") return found;
        this.#cwd = this.#absolute(AT_FDCWD, path);
        return 0;
      },
      getcwd: (buffer) => fill(buffer, `${this.#cwd}\0`),
      ioctl: (_fd, request) => (Number(request) === 0x5401 ? ENOTTY : 0),
      capget: (_header, data) => {
        new Uint32Array(data).fill(0xffffffff);
        return 0;
      },
      uname: (buffer) => {
        for (const [i, text] of ["Linux", "machine", "6.12.0", "#1", "x86_64"].entries())
          new Uint8Array(buffer).set(new Uint8Array(real.encodeText(text) as ArrayBuffer), 65 * i);
        return 0;
      },
      environment: () => ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm", "LANG=C.UTF-8"],
      // Every look at the clock and every sleep takes a while, so that all patience ends.
      monotonicUs: () => {
        this.#clock += 20_000;
        return this.#clock;
      },
      ppoll: (fds, count) => {
        this.#clock += 20_000;
        for (let i = 0; i < Number(count); i++) new DataView(fds).setInt16(8 * i + 6, 1, true);
        return Number(count);
      },
      awaitReadable: () => 1,
      getpid: () => 4000,
      exitGroup: (code) => {
        throw new Exit(Number(code));
      },
      execve: () => ENOENT,
      execveat: () => ENOENT,
      spawn: () => (this.#options.spawn === "refused" ? EAGAIN : INIT),
      wait4: (pid, status) => {
        if (this.#options.spawn === "refused") return ECHILD;
        new DataView(status).setInt32(0, 9, true);
        return Number(pid) > 0 ? Number(pid) : INIT;
      },
      receiveMessage: () => {
        const message = this.#messages.shift();
        return message === undefined ? { text: "", fds: [] } : { text: message.text, fds: message.fds.map(descriptor) };
      },
      getgroups: () => 0,
      encodeText: real.encodeText,
      decodeText: real.decodeText,
      getrandom: (buffer) => buffer.byteLength,
      sourceMap: real.sourceMap,
    };
  }
}

const groupPath = (controller: string): string => `/sys/fs/cgroup/${controller.replace("name=", "")}`;
