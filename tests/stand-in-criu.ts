/**
 * A stand-in for CRIU, which does not work on every kernel: it speaks the RPC of `criu swrk`, writes down what it was asked for,
 * and does with processes what CRIU would. A dump kills the process, unless it is to be left running; a restore starts another
 * in its place, on a new terminal if it had one. It reads and writes messages by itself, so that what tupper has wrong is not
 * right here.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryDirectory } from "./harness.ts";

const PROGRAM = String.raw`#!/usr/bin/python3
import os, socket, struct, sys, time
here = os.path.dirname(sys.argv[0])
NAMES = {1: 'images_dir_fd', 2: 'pid', 3: 'leave_running', 4: 'ext_unix_sk', 5: 'tcp_established', 6: 'evasive_devices', 7: 'shell_job',
  8: 'file_locks', 9: 'log_level', 10: 'log_file', 11: 'ps', 12: 'notify_scripts', 13: 'root', 14: 'parent_img', 15: 'track_mem',
  16: 'auto_dedup', 17: 'work_dir_fd', 18: 'link_remap', 25: 'cg_root', 26: 'rst_sibling', 27: 'inherit_fd', 34: 'manage_cgroups_mode',
  37: 'external', 38: 'empty_ns', 39: 'join_ns', 44: 'freeze_cgroup', 46: 'tcp_skip_in_flight', 48: 'lazy_pages', 50: 'orphan_pts_master',
  51: 'config_file', 52: 'tcp_close', 53: 'lsm_profile', 63: 'lsm_mount_context', 64: 'network_lock'}
MESSAGES = {'ps', 'cg_root', 'inherit_fd', 'join_ns'}

def fields(data):
    found, at = [], 0
    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]; at += 1
            value |= (byte & 127) << shift; shift += 7
            if byte < 128: return value
    while at < len(data):
        tag = number()
        value = number()
        if tag & 7 == 2: at += value; value = data[at - value:at]
        else: assert tag & 7 == 0
        found.append((tag >> 3, value))
    return found

def varint(value):
    out = b''
    while value > 127: out += bytes([value & 127 | 128]); value >>= 7
    return out + bytes([value])
def message(*pairs):
    return b''.join(varint(n << 3 | 2) + varint(len(v)) + v if isinstance(v, bytes) else varint(n << 3) + varint(v) for n, v in pairs)

def file(name): return os.path.join(here, name)
def write(name, text):
    with open(file(name), 'a') as out: out.write(text)
def copy(name, source): write(name, open(source).read())

if sys.argv[1] == 'check':
    if os.path.exists(file('fails')): sys.stderr.write('Error (criu/vdso.c:381): vdso: too new\n'); sys.exit(1)
    sys.exit(0)
assert sys.argv[1] == 'swrk'
sk = socket.socket(fileno=int(sys.argv[2]))
peer = struct.unpack('3i', sk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
(_, kind), (_, packed) = fields(sk.recv(1 << 20))
options = {}
for n, value in fields(packed):
    name = NAMES[n]
    text = [v.decode() if isinstance(v, bytes) else v for _, v in fields(value)] if name in MESSAGES else value.decode() if isinstance(value, bytes) else value
    options.setdefault(name, []).append(text)
one = lambda name: options.get(name, [None])[0]
kind = {1: 'dump', 2: 'restore', 4: 'pre-dump'}[kind]
write('calls', repr([kind, options]).replace("'", '"') + '\n')
there = lambda name: '/proc/%d/fd/%d' % (peer, one(name))
def log(text):
    with open(os.path.join(there('work_dir_fd'), one('log_file')), 'w') as out:
        out.write(text)
        if open(file('fails')).read() == 'endless log': out.truncate(1 << 29)

def notify(script, pid=None, fd=None):
    told = message((1, script.encode()), *([] if pid is None else [(2, pid)]))
    rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('i', fd))]
    sk.sendmsg([message((1, 6), (2, 1), (5, told))], rights)
    answer = dict(fields(sk.recv(4096)))
    assert answer[1] == 6
    write('answers', '%s %d\n' % (script, answer.get(3, 0)))
    return answer.get(3) == 1
def result(number, success, *more):
    sk.send(message((1, number), (2, success), *more))
    sys.exit(0 if success else 1)

if os.path.exists(file('hangs')): time.sleep(600)
if os.path.exists(file('dies')): os.kill(os.getpid(), 9)
if os.path.exists(file('fails')):
    log('(00.000001) fine\n(00.000002) Error (criu/mount.c:1): mnt: cannot\n(00.000003) Error (criu/cr-dump.c:2): Dumping FAILED.\n')
    result(0, 0, (9, b'Error (criu/mount.c:1): mnt: cannot'))
if kind == 'pre-dump': result(4, 1)
if kind == 'dump':
    open(os.path.join(there('images_dir_fd'), 'inventory.img'), 'w')
    if one('lazy_pages'): notify('status-ready')
    if not one('leave_running'): os.kill(one('pid'), 9)
    result(1, 1)
# It mounts in its working directory, which must be in its own view.
os.chdir(there('work_dir_fd'))
os.mkdir('yard')
if os.system('mount -t tmpfs none yard 2>/dev/null') != 0: result(2, 0, (9, b'Error (criu/util.c:2): Unable to mount tmpfs'))
os.system('umount -l yard')
os.rmdir('yard')
write('root', '\n'.join(os.listdir(one('root'))) + '\n')
for key, fd in options.get('inherit_fd', []): write('inherited', key + ' ' + os.readlink('/proc/self/fd/%d' % fd) + '\n')
copy('cgroup', '/proc/self/cgroup')
master, slave = os.openpty() if one('orphan_pts_master') else (None, None)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(w)
    sk.close()
    os.setsid()
    os.read(r, 1)
    null = os.open('/dev/null', os.O_RDWR)
    for fd in 0, 1, 2: os.dup2(null if slave is None else slave, fd)
    os.closerange(3, 200)
    os.execv('/bin/sh', ['sh', '-c', 'exec sleep 600' if slave is None else 'read line; echo "got $line"; exit 7'])
if not notify('setup-namespaces', pid): os.kill(pid, 9); os.wait(); result(2, 0)
if os.path.exists(file('dies late')): os.kill(os.getpid(), 9)
if master is not None and not notify('orphan-pts-master', None, master): os.kill(pid, 9); os.wait(); result(2, 0)
os.close(w)
result(2, 1, (4, message((1, pid))))
`;

export interface StandInCriu {
  program: string;
  /** Each request: what for, and the options by the names of rpc.proto. */
  calls(): [kind: string, options: Record<string, unknown[]>][];
  /** What it wrote down besides: `root`, `cgroup`, `inherited`, `answers`. */
  file(name: string): string;
  /** From here on it says that it cannot. */
  fail(how?: "endless log"): void;
  /** From here on it ends without a word; `late`: when it has made the process. */
  die(when?: "late"): void;
  /** From here on it does not answer. */
  hang(): void;
}

export function standInCriu(): StandInCriu {
  const directory = temporaryDirectory();
  const path = (name: string) => join(directory, name);
  writeFileSync(path("criu"), PROGRAM);
  chmodSync(path("criu"), 0o755);
  const file = (name: string) => readFileSync(path(name), "utf8");
  return {
    program: path("criu"),
    calls: () =>
      file("calls")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    file,
    fail: (how: "endless log" | "" = "") => writeFileSync(path("fails"), how),
    die: (when?: "late") => writeFileSync(path(when === "late" ? "dies late" : "dies"), ""),
    hang: () => writeFileSync(path("hangs"), ""),
  };
}
