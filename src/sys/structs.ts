/**
 * The kernel's structures as ArrayBuffers: packed for a call, or parsed after it.
 *
 * Offsets are those of x86_64 and arm64, which agree on everything here and are little-endian. What differs
 * between the two (struct stat, for one) is avoided: statx has one layout everywhere. 64-bit fields that pass 2^53
 * in practice are bigint: attribute masks, capability sets, limits. Sizes and inodes are numbers.
 */

const LITTLE = true;
const U64 = (1n << 64n) - 1n;

function pack(size: number, fill: (view: DataView) => void): ArrayBuffer {
  const buffer = new ArrayBuffer(size);
  fill(new DataView(buffer));
  return buffer;
}

const u64 = (view: DataView, at: number): number => Number(view.getBigUint64(at, LITTLE));
const putU64 = (view: DataView, at: number, value: number | bigint): void =>
  view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), LITTLE);

/* ---- files --------------------------------------------------------------------------------- */

export const STATX_SIZE = 256;
export const STATX_BASIC_STATS = 0x7ff;
export const STATX_MNT_ID = 0x1000;
export const STATX_ATTR_MOUNT_ROOT = 0x2000n;

export interface Time {
  sec: number;
  nsec: number;
}

export interface Statx {
  /** File type and permissions, as `st_mode`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly ino: number;
  readonly size: number;
  readonly blocks: number;
  readonly blockSize: number;
  readonly atime: Time;
  readonly mtime: Time;
  readonly ctime: Time;
  /** The device that a device node stands for. */
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  /** The device that the file lies on. */
  readonly devMajor: number;
  readonly devMinor: number;
  /** Undefined before Linux 5.8 or when {@link STATX_MNT_ID} was not asked for. */
  readonly mountId: number | undefined;
  /** `STATX_ATTR_*` bits that are set. */
  readonly attributes: bigint;
  /** Whether the path is the root of a mount; undefined when the kernel (before 5.8) does not say. */
  readonly mountRoot: boolean | undefined;
}

/** struct statx, 256 bytes. statx(2). */
export const parseStatx = (buffer: ArrayBuffer): Statx => new StatxView(new DataView(buffer));

/** Parsed when it is asked for: most callers want one field or two of twenty. */
class StatxView implements Statx {
  readonly #view: DataView;

  constructor(view: DataView) {
    this.#view = view;
  }

