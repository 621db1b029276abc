/**
 * A connection to a bus, or straight to the one who answers: unix socket, EXTERNAL authentication, calls and signals.
 * D-Bus Specification, "Authentication Protocol".
 *
 * Who we are is said at once, and whether that was well received is read when the first call is made: the other side had
 * time meanwhile. Calls wait for that: systemd (252) does not look at a message that came in the same read as BEGIN until
 * more comes.
 */
import { MarshalError, type Value } from "../dbus/marshal.ts";
import { decodeMessage, encodeCall, type Message, type MethodCall, messageLength } from "../dbus/message.ts";
import { AF_UNIX, MSG_NOSIGNAL, POLLIN, POLLOUT, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "../sys/constants.ts";
import { readFileIfThere } from "../sys/files.ts";
import { nowMs, sleepMs } from "../sys/sleep.ts";
import { packPollfds, packTimespec } from "../sys/structs.ts";
import { EAGAIN, EINTR, raw, SysError, sys } from "../sys/sys.ts";
import { connectUnix } from "../sys/unix-address.ts";

/** The other side is gone, or was not there. What was sent may have been done or not. */
export class BusGone extends Error {
  override readonly name = "BusGone";
}

/** The other side took too long. */
export class BusSlow extends Error {
  override readonly name = "BusSlow";
}

/** The answer to a call is an error: `org.freedesktop.DBus.Error.AccessDenied`. */
export class BusError extends Error {
  override readonly name = "BusError";
  readonly errorName: string;

  constructor(errorName: string, message: string) {
    super(message);
    this.errorName = errorName;
  }
}

export interface Peer {
  /** A path, or NUL and an abstract name. */
  socket: string;
  /** Whether a bus is between us and who answers: it wants a Hello, and to be asked for signals. */
  bus: boolean;
}

const ECONNRESET = -104;
const ROOM = 65_536;
/** More than anybody says to let us in. */
const LINE = 256;

export class Bus {
  readonly peer: Peer;
  readonly #socket: number;
  #serial = 0;
  #unsent: number[] = [];
  #received = new Uint8Array(0);
  #authenticated = false;
  /** Names of the signals that count: others come too, without a bus all that there are. */
  #watched = new Set<string>();
  /** Of those, which nobody has asked for yet. */
  #signals: Message[] = [];
  /** Answers to other calls than the one that is waited for. */
  #answers = new Map<number, Message>();

  private constructor(peer: Peer, socket: number) {
    this.peer = peer;
    this.#socket = socket;
    // Into an empty socket: there is room.
    sys.sendto(socket, `\0AUTH EXTERNAL ${hexOf(String(ownUid()))}\r\nBEGIN\r\n`, MSG_NOSIGNAL, null, 0);
    if (peer.bus) this.send({ ...BUS, member: "Hello", signature: "", body: [] });
  }

  /** Throws {@link SysError} when nobody listens there, {@link BusSlow} when nobody accepts until `deadlineMs`. */
  static connect(peer: Peer, deadlineMs: number): Bus {
    const socket = sys.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    try {
      for (;;) {
        const connected = connectUnix(socket, peer.socket);
        if (connected >= 0) return new Bus(peer, socket);
        // The queue of those who wait to be accepted is full.
        if (connected !== EAGAIN) throw new SysError("connect", -connected, [peer.socket]);
        if (nowMs() > deadlineMs) throw new BusSlow(peer.socket);
        sleepMs(10);
      }
    } catch (error) {
      raw.close(socket);
      throw error;
    }
  }

  close(): void {
    raw.close(this.#socket);
  }

  /** Puts a call into the queue; it goes out with the next that is waited for, or with `flush`. Returns its serial. */
  send(call: MethodCall): number {
    this.#unsent = this.#unsent.concat(encodeCall(call, ++this.#serial));
    return this.#serial;
  }

  /** Signals that come through a bus must be asked for; one that comes without a bus comes anyway. */
  watch(member: string, rule: string): void {
    this.#watched.add(member);
    if (!this.peer.bus) return;
    this.send({ ...BUS, member: "AddMatch", signature: "s", body: [rule], noReply: true });
  }

  /** What a call returns. Throws {@link BusError}, {@link BusGone}, {@link BusSlow}. */
  call(call: MethodCall, deadlineMs: number): Value[] {
    const serial = this.send(call);
    for (;;) {
      const answer = this.#answers.get(serial);
      if (answer !== undefined) {
        this.#answers.delete(serial);
        if (answer.type !== "error") return answer.body;
        const [text = ""] = answer.body;
        throw new BusError(answer.errorName ?? "", String(text));
      }
      this.#receive(deadlineMs);
    }
  }

  /** The next signal of this name. Throws {@link BusGone}, {@link BusSlow}. */
  signal(member: string, deadlineMs: number): Value[] {
    for (;;) {
      const at = this.#signals.findIndex((signal) => signal.member === member);
      if (at >= 0) return this.#signals.splice(at, 1)[0]?.body ?? [];
      this.#receive(deadlineMs);
    }
  }

  /** Sends what is in the queue, as far as the other side takes it by then. */
  flush(deadlineMs: number): void {
    while (!this.#authenticated) this.#read(deadlineMs);
    while (this.#unsent.length > 0) {
      const sent = raw.sendto(this.#socket, new Uint8Array(this.#unsent).buffer, MSG_NOSIGNAL, null, 0);
      if (sent >= 0) this.#unsent.splice(0, sent);
      else if (sent === EAGAIN) this.#wait(POLLOUT, deadlineMs);
      else if (sent !== EINTR) throw new BusGone(`sendto: ${sent}`);
    }
  }

  #receive(deadlineMs: number): void {
    // Here, for one who always has something else to say.
    if (nowMs() > deadlineMs) throw new BusSlow(this.peer.socket);
    this.flush(deadlineMs);
    this.#read(deadlineMs);
    this.#dispatch();
  }

  #read(deadlineMs: number): void {
    const buffer = new ArrayBuffer(ROOM);
    const length = raw.read(this.#socket, buffer);
    if (length === EAGAIN) return this.#wait(POLLIN, deadlineMs);
    if (length === EINTR) return;
    if (length === 0 || length === ECONNRESET) throw new BusGone("the connection was closed");
    if (length < 0) throw new SysError("read", -length, [this.peer.socket]);
    const bytes = new Uint8Array(this.#received.length + length);
    bytes.set(this.#received);
    bytes.set(new Uint8Array(buffer, 0, length), this.#received.length);
    this.#received = bytes;
    if (!this.#authenticated) this.#authenticate();
  }

  #authenticate(): void {
    const end = this.#received.indexOf(10);
    if (end < 0 && this.#received.length < LINE) return;
    const [line = ""] = String.fromCharCode(...this.#received.subarray(0, LINE)).split("\r\n");
    if (end < 0 || !line.startsWith("OK")) throw new BusError("AuthFailed", `it does not let us in: ${line}`);
    this.#authenticated = true;
    this.#received = this.#received.slice(end + 1);
  }

  #dispatch(): void {
    for (;;) {
      const message = this.#take();
      if (message === undefined) return;
      if (message.type === "signal") {
        if (this.#watched.has(message.member ?? "")) this.#signals.push(message);
      } else if (message.replySerial !== undefined) this.#answers.set(message.replySerial, message);
    }
  }

  /** The next message that is there whole. Lengths that lie end in the DataView. */
  #take(): Message | undefined {
    try {
      const length = messageLength(this.#received);
      if (length === undefined || length > this.#received.length) return undefined;
      const message = decodeMessage(this.#received.slice(0, length));
      this.#received = this.#received.slice(length);
      return message;
    } catch (error) {
      if (!(error instanceof MarshalError || error instanceof RangeError)) throw error;
      throw new BusError("Garbled", `what it says is no message of D-Bus: ${error.message}`);
    }
  }

  #wait(events: number, deadlineMs: number): void {
    const leftMs = deadlineMs - nowMs();
    if (leftMs <= 0) throw new BusSlow(this.peer.socket);
    raw.ppoll(packPollfds([{ fd: this.#socket, events }]), 1, packTimespec(leftMs), null, 8);
  }
}

const BUS = {
  destination: "org.freedesktop.DBus",
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
};

const hexOf = (text: string): string => Array.from(text, (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("");

/** As the other side sees it: in a user namespace, as under rootless Podman, the id outside. user_namespaces(7), "uid_map". */
function ownUid(): number {
  const uid = raw.geteuid();
  for (const line of (readFileIfThere("/proc/self/uid_map") ?? "").split("\n")) {
    const [inside = 0, outside = 0, count = 0] = line.trim().split(/\s+/).map(Number);
    if (uid >= inside && uid < inside + count) return outside + uid - inside;
  }
  return uid;
}
