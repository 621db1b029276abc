/**
 * An interpreter for seccomp filters: what would the kernel answer to this system call?
 *
 * It knows the part of classic BPF that filter compilers (ours and libseccomp) write: loads from `struct seccomp_data`,
 * AND, jumps, return of a constant. Tests compare compilers with it; diagnostics ask it which call a filter refused.
 */

/** What a filter sees of a system call (`struct seccomp_data`). Each field is cut to the kernel's width. */
export interface SeccompData {
  nr: number;
  /** An AUDIT_ARCH_* value. */
  arch: number;
  ip?: number | bigint;
  /** Up to six; missing ones are 0. */
  args?: readonly (number | bigint)[];
}

/**
 * Runs a filter on one system call and returns the action, a SECCOMP_RET_* value with its data in the low 16 bits.
 *
 * `program` is an array of `struct sock_filter`, little-endian. Throws RangeError where the program is not one that the
 * kernel would load, or uses an instruction outside the part of BPF named above.
 */
export function emulateSeccomp(program: Uint8Array, data: SeccompData): number {
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const words = seccompDataWords(data);
  let accumulator = 0;
  let pc = 0;
  while (pc * 8 + 8 <= code.byteLength) {
    const at = pc * 8;
    const opcode = code.getUint16(at, true);
    const k = code.getUint32(at + 4, true);
    pc += 1;
    switch (opcode) {
      case LD_W_ABS: {
        const word = k % 4 === 0 ? words[k / 4] : undefined;
        if (word === undefined) throw new RangeError(`seccomp filter loads from offset ${k}, at instruction ${pc - 1}`);
        accumulator = word;
        break;
      }
      case ALU_AND_K:
        accumulator = (accumulator & k) >>> 0;
        break;
      case JMP_JA:
        pc += k;
        break;
      case JMP_JEQ_K:
        pc += code.getUint8(accumulator === k ? at + 2 : at + 3);
        break;
      case JMP_JGT_K:
        pc += code.getUint8(accumulator > k ? at + 2 : at + 3);
        break;
      case JMP_JGE_K:
        pc += code.getUint8(accumulator >= k ? at + 2 : at + 3);
        break;
      case JMP_JSET_K:
        pc += code.getUint8((accumulator & k) !== 0 ? at + 2 : at + 3);
        break;
      case RET_K:
        return k;
      default:
        throw new RangeError(`unknown opcode 0x${opcode.toString(16)} in seccomp filter, at instruction ${pc - 1}`);
    }
  }
  throw new RangeError(`seccomp filter runs past its end, to instruction ${pc}`);
}

const LD_W_ABS = 0x20;
const ALU_AND_K = 0x54;
const JMP_JA = 0x05;
const JMP_JEQ_K = 0x15;
const JMP_JGT_K = 0x25;
const JMP_JGE_K = 0x35;
const JMP_JSET_K = 0x45;
const RET_K = 0x06;

/** The 64 bytes of `struct seccomp_data` as 32-bit words, low word first. */
function seccompDataWords({ nr, arch, ip = 0, args = [] }: SeccompData): number[] {
  const words = [nr >>> 0, arch >>> 0];
  for (let index = -1; index < 6; index += 1) {
    const value = BigInt.asUintN(64, BigInt(index < 0 ? ip : (args[index] ?? 0)));
    words.push(Number(value & 0xffffffffn), Number(value >> 32n));
  }
  return words;
}
