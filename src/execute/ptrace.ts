/**
 * Following a command and all that it starts, call by call: ptrace(2) with PTRACE_SEIZE, which stops nobody who need not stop.
 *
 * The init process is seized before its first step, while it has the caller's own ids: later it may be one that the caller must
 * not trace. It is then let alone, all signals blocked, until it executes the command; that stop is the first, but for what no mask holds (SIGSTOP).
 * Linux 5.3 for PTRACE_GET_SYSCALL_INFO.
 */
import { ContainerError } from "../error.ts";
import { POLLIN } from "../sys/constants.ts";
import { packPollfds, packTimespec } from "../sys/structs.ts";
import { EINTR, raw, SysError } from "../sys/sys.ts";
import { receive, send } from "./channel.ts";
import { pendingSignals } from "./give-up.ts";

/** What follows a command: both are called by `execute`. */
export interface Watch {
  /** The init process waits for this before it begins. */
  seize(pid: number): void;
  /** Sleeps until there is something to receive. A signal may stop it before, and who is followed goes on only when somebody has looked. */
  awaitMessage(pid: number, channel: number): void;
}

const SYSCALL_INFO = 0x420e;
const SECCOMP_GET_FILTER = 0x420c;
const [CONT, SYSCALL, SETOPTIONS, GETEVENTMSG, SEIZE, LISTEN] = [7, 24, 0x4200, 0x4201, 0x4206, 0x4208];
const [O_SYSGOOD, O_FORK, O_VFORK, O_CLONE, O_EXEC] = [1, 2, 4, 8, 16];
const [EVENT_EXEC, EVENT_STOP] = [4, 128];
const SYSCALL_STOP = 0x85; // SIGTRAP | 0x80
const SIGTRAP = 5;
const __WALL = 0x40000000;
const WNOHANG = 1;
const PAUSE_MS = 100;

/** The init process's side. */
export function askToBeWatched(channel: number): void {
  // A fault (host/cold.h) would be a stop, and nobody looks for stops yet.
  raw.wakeHeap();
  send(channel, { kind: "watch" });
  if (receive(channel)?.message.kind !== "done") raw.exitGroup(127);
}

/** A system call as it is made. Arguments are unsigned. */
export interface Call {
  /** AUDIT_ARCH_*. */
  arch: number;
  nr: number;
  ip: bigint;
  args: bigint[];
}

export interface Observer {
  /** A call is about to be made. */
  enters?(tid: number, call: Call): void;
  /** A call has failed with this errno. */
  failed?(tid: number, call: Call, errno: number): void;
  /** A thread ended, by a signal or not; its last call: one that a filter kills for has been rolled back by then. */
  ended?(tid: number, signal: number | undefined, call: Call | undefined): void;
}

interface Thread {
  /** struct ptrace_syscall_info of the call that it is in. */
  entry: DataView;
  inCall: boolean;
}

const INFO_SIZE = 88;
const [OP_ENTRY, OP_EXIT] = [1, 2];

/** A command from its execve on, and all threads below it. */
export class Following implements Watch {
  readonly #threads = new Map<number, Thread>();
  readonly #observer: Observer;
  readonly #info = new DataView(new ArrayBuffer(INFO_SIZE));
  #isExecuted = false;
  /** The wait status of the command itself, which is reaped then. */
  #ended: number | undefined;

  constructor(observer: Observer) {
    this.#observer = observer;
  }

  seize(pid: number): void {
    // No stop at its exit: its end of the channel would be open until somebody lets it go on.
    const result = raw.ptrace(SEIZE, pid, 0, O_EXEC);
    if (result >= 0) return;
    throw new ContainerError("TRACE_REFUSED", "the command cannot be followed", {
      hint: "ptrace(2): a debugger on it already, kernel.yama.ptrace_scope = 3, or a seccomp filter around tupper",
      cause: new SysError("ptrace", -result, ["PTRACE_SEIZE", pid]),
    });
  }

  awaitMessage(pid: number, channel: number): void {
    const polled = packPollfds([{ fd: channel, events: POLLIN }]);
    while (raw.ppoll(polled, 1, packTimespec(PAUSE_MS), null, 8) === 0) {
      this.handleStops(pid);
      if (pendingSignals() !== undefined) throw new SysError("ppoll", -EINTR, [channel]);
    }
  }

