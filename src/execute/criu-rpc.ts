/**
 * CRIU's RPC: one request, notifications on the way that each want an answer, and the result. Messages of its images/rpc.proto,
 * one to a packet of a SOCK_SEQPACKET socket. https://criu.org/RPC
 */
import { ContainerError } from "../error.ts";
import type { CriuOptions } from "../plan/criu-options.ts";
import { MSG_NOSIGNAL } from "../sys/constants.ts";
import { raw, SysError } from "../sys/sys.ts";
import { decodeFields, encodeFields, type Field, type Fields, ProtobufError } from "./protobuf.ts";

/** `criu_req_type`. */
export const REQUESTS = { dump: 1, restore: 2, "pre-dump": 4 } as const;
const NOTIFY = 6;

/** `criu_notify`: what CRIU has done or is about to do. */
export interface Notification {
  script: string;
  /** Of the container's first process, where CRIU says it. */
  pid: number;
  /** Descriptors that came with it. */
  fds: readonly number[];
}

/** `criu_resp`. */
export interface CriuAnswer {
  success: boolean;
  /** The first process of a restored container. */
  pid: number;
  /** The first error of the log. */
  message: string;
}

/** Numbers of the fields of `criu_opts`. */
const OPTIONS: Readonly<Record<keyof CriuOptions, number>> = {
  imagesDirFd: 1,
  pid: 2,
  leaveRunning: 3,
  extUnixSk: 4,
  tcpEstablished: 5,
  evasiveDevices: 6,
  shellJob: 7,
  fileLocks: 8,
  logLevel: 9,
  logFile: 10,
  ps: 11,
  notifyScripts: 12,
  root: 13,
  parentImg: 14,
  trackMem: 15,
  autoDedup: 16,
  workDirFd: 17,
  linkRemap: 18,
  cgRoot: 25,
  rstSibling: 26,
  inheritFd: 27,
  manageCgroupsMode: 34,
  external: 37,
  emptyNs: 38,
  joinNs: 39,
  freezeCgroup: 44,
  tcpSkipInFlight: 46,
  lazyPages: 48,
  orphanPtsMaster: 50,
  configFile: 51,
  tcpClose: 52,
  lsmProfile: 53,
  lsmMountContext: 63,
  networkLock: 64,
};

type Scalar = string | number | boolean;

/** A list is a field that comes several times; a list in it is a message whose fields are numbered from 1. */
function optionFields(options: CriuOptions): Field[] {
  const fields: Field[] = [];
  for (const [name, number] of Object.entries(OPTIONS) as [keyof CriuOptions, number][]) {
    const value: Scalar | readonly (Scalar | readonly Scalar[])[] | undefined = options[name];
    if (value === undefined) continue;
    for (const one of typeof value === "object" ? value : [value])
      fields.push([number, typeof one === "object" ? one.map((part, i): Field => [i + 1, part]) : one]);
  }
  return fields;
}

/**
 * Asks, and hears `notified` for each notification; what that throws ends the request, and is thrown when CRIU has taken back
 * what it had done. A CRIU that is gone is a failure without words. Throws CRIU_FAILED for what is no answer.
 */
export function askCriu(
  socket: number,
  request: keyof typeof REQUESTS,
  options: CriuOptions,
  notified: (notification: Notification) => void,
  /** Returns when there is something to receive. A throw ends the request at once. */
  untilReadable: () => void = () => {},
): CriuAnswer {
  send(socket, [
    [1, REQUESTS[request]],
    [2, optionFields(options)],
  ]);
  let failure: unknown;
  for (;;) {
    untilReadable();
    const got = raw.receiveMessage(socket);
    if (typeof got === "number" && got !== ECONNRESET) throw new SysError("recvmsg", -got, [socket]);
    const { text = "", fds = [] } = typeof got === "number" ? {} : (got as { text: string; fds: number[] });
    const answer = text === "" ? undefined : parse(text);
    if (answer !== undefined && numberOf(answer, 1) === NOTIFY) {
      const notify = decode(bytesOf(answer, 5));
      try {
        if (failure === undefined) notified({ script: textOf(notify, 1), pid: numberOf(notify, 2), fds });
      } catch (error) {
        failure = error ?? new Error("a notification failed");
      }
      send(socket, [
        [1, NOTIFY],
        [3, failure === undefined],
      ]);
      continue;
    }
    if (failure !== undefined) throw failure;
    if (answer === undefined) return { success: false, pid: 0, message: "" };
    return {
      success: numberOf(answer, 2) === 1,
      pid: numberOf(decode(bytesOf(answer, 4)), 1),
      message: textOf(answer, 9),
    };
  }
}

function send(socket: number, fields: readonly Field[]): void {
  const sent = raw.sendto(socket, new Uint8Array(encodeFields(fields)).buffer, MSG_NOSIGNAL, null, 0);
  // That the other side is gone shows when its answer is read.
  if (sent < 0 && sent !== EPIPE && sent !== ECONNRESET) throw new SysError("sendto", -sent, [socket]);
}

const [EPIPE, ECONNRESET] = [-32, -104];

const parse = (text: string): Fields => decode(new Uint8Array(raw.encodeText(text) as ArrayBuffer));

function decode(bytes: Uint8Array): Fields {
  try {
    return decodeFields(bytes);
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    throw new ContainerError("CRIU_FAILED", `what criu says is no message of its RPC: ${error.message}`);
  }
}

const numberOf = (fields: Fields, number: number): number => {
  const value = fields.get(number);
  return typeof value === "number" ? value : 0;
};

const bytesOf = (fields: Fields, number: number): Uint8Array => {
  const value = fields.get(number);
  return typeof value === "object" ? value : new Uint8Array(0);
};

const textOf = (fields: Fields, number: number): string => {
  const bytes = bytesOf(fields, number).slice();
  return raw.decodeText(bytes.buffer as ArrayBuffer, 0, bytes.length) as string;
};
