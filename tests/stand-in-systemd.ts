/**
 * The other side of D-Bus, for tests of what goes wrong: a bus with somebody on it who does what systemd does with scopes, as far
 * as control groups go, or whatever else a test says. It reads and writes messages by itself, so that what tupper has wrong
 * is not right here.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { atEnd, temporaryDirectory } from "./harness.ts";

/** What a client said, in order: `AUTH EXTERNAL 30`, `Hello`, `StopUnit`. */
export interface Call {
  member: string;
  interface: string;
  path: string;
  noReply: boolean;
  signature: string;
  body: unknown[];
}

/** What the other side does with a call: an answer, an error, silence, signals that nobody asked for, or the end of the connection. */
export type Answer =
  | { returns: [signature: string, ...values: unknown[]]; afterwards?: () => void }
  | { error: string; message: string }
  | "silence"
  | "endless signals"
  | "close";

export class StandIn {
  /** For DBUS_SYSTEM_BUS_ADDRESS. */
  readonly address: string;
  readonly calls: Call[] = [];
  readonly auth: string[] = [];
  /** What the test does in place of systemd; undefined: what systemd does. */
  answer: (call: Call, connection: number) => Answer | undefined = () => undefined;
  /** How jobs end; undefined: never. */
  result: string | undefined = "done";
  letsIn = true;
  /** What it says when it lets us in. */
  greeting = "OK 0123456789abcdef0123456789abcdef\r\n";
  readonly #path: string;
  readonly #server: Server;
  readonly #sockets: Socket[] = [];
  readonly #scopes = new Map<string, string[]>();
  #connections = 0;
  #serial = 0;
  #jobs = 0;