  /** Handles all stops that there are now. The wait status of the command itself once it has ended. */
  handleStops(pid: number): number | undefined {
    while (this.#ended === undefined) {
      const stop = nextStop(this.#isExecuted ? -1 : pid);
      if (stop === undefined) return undefined;
      const { tid } = stop;
      if (stop.kind === "ended") {
        const thread = this.#threads.get(tid);
        const signal = stop.status & 0x7f;
        this.#observer.ended?.(tid, signal === 0 ? undefined : signal, thread && callOf(thread.entry));
        this.#threads.delete(tid);
        if (tid === pid) this.#ended = stop.status;
        continue;
      }
      if (stop.kind === "syscall") this.#syscall(tid);
      else if (stop.kind === "event" && stop.event === EVENT_EXEC) this.#executed(tid);
      const rests = stop.kind === "event" && stop.event === EVENT_STOP && stop.signal !== SIGTRAP;
      const on = this.#isExecuted ? SYSCALL : CONT;
      // ESRCH: it was killed meanwhile, and its end comes as the next thing.
      raw.ptrace(rests ? LISTEN : on, tid, 0, stop.kind === "signal" ? stop.signal : 0);
    }
    return this.#ended;
  }

  #executed(tid: number): void {
    if (this.#isExecuted) return this.#forgetFormer(tid);
    this.#isExecuted = true;
    raw.ptrace(SETOPTIONS, tid, 0, O_SYSGOOD + O_FORK + O_VFORK + O_CLONE + O_EXEC);
  }

  #syscall(tid: number): void {
    if (raw.ptraceInto(SYSCALL_INFO, tid, INFO_SIZE, this.#info.buffer as ArrayBuffer) < 0) return;
    const op = this.#info.getUint8(0);
    let thread = this.#threads.get(tid);
    if (op === OP_ENTRY) {
      if (thread === undefined) {
        thread = { entry: new DataView(new ArrayBuffer(INFO_SIZE)), inCall: true };
        this.#threads.set(tid, thread);
      }
      thread.inCall = true;
      new Uint8Array(thread.entry.buffer).set(new Uint8Array(this.#info.buffer));
      this.#observer.enters?.(tid, callOf(thread.entry));
    } else if (op === OP_EXIT && thread?.inCall) {
      thread.inCall = false;
      if (this.#info.getUint8(32) === 1)
        this.#observer.failed?.(tid, callOf(thread.entry), -Number(this.#info.getBigInt64(24, true)));
    }
  }

  /** execve of a thread that is not the first: it goes on under the first one's number. */
  #forgetFormer(tid: number): void {
    const former = new BigUint64Array(1);
    if (raw.ptraceInto(GETEVENTMSG, tid, 0, former.buffer as ArrayBuffer) < 0) return;
    if (Number(former[0]) !== tid) this.#threads.delete(Number(former[0]));
  }
}

function callOf(info: DataView): Call {
  return {
    arch: info.getUint32(4, true),
    ip: info.getBigUint64(8, true),
    nr: info.getUint32(24, true),
    args: Array.from({ length: 6 }, (_, i) => info.getBigUint64(32 + 8 * i, true)),
  };
}

type Stop =
  | { tid: number; kind: "ended"; status: number }
  | { tid: number; kind: "syscall" }
  | { tid: number; kind: "event"; event: number; signal: number }
  | { tid: number; kind: "signal"; signal: number };

/** The next thing that happened to a tracee (-1: to any); undefined where nothing has, or there is none left. */
function nextStop(pid: number): Stop | undefined {
  const buffer = new ArrayBuffer(4);
  let tid: number;
  do tid = raw.wait4(pid, buffer, __WALL + WNOHANG, null);
  while (tid === -4);
  if (tid <= 0) return undefined;
  const status = new DataView(buffer).getInt32(0, true);
  if ((status & 0xff) !== 0x7f) return { tid, kind: "ended", status };
  const signal = (status >> 8) & 0xff;
  const event = status >> 16;
  if (signal === SYSCALL_STOP) return { tid, kind: "syscall" };
  if (event !== 0) return { tid, kind: "event", event, signal };
  return { tid, kind: "signal", signal };
}

/**
 * The seccomp filters of a stopped tracee; undefined where they may not be had: it takes CAP_SYS_ADMIN in the first user
 * namespace, no filter on the tracer itself, and a kernel with CONFIG_CHECKPOINT_RESTORE.
 */
export function seccompFilters(tid: number): Uint8Array[] | undefined {
  const filters: Uint8Array[] = [];
  for (;;) {
    const length = raw.ptraceInto(SECCOMP_GET_FILTER, tid, filters.length, null);
    if (length === -2) return filters;
    if (length < 0) return undefined;
    const program = new ArrayBuffer(8 * length);
    if (raw.ptraceInto(SECCOMP_GET_FILTER, tid, filters.length, program) < 0) return undefined;
    filters.push(new Uint8Array(program));
  }
}
