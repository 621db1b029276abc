/**
 * Runs criu(8), and says what is wrong where it cannot work. What it is to do it is told by its RPC (ADR 26): there alone it hands
 * over the master of a terminal.
 */
import { ContainerError } from "../error.ts";
import { type CriuOptions, errorLines } from "../plan/criu-options.ts";
import {
  AT_FDCWD,
  F_SETFD,
  MFD_CLOEXEC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  SFD_CLOEXEC,
  SIG_SETMASK,
} from "../sys/constants.ts";
import { errnoText } from "../sys/errno.ts";
import { readIfReadable } from "../sys/files.ts";
import { openStandardFiles } from "../sys/standard-files.ts";
import { exitCodeOf, packSigset } from "../sys/structs.ts";
import { check, raw, SysError, sys } from "../sys/sys.ts";
import { openChannel } from "./channel.ts";
import { askCriu, type CriuAnswer, type Notification, type REQUESTS } from "./criu-rpc.ts";
import { ENDING_SIGNALS, takeSignal } from "./give-up.ts";
import { findProgram } from "./helper-program.ts";
import { closeInherited } from "./init/descriptors.ts";
import { keepEnds, waitFor } from "./wait.ts";

const EACCES = -13;

export interface CriuCall {
  program: string;
  /** Runs in the process that becomes criu: its view. A throw is an error of the call. */
  prepare?: () => void;
  /** Descriptors that criu gets, by the number that it gets each as. */
  inherited?: readonly { from: number; to: number }[];
  /** criu has the caller's standard input, output and error. */
  ownStdio?: boolean;
}

export interface CriuRequest {
  kind: keyof typeof REQUESTS;
  imagePath: string;
  workPath: string | undefined;
  /** Asked for when there is a criu, `pid`, which does nothing before it has them. */
  options: (pid: number) => CriuOptions;
  notified: (notification: Notification) => void;
}

/** The program: the one named, else the machine's in the usual directories. Throws CRIU_MISSING. */
export function findCriu(named: string | undefined): string {
  const X_OK = 1;
  const isPath = named?.includes("/") === true;
  const access = isPath ? raw.faccessat(AT_FDCWD, named, X_OK) : 0;
  const path = isPath ? named : findProgram(named ?? "criu");
  if (path !== undefined && access >= 0) return path;
  throw new ContainerError(
    "CRIU_MISSING",
    named === undefined
      ? "criu is not installed"
      : access === EACCES
        ? `${named} may not be executed`
        : `there is no program ${named}`,
    {
      ...(isPath ? { cause: new SysError("faccessat", -access, [named, "X_OK"]) } : {}),
      ...(named === undefined ? {} : { field: "--criu" }),
      hint: "checkpoint and restore are done by CRIU: install it (apt install criu, dnf install criu), or name the program with --criu",
    },
  );
}

/**
 * One request to a criu that is started for it; the first process of what was restored. Throws CRIU_FAILED when it cannot even be
 * started, CHECKPOINT_FAILED, RESTORE_FAILED, and what `options` and `notified` throw.
 */
export function requestCriu(
  call: CriuCall,
  { kind, imagePath, workPath = imagePath, ...request }: CriuRequest,
): number {
  const [socket, theirs] = openChannel();
  let criu: Started;
  try {
    criu = start({ ...call, inherited: [...(call.inherited ?? []), { from: theirs, to: RPC_SOCKET }] }, [
      "swrk",
      String(RPC_SOCKET),
    ]);
  } finally {
    raw.close(theirs);
  }
  const directories: number[] = [];
  // criu finds them by our numbers. It mounts in its working directory, which works in its own view alone.
  const open = (path: string): number => {
    const fd = sys.openat(
      AT_FDCWD,
      `/proc/${criu.pid}/root${withoutLinks(path)}`,
      O_RDONLY | O_DIRECTORY | O_CLOEXEC,
      0,
    );
    directories.push(fd);
    return fd;
  };
  const signals = sys.signalfd4(-1, packSigset(ENDING_SIGNALS), 8, SFD_CLOEXEC);
  const unlessTold = () => {
    if (sys.awaitReadable(socket, signals) !== ONLY_SIGNALS) return;
    raw.kill(criu.pid, SIGKILL);
    throw new ContainerError("SETUP_INTERRUPTED", `ended by ${takeSignal(signals)} before criu was done`);
  };
  let options: CriuOptions;
  let answer: CriuAnswer;
  let ended: Ended;
  try {
    options = { ...request.options(criu.pid), imagesDirFd: open(imagePath), workDirFd: open(workPath) };
    answer = askCriu(socket, kind, options, request.notified, unlessTold);
  } finally {
    raw.close(socket); // nobody asks it any more: it ends
    raw.close(signals);
    ended = awaitEnd(criu);
    for (const fd of directories) raw.close(fd);
  }
  if (answer.success) return answer.pid;
  const said = `${ended.said}\n${answer.message}`;
  throw criuFailure(kind, { ...ended, said }, { program: call.program, log: `${workPath}/${options.logFile}` });
}