  private constructor(path: string) {
    this.#path = path;
    this.address = `unix:path=${path}`;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(): Promise<StandIn> {
    const standIn = new StandIn(join(temporaryDirectory(), "bus"));
    await new Promise<void>((done) => standIn.#server.listen(standIn.#path, done));
    atEnd(() => {
      standIn.stop();
      for (const unit of standIn.#scopes.keys()) standIn.#removeScope(unit);
    });
    return standIn;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  get env(): NodeJS.ProcessEnv {
    return { DBUS_SYSTEM_BUS_ADDRESS: this.address };
  }

  /** The names of the calls so far. */
  get members(): string[] {
    return this.calls.map(({ member }) => member);
  }

  get units(): string[] {
    return [...this.#scopes.keys()];
  }

  #serve(socket: Socket): void {
    const connection = ++this.#connections;
    this.#sockets.push(socket);
    let received = Buffer.alloc(0);
    let isRunning = false;
    socket.on("error", () => {});
    socket.on("data", (data) => {
      received = Buffer.concat([received, data]);
      while (!isRunning) {
        const end = received.indexOf("\r\n");
        if (end < 0) return;
        const line = received.subarray(0, end).toString("latin1").replace("\0", "");
        received = received.subarray(end + 2);
        this.auth.push(line);
        if (line === "BEGIN") isRunning = true;
        else socket.write(this.letsIn ? this.greeting : "REJECTED EXTERNAL\r\n");
        // As systemd (252) does: what came in the same read waits for more.
        if (isRunning && received.length > 0) throw new Error("messages before OK");
      }
      for (;;) {
        if (received.length < 16) return;
        const length = align(16 + received.readUInt32LE(12), 8) + received.readUInt32LE(4);
        if (received.length < length) return;
        const { call, serial } = readCall(received.subarray(0, length));
        received = received.subarray(length);
        this.calls.push(call);
        this.#reply(socket, call, serial, this.answer(call, connection) ?? this.#perform(call));
      }
    });
  }

  #reply(socket: Socket, call: Call, replyTo: number, answer: Answer): void {
    if (answer === "close") socket.destroy();
    if (answer === "endless signals")
      sendForEver(socket, message(4, 1, { 1: ["o", "/"], 2: ["s", "a.b"], 3: ["s", "C"] }, "", []));
    if (typeof answer === "string" || (call.noReply && "returns" in answer)) return;
    if (call.noReply) return;
    if ("error" in answer)
      socket.write(message(3, ++this.#serial, { 4: ["s", answer.error], 5: ["u", replyTo] }, "s", [answer.message]));
    else {
      const [signature, ...values] = answer.returns;
      socket.write(message(2, ++this.#serial, { 5: ["u", replyTo] }, signature, values));
      answer.afterwards?.();
    }
  }

  /** What systemd does. */
  #perform({ member, body }: Call): Answer {
    const [unit = ""] = body as string[];
    switch (member) {
      case "Hello":
        return { returns: ["s", ":1.7"] };
      case "StartTransientUnit": {
        if (this.#scopes.has(unit))
          return { error: `${SYSTEMD}.UnitExists`, message: `Unit ${unit} was already loaded` };
        const properties = new Map(body[2] as [string, unknown][]);
        this.makeScope(unit, String(properties.get("Slice")), properties.get("PIDs") as number[]);
        return this.#job(unit);
      }
      case "StopUnit":
        if (!this.#scopes.has(unit)) return { error: `${SYSTEMD}.NoSuchUnit`, message: `Unit ${unit} not loaded.` };
        this.#removeScope(unit);
        return this.#job(unit);
      default:
        return { returns: [""] };
    }
  }

  #job(unit: string): Answer {
    const job = `/org/freedesktop/systemd1/job/${++this.#jobs}`;
    return {
      returns: ["o", job],
      afterwards: () => this.result !== undefined && this.jobRemoved(job, unit, this.result),
    };
  }

  /** Tells everybody. */
  jobRemoved(job: string, unit: string, result: string): void {
    const header = {
      1: ["o", "/org/freedesktop/systemd1"],
      2: ["s", `${SYSTEMD}.Manager`],
      3: ["s", "JobRemoved"],
    } as const;
    const signal = message(4, ++this.#serial, header, "uoss", [1, job, unit, result]);
    for (const socket of this.#sockets) if (!socket.destroyed) socket.write(signal);
  }

  /** The groups that systemd counts processes in, with these in them. */
  makeScope(unit: string, slice: string, pids: readonly number[]): void {
    const parts = slice.replace(/\.slice$/, "").split("-");
    const within = parts.map((_, i) => `${parts.slice(0, i + 1).join("-")}.slice`);
    const paths = countingTrees().map((tree) => join(tree, ...within, unit));
    for (const path of paths) {
      mkdirSync(path, { recursive: true });
      for (const pid of pids) writeFileSync(join(path, "cgroup.procs"), String(pid));
    }
    this.#scopes.set(unit, paths);
  }

  /** With the slices above it, where they are empty; what is in it the kernel has killed already. */
  #removeScope(unit: string): void {
    const remove = (path: string) => {
      for (const entry of readdirSync(path, { withFileTypes: true }))
        if (entry.isDirectory()) remove(join(path, entry.name));
      rmdirSync(path);
    };
    for (const path of this.#scopes.get(unit) ?? []) if (existsSync(path)) remove(path);
    this.#scopes.delete(unit);
  }
}

/** So much at once that who reads it finds more each time. */
function sendForEver(socket: Socket, bytes: Buffer): void {
  const many = Buffer.concat(Array.from({ length: 10_000 }, () => bytes));
  const more = () => {
    while (socket.write(many));
  };
  socket.on("drain", more);
  more();
}

const SYSTEMD = "org.freedesktop.systemd1";

/** Where this machine has systemd's own v1 hierarchy and the v2 tree. */
export function countingTrees(): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2 /.test(line) || /[, ]name=systemd(,|$)/.test(line))
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path, i, all) => all.indexOf(path) === i);
}

const align = (at: number, to: number) => Math.ceil(at / to) * to;

function readCall(bytes: Buffer): { call: Call; serial: number } {
  const fieldsLength = bytes.readUInt32LE(12);
  const fields: Record<number, unknown> = {};
  let at = 16;
  while (at < 16 + fieldsLength) {
    at = align(at, 8);
    const code = bytes.readUInt8(at++);
    const [value, next] = readValue("v", bytes, at);
    fields[code] = value;
    at = next;
  }
  const text = (code: number) => String(fields[code] ?? "");
  const body = bytes.subarray(align(16 + fieldsLength, 8));
  const values: unknown[] = [];
  let place = 0;
  for (const type of types(text(8))) {
    const [value, next] = readValue(type, body, place);
    values.push(value);
    place = next;
  }
  const call = {
    member: text(3),
    interface: text(2),
    path: text(1),
    noReply: (bytes.readUInt8(2) & 1) === 1,
    signature: text(8),
    body: values,
  };
  return { call, serial: bytes.readUInt32LE(8) };
}

function types(signature: string): string[] {
  return signature.match(/a*(?:\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|[a-z])/g) ?? [];
}

/** Variants are their values. */
function readValue(type: string, bytes: Buffer, at: number): [unknown, number] {
  switch (type[0]) {
    case "y":
      return [bytes.readUInt8(at), at + 1];
    case "b":
      return [bytes.readUInt32LE(align(at, 4)) === 1, align(at, 4) + 4];
    case "u":
      return [bytes.readUInt32LE(align(at, 4)), align(at, 4) + 4];
    case "i":
      return [bytes.readInt32LE(align(at, 4)), align(at, 4) + 4];
    case "t":
      return [bytes.readBigUInt64LE(align(at, 8)), align(at, 8) + 8];
    case "g": {
      const length = bytes.readUInt8(at);
      return [bytes.toString("utf8", at + 1, at + 1 + length), at + length + 2];
    }
    case "v": {
      const [signature, next] = readValue("g", bytes, at);
      return readValue(String(signature), bytes, next);
    }
    case "a": {
      const start = align(at, 4);
      const first = /^a[(t]/.test(type) ? align(start + 4, 8) : start + 4;
      const end = first + bytes.readUInt32LE(start);
      const values: unknown[] = [];
      for (let place = first; place < end; ) {
        const [value, next] = readValue(type.slice(1), bytes, place);
        values.push(value);
        place = next;
      }
      return [values, end];
    }
    case "(": {
      const values: unknown[] = [];
      let place = align(at, 8);
      for (const each of types(type.slice(1, -1))) {
        const [value, next] = readValue(each, bytes, place);
        values.push(value);
        place = next;
      }
      return [values, place];
    }
    default: {
      const start = align(at, 4);
      const length = bytes.readUInt32LE(start);
      return [bytes.toString("utf8", start + 4, start + 4 + length), start + 5 + length];
    }
  }
}

type Fields = Readonly<Record<number, readonly [type: string, value: unknown]>>;

function message(kind: number, serial: number, fields: Fields, signature: string, values: readonly unknown[]): Buffer {
  const body = writeValues(types(signature), values, Buffer.alloc(0));
  let header: Buffer = Buffer.alloc(16);
  header.write("l");
  header.writeUInt8(kind, 1);
  header.writeUInt8(1, 3);
  header.writeUInt32LE(body.length, 4);
  header.writeUInt32LE(serial, 8);
  const all = signature === "" ? fields : { ...fields, 8: ["g", signature] as const };
  for (const [code, [type, value]] of Object.entries(all)) {
    header = padded(header, 8);
    header = Buffer.concat([header, Buffer.from([Number(code), 1, type.charCodeAt(0), 0])]);
    header = writeValues([type], [value], header);
  }
  header.writeUInt32LE(header.length - 16, 12);
  return Buffer.concat([padded(header, 8), body]);
}

const padded = (buffer: Buffer, to: number) =>
  Buffer.concat([buffer, Buffer.alloc(align(buffer.length, to) - buffer.length)]);

/** As far as answers need it: s, o, g, u, and v of s. */
function writeValues(of: readonly string[], values: readonly unknown[], before: Buffer): Buffer {
  let out = before;
  for (const [i, type] of of.entries()) {
    const value = values[i];
    if (type === "v") out = writeValues(["s"], [value], Buffer.concat([out, Buffer.from([1, 0x73, 0])]));
    else if (type === "u") {
      const number = Buffer.alloc(4);
      number.writeUInt32LE(Number(value));
      out = Buffer.concat([padded(out, 4), number]);
    } else {
      const text = Buffer.from(`${value}\0`);
      const length = Buffer.alloc(type === "g" ? 1 : 4);
      if (type === "g") length.writeUInt8(text.length - 1);
      else length.writeUInt32LE(text.length - 1);
      out = Buffer.concat([type === "g" ? out : padded(out, 4), length, text]);
    }
  }
  return out;
}
