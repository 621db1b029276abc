/** The host's own calls with bytes, numbers and texts that nobody in src/ would hand them: no access outside a buffer. */
import type { RawSys } from "../../../src/sys/generated.ts";
import type { Input } from "./targets.ts";

const [AF_UNIX, SOCK_SEQPACKET, SOCK_CLOEXEC, MFD_CLOEXEC] = [1, 5, 0o2000000, 1];
const AT_FDCWD = -100;

/** Calls that only look. */
const HARMLESS = [
  "statx",
  "readlinkText",
  "faccessat",
  "statfs",
  "decodeText",
  "encodeText",
  "fgetxattr",
  "lseek",
] as const;

export function glue({ bytes, text }: Input, real: RawSys): string {
  const buffer = bytes.slice().buffer as ArrayBuffer;
  const decoded = real.decodeText(buffer, 0, buffer.byteLength) as string;
  if (decoded !== text) throw new Error("decodeText: twice the same, and not the same");
  const encoded = new Uint8Array(real.encodeText(decoded) as ArrayBuffer);
  if (encoded.length !== bytes.length || encoded.some((byte, i) => byte !== bytes[i]))
    throw new Error("encodeText: bytes come back changed");
  throughMessage(decoded, bytes, real);
  throughFile(buffer, decoded, real);
  return strange(bytes, decoded, real);
}

/** A message of any text, with descriptors, arrives whole. */
function throughMessage(text: string, bytes: Uint8Array, real: RawSys): void {
  const ends = new ArrayBuffer(8);
  if (real.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return;
  const [one = -1, other = -1] = new Int32Array(ends);
  try {
    const count = (bytes[0] ?? 0) % 4;
    const sent = real.sendMessage(
      one,
      text,
      Array.from({ length: count }, () => one),
    );
    if (sent < 0 || text === "") return;
    const got = real.receiveMessage(other) as { text: string; fds: number[] };
    for (const fd of got.fds) real.close(fd);
    if (got.text !== text || got.fds.length !== count) throw new Error("receiveMessage: another message than was sent");
  } finally {
    real.close(one);
    real.close(other);
  }
}

function throughFile(buffer: ArrayBuffer, text: string, real: RawSys): void {
  const fd = real.memfdCreate("fuzz", MFD_CLOEXEC);
  if (fd < 0) return;
  real.write(fd, buffer);
  real.lseek(fd, 0, 0);
  const read = real.readText(fd);
  real.close(fd);
  if (read !== text) throw new Error("readText: another text than was written");
}

/** Arguments by the bytes; TypeError and RangeError are what the glue may say. */
function strange(bytes: Uint8Array, text: string, real: RawSys): string {
  let at = 0;
  const next = (): number => bytes[at++ % Math.max(1, bytes.length)] ?? 0;
  const argument = (): unknown => {
    switch (next() % 12) {
      case 0:
        return next() - 128;
      case 1:
        return 2 ** (next() % 70);
      case 2:
        return BigInt(next()) << BigInt(next() % 80);
      case 3:
        return text.slice(0, next());
      case 4:
        return new ArrayBuffer(next());
      case 5:
        return null;
      case 6:
        return undefined;
      case 7:
        return Number.NaN;
      case 8:
        return [text, next()];
      case 9:
        return AT_FDCWD;
      case 10:
        return {};
      default:
        return `/proc/self/${text.slice(0, 20)}`;
    }
  };
  for (let round = 0; round < 4; round++) {
    const name = HARMLESS[next() % HARMLESS.length] ?? "statx";
    const given = [argument(), argument(), argument(), argument(), argument()];
    // What the kernel fills has to have room: that is the caller's part of the bargain.
    if (name === "statx") given[4] = new ArrayBuffer(256);
    if (name === "statfs") given[1] = new ArrayBuffer(120);
    try {
      (real[name] as (...args: unknown[]) => unknown)(...given);
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof RangeError)) throw error;
    }
  }
  return "taken";
}