const [ONLY_SIGNALS, SIGKILL] = [2, 9];

/** An absolute link would lead from criu's view back into ours. */
function withoutLinks(path: string): string {
  const fd = sys.openat(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
  const name = sys.readlinkText(AT_FDCWD, `/proc/self/fd/${fd}`);
  raw.close(fd);
  return name;
}

/** Where criu has descriptors of ours: beyond what it opens itself on the way. */
export const INHERITED = 100;
const RPC_SOCKET = INHERITED - 1;

interface Ended {
  code: number;
  said: string;
}

interface Started {
  pid: number;
  /** What it says, in memory. */
  output: number;
}

function start(call: CriuCall, args: readonly string[]): Started {
  openStandardFiles();
  const output = sys.memfdCreate("output", MFD_CLOEXEC);
  const fds = new ArrayBuffer(8);
  sys.pipe2(fds, O_CLOEXEC);
  const [failureEnd = -1, childEnd = -1] = new Int32Array(fds);
  const { program, inherited = [], ownStdio = false } = call;
  keepEnds();
  const pid = check(
    raw.spawn(0, 0, childEnd, failureEnd, () => {
      try {
        const given = inherited.map(({ from }) => from);
        closeInherited([childEnd, output, ...given]);
        for (const { from, to } of inherited)
          check(from === to ? raw.fcntl(to, F_SETFD, 0) : raw.dup3(from, to, 0), "dup3", from, to);
        call.prepare?.();
        if (!ownStdio) {
          raw.dup3(sys.openat(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0), 0, 0);
          for (const fd of [1, 2]) raw.dup3(output, fd, 0);
        }
        raw.rtSigprocmask(SIG_SETMASK, new ArrayBuffer(8), null, 8);
        const result = raw.execve(
          program,
          ["criu", ...args],
          ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        );
        raw.write(childEnd, `${program} cannot be executed: ${errnoText(-result).toLowerCase()}`);
      } catch (error) {
        raw.write(childEnd, error instanceof Error ? error.message : String(error));
      }
      raw.exitGroup(127);
    }),
    "clone3",
  );
  const problem = sys.readText(failureEnd);
  raw.close(failureEnd);
  if (problem === "") return { pid, output };
  awaitEnd({ pid, output });
  throw new ContainerError("CRIU_FAILED", `cannot run criu: ${problem}`);
}

function awaitEnd({ pid, output }: Started): Ended {
  const code = exitCodeOf(waitFor(pid)) ?? 127;
  sys.lseek(output, 0, 0);
  const said = sys.readText(output);
  raw.close(output);
  return { code, said };
}

/** What a failed request means: the first errors of its log, or what was said, and what `criu check` thinks of this machine. */
export function criuFailure(
  action: keyof typeof REQUESTS,
  { code, said }: Ended,
  { program, log }: { program: string; log: string },
): ContainerError {
  // One that cannot be read, or is too long for us, does not hide what happened: CRIU's answer has the first error too.
  const written = readIfReadable(log);
  const errors = errorLines(`${written ?? ""}\n${said}`);
  const why =
    errors.length > 0
      ? errors.slice(0, ENOUGH).join("; ")
      : (said.trim().split("\n").at(-1) ?? "") || `exit code ${code}`;
  const checked = awaitEnd(start({ program }, ["check"]));
  const complaints = errorLines(checked.said).slice(0, ENOUGH).join("; ");
  const machine =
    checked.code === 0
      ? "`criu check` finds nothing wrong with this machine"
      : `CRIU does not work on this machine: \`criu check\` says ${complaints || checked.said.trim() || `exit code ${checked.code}`}`;
  return new ContainerError(
    action === "restore" ? "RESTORE_FAILED" : "CHECKPOINT_FAILED",
    `criu ${action} failed: ${why}`,
    {
      hint: `${machine}${written === undefined ? "" : `; the whole log is ${log}`}`,
    },
  );
}

/** Lines; later ones are consequences. */
const ENOUGH = 3;