  get blockSize() {
    return this.#u32(4);
  }
  get attributes() {
    return this.#view.getBigUint64(8, LITTLE);
  }
  get nlink() {
    return this.#u32(16);
  }
  get uid() {
    return this.#u32(20);
  }
  get gid() {
    return this.#u32(24);
  }
  get mode() {
    return this.#view.getUint16(28, LITTLE);
  }
  get ino() {
    return u64(this.#view, 32);
  }
  get size() {
    return u64(this.#view, 40);
  }
  get blocks() {
    return u64(this.#view, 48);
  }
  get mountRoot() {
    const known = this.#view.getBigUint64(56, LITTLE);
    return known & STATX_ATTR_MOUNT_ROOT ? (this.attributes & STATX_ATTR_MOUNT_ROOT) !== 0n : undefined;
  }
  get atime() {
    return this.#time(64);
  }
  get ctime() {
    return this.#time(96);
  }
  get mtime() {
    return this.#time(112);
  }
  get rdevMajor() {
    return this.#u32(128);
  }
  get rdevMinor() {
    return this.#u32(132);
  }
  get devMajor() {
    return this.#u32(136);
  }
  get devMinor() {
    return this.#u32(140);
  }
  get mountId() {
    return this.#u32(0) & STATX_MNT_ID ? u64(this.#view, 144) : undefined;
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, LITTLE);
  }

  #time(at: number): Time {
    return { sec: Number(this.#view.getBigInt64(at, LITTLE)), nsec: this.#u32(at + 8) };
  }
}

export const STATFS_SIZE = 120;

export interface Statfs {
  /** A `*_MAGIC` number. */
  type: number;
  blockSize: number;
  blocks: number;
  blocksFree: number;
  /** What an ordinary user may still take. */
  blocksAvailable: number;
  files: number;
  filesFree: number;
  nameMax: number;
  /** `ST_*` mount flags. */
  flags: number;
}

/** struct statfs of 64-bit kernels, 120 bytes. statfs(2). */
export function parseStatfs(buffer: ArrayBuffer): Statfs {
  const view = new DataView(buffer);
  return {
    type: u64(view, 0),
    blockSize: u64(view, 8),
    blocks: u64(view, 16),
    blocksFree: u64(view, 24),
    blocksAvailable: u64(view, 32),
    files: u64(view, 40),
    filesFree: u64(view, 48),
    nameMax: u64(view, 64),
    flags: u64(view, 80),
  };
}

/** struct open_how. Flags that openat(2) would ignore are EINVAL here, and so is a mode without O_CREAT. openat2(2). */
export const packOpenHow = (how: { flags: number; mode?: number; resolve?: number }): ArrayBuffer =>
  pack(24, (view) => {
    putU64(view, 0, how.flags);
    putU64(view, 8, how.mode ?? 0);
    putU64(view, 16, how.resolve ?? 0);
  });

/** struct mount_attr. An access-time flag needs `MOUNT_ATTR__ATIME` in `clear`. mount_setattr(2). */
export const packMountAttr = (attr: {
  set?: number;
  clear?: number;
  propagation?: number;
  usernsFd?: number;
}): ArrayBuffer =>
  pack(32, (view) => {
    putU64(view, 0, attr.set ?? 0);
    putU64(view, 8, attr.clear ?? 0);
    putU64(view, 16, attr.propagation ?? 0);
    putU64(view, 24, attr.usernsFd ?? 0);
  });

/* ---- waiting and signals ------------------------------------------------------------------- */

/** struct pollfd[]. A negative fd is skipped by the kernel. poll(2). */
export const packPollfds = (fds: readonly { fd: number; events: number }[]): ArrayBuffer =>
  pack(8 * fds.length, (view) => {
    for (const [i, { fd, events }] of fds.entries()) {
      view.setInt32(8 * i, fd, LITTLE);
      view.setInt16(8 * i + 4, events, LITTLE);
    }
  });

/** What happened on each descriptor: `revents`, in the order of the array. */
export function parsePollfds(buffer: ArrayBuffer): number[] {
  const view = new DataView(buffer);
  return Array.from({ length: buffer.byteLength / 8 }, (_, i) => view.getInt16(8 * i + 6, LITTLE));
}

export const SIGSET_SIZE = 8;

/** The kernel's 64-bit signal set: signal n is bit n - 1. (The C library's sigset_t is larger.) sigsetops(3). */
export const packSigset = (signals: Iterable<number>): ArrayBuffer =>
  pack(SIGSET_SIZE, (view) => {
    let mask = 0n;
    for (const signal of signals) mask |= 1n << BigInt(signal - 1);
    putU64(view, 0, mask);
  });

/** The signal numbers in a set, ascending. */
export function parseSigset(buffer: ArrayBuffer): number[] {
  const mask = new DataView(buffer).getBigUint64(0, LITTLE);
  return Array.from({ length: 64 }, (_, i) => i + 1).filter((signal) => (mask >> BigInt(signal - 1)) & 1n);
}

export const SIGNALFD_SIGINFO_SIZE = 128;

export interface SignalInfo {
  signal: number;
  code: number;
  /** The sender, or for SIGCHLD the child. */
  pid: number;
  uid: number;
  /** For SIGCHLD: exit code or signal, by `code` (`CLD_*`). */
  status: number;
  /** What sigqueue(3) sent along. */
  value: number;
}

/** The first `length` bytes of a read from a signalfd: one record per signal. signalfd(2). */
export function parseSignals(buffer: ArrayBuffer, length: number): SignalInfo[] {
  const view = new DataView(buffer);
  const count = Math.floor(length / SIGNALFD_SIGINFO_SIZE);
  return Array.from({ length: count }, (_, i) => {
    const at = i * SIGNALFD_SIGINFO_SIZE;
    return {
      signal: view.getUint32(at, LITTLE),
      code: view.getInt32(at + 8, LITTLE),
      pid: view.getUint32(at + 12, LITTLE),
      uid: view.getUint32(at + 16, LITTLE),
      status: view.getInt32(at + 40, LITTLE),
      value: view.getInt32(at + 44, LITTLE),
    };
  });
}

/** How a child ended or stopped, from the int that wait4(2) fills in. */
export type WaitStatus =
  | { state: "exited"; code: number }
  | { state: "signaled"; signal: number; coreDumped: boolean }
  | { state: "stopped"; signal: number }
  | { state: "continued" };

/** The wait status, as number or as the buffer given to wait4. WIFEXITED and the others, wait(2). */
export function parseWaitStatus(status: number | ArrayBuffer): WaitStatus {
  const word = typeof status === "number" ? status : new DataView(status).getInt32(0, LITTLE);
  const low = word & 0x7f;
  const high = (word >> 8) & 0xff;
  if (word === 0xffff) return { state: "continued" };
  if (low === 0) return { state: "exited", code: high };
  if (low === 0x7f) return { state: "stopped", signal: high };
  return { state: "signaled", signal: low, coreDumped: (word & 0x80) !== 0 };
}

/** The code a shell would give: the exit code, or 128 + n for signal n. Undefined while the process lives. */
export function exitCodeOf(status: WaitStatus): number | undefined {
  if (status.state === "exited") return status.code;
  return status.state === "signaled" ? 128 + status.signal : undefined;
}

/* ---- terminals ----------------------------------------------------------------------------- */

export interface Winsize {
  rows: number;
  columns: number;
  xPixels?: number;
  yPixels?: number;
}

/** struct winsize, for TIOCSWINSZ. ioctl_tty(2). */
export const packWinsize = ({ rows, columns, xPixels = 0, yPixels = 0 }: Winsize): ArrayBuffer =>
  new Uint16Array([rows, columns, xPixels, yPixels]).buffer;

/** struct winsize, from TIOCGWINSZ. Zeros mean that nobody has set one. */
export function parseWinsize(buffer: ArrayBuffer): Required<Winsize> {
  const [rows = 0, columns = 0, xPixels = 0, yPixels = 0] = new Uint16Array(buffer);
  return { rows, columns, xPixels, yPixels };
}

/** The kernel's struct termios (TCGETS, TCSETS): four flag words, the line discipline, 19 control characters. */
export const TERMIOS_SIZE = 36;

const RAW_IFLAG_OFF = 0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000; // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
const RAW_OFLAG_OFF = 0o1; // OPOST
const RAW_CFLAG_OFF = 0o60 | 0o400; // CSIZE PARENB
const CS8 = 0o60;
const RAW_LFLAG_OFF = 0o10 | 0o100 | 0o2 | 0o1 | 0o100000; // ECHO ECHONL ICANON ISIG IEXTEN
const CONTROL_CHARACTERS = 17;
const VTIME = 5;
const VMIN = 6;

/** The same terminal settings in raw mode, as cfmakeraw(3) has it: other bits and characters stay as they were. */
export function rawTermios(termios: ArrayBuffer): ArrayBuffer {
  const buffer = termios.slice(0);
  const flags = new Uint32Array(buffer, 0, 4);
  const [input = 0, output = 0, control = 0, local = 0] = flags;
  flags.set([
    input & ~RAW_IFLAG_OFF,
    output & ~RAW_OFLAG_OFF,
    (control & ~RAW_CFLAG_OFF) | CS8,
    local & ~RAW_LFLAG_OFF,
  ]);
  const characters = new Uint8Array(buffer, CONTROL_CHARACTERS);
  characters[VMIN] = 1;
  characters[VTIME] = 0;
  return buffer;
}

/* ---- network interfaces -------------------------------------------------------------------- */

const IFNAMSIZ = 16;

/** struct ifreq with a name and flags, for SIOCGIFFLAGS and SIOCSIFFLAGS. netdevice(7). */
export const packIfreq = (name: string, flags = 0): ArrayBuffer =>
  pack(40, (view) => {
    if (name.length >= IFNAMSIZ) throw new RangeError(`interface name "${name}" is longer than ${IFNAMSIZ - 1} bytes`);
    for (let i = 0; i < name.length; i++) view.setUint8(i, name.charCodeAt(i));
    view.setUint16(IFNAMSIZ, flags, LITTLE);
  });

/** The `IFF_*` flags in a struct ifreq. */
export const parseIfreqFlags = (buffer: ArrayBuffer): number => new DataView(buffer).getUint16(IFNAMSIZ, LITTLE);

/* ---- credentials and limits ---------------------------------------------------------------- */

/** Capability sets as masks: capability n is bit n. capset(2) knows three of the five; the rest is prctl's. */
export interface CapabilityMasks {
  effective: bigint;
  permitted: bigint;
  inheritable: bigint;
  /** PR_CAPBSET_READ and PR_CAPBSET_DROP, one capability at a time. */
  bounding: bigint;
  /** PR_CAP_AMBIENT. Only what is permitted and inheritable can be ambient. */
  ambient: bigint;
}

type CapsetMasks = Pick<CapabilityMasks, "effective" | "permitted" | "inheritable">;

/** struct __user_cap_header_struct, version 3 (64-bit sets). Pid 0 is the caller. capget(2). */
export const packCapHeader = (pid = 0): ArrayBuffer =>
  pack(8, (view) => {
    view.setUint32(0, 0x20080522, LITTLE);
    view.setInt32(4, pid, LITTLE);
  });

/** struct __user_cap_data_struct[2]: effective, permitted, inheritable; low words first, then the high ones. */
export const packCapData = ({ effective, permitted, inheritable }: CapsetMasks): ArrayBuffer => {
  const sets = [effective, permitted, inheritable];
  const words = [...sets.map((mask) => mask & 0xffffffffn), ...sets.map((mask) => (mask >> 32n) & 0xffffffffn)];
  return new Uint32Array(words.map(Number)).buffer;
};

export const CAP_DATA_SIZE = 24;

/** What capget(2) filled in. */
export function parseCapData(buffer: ArrayBuffer): CapsetMasks {
  const words = new Uint32Array(buffer);
  const mask = (i: number) => BigInt(words[i] ?? 0) | (BigInt(words[i + 3] ?? 0) << 32n);
  return { effective: mask(0), permitted: mask(1), inheritable: mask(2) };
}

/** `RLIM_INFINITY` as people and the runtime-spec write it; the kernel's is 2^64 - 1. */
export const RLIM_INFINITY = -1;

/** struct rlimit64. -1 is "no limit". prlimit(2). */
export const packRlimit = ({ soft, hard }: { soft: number | bigint; hard: number | bigint }): ArrayBuffer =>
  pack(16, (view) => {
    putU64(view, 0, soft);
    putU64(view, 8, hard);
  });

/** struct rlimit64, with -1n for "no limit". */
export function parseRlimit(buffer: ArrayBuffer): { soft: bigint; hard: bigint } {
  const view = new DataView(buffer);
  const limit = (at: number) => {
    const value = view.getBigUint64(at, LITTLE);
    return value === U64 ? -1n : value;
  };
  return { soft: limit(0), hard: limit(8) };
}

/** struct sched_attr, 48 bytes (Linux 3.14). Times in nanoseconds. sched_setattr(2). */
export const packSchedAttr = (attr: {
  policy: number;
  flags: number;
  nice: number;
  priority: number;
  runtime: number | bigint;
  deadline: number | bigint;
  period: number | bigint;
}): ArrayBuffer =>
  pack(48, (view) => {
    view.setUint32(0, 48, LITTLE);
    view.setUint32(4, attr.policy, LITTLE);
    putU64(view, 8, attr.flags);
    view.setInt32(16, attr.nice, LITTLE);
    view.setUint32(20, attr.priority, LITTLE);
    putU64(view, 24, attr.runtime);
    putU64(view, 32, attr.deadline);
    putU64(view, 40, attr.period);
  });

/** gid_t[], for setgroups(2). */
export const packGids = (gids: readonly number[]): ArrayBuffer => new Uint32Array(gids).buffer;

/** gid_t[] as getgroups(2) filled it in. */
export const parseGids = (buffer: ArrayBuffer, count: number): number[] => [...new Uint32Array(buffer, 0, count)];

/* ---- time and the machine's names ---------------------------------------------------------- */

/** struct timespec for a duration, as ppoll(2) takes it. */
export const packTimespec = (ms: number): ArrayBuffer =>
  pack(16, (view) => {
    view.setBigInt64(0, BigInt(Math.floor(ms / 1000)), LITTLE);
    view.setBigInt64(8, BigInt(Math.floor((ms % 1000) * 1e6)), LITTLE);
  });

/** struct timespec as clock_gettime(2) filled it in. */
export function parseTimespec(buffer: ArrayBuffer): Time {
  const view = new DataView(buffer);
  return { sec: Number(view.getBigInt64(0, LITTLE)), nsec: Number(view.getBigInt64(8, LITTLE)) };
}

export const UTSNAME_SIZE = 6 * 65;

export interface Utsname {
  release: string;
  machine: string;
}

/** Of struct new_utsname, six fields of 65 bytes, what somebody asks for. Bytes beyond ASCII become lone surrogates, as the host does with bytes that are no text. uname(2). */
export function parseUtsname(buffer: ArrayBuffer): Utsname {
  const field = (i: number): string => {
    const bytes = new Uint8Array(buffer, 65 * i, 65);
    const end = bytes.indexOf(0);
    return [...bytes.subarray(0, end < 0 ? 65 : end)]
      .map((byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte))
      .join("");
  };
  return { release: field(2), machine: field(4) };
}
