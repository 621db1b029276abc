/**
 * Device access on cgroup v2, which has no devices controller: an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, asked
 * at every open and mknod of a device node. Since Linux 4.15. Instructions: bpf/standardization/instruction-set.rst.
 *
 * The program reads `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`, goes through the rules from the last to
 * the first and keeps in a register which of the wanted accesses are still undecided: an allow rule takes its bits out, a
 * deny rule that meets one of them ends it.
 */
import { ALL_ACCESS, type DeviceEntry, type DevicePolicy } from "./devices.ts";

/** BPF_DEVCG_DEV_BLOCK and BPF_DEVCG_DEV_CHAR. */
const DEVICE_TYPES = { b: 1, c: 2 } as const;

/** Opcodes that the program is made of, as the kernel's headers compose them. */
export const BPF = {
  LDX_MEM_W: 0x61,
  ALU_MOV_X: 0xbc,
  ALU_AND_K: 0x54,
  ALU_RSH_K: 0x74,
  ALU64_MOV_K: 0xb7,
  JMP_JA: 0x05,
  JMP_JNE_K: 0x55,
  JMP_JSET_K: 0x45,
  EXIT: 0x95,
} as const;

/** r0 is the answer, r1 the context; the others are ours. */
const ANSWER = 0;
const CONTEXT = 1;
const TYPE = 2;
const WANTED = 3;
const MAJOR = 4;
const MINOR = 5;

interface Instruction {
  opcode: number;
  dst?: number;
  src?: number;
  offset?: number;
  immediate?: number;
}

/** The program of a policy: 8-byte instructions, little-endian. */
export function assembleDeviceProgram({ allowAll, entries }: DevicePolicy): Uint8Array {
  const program: Instruction[] = [
    { opcode: BPF.LDX_MEM_W, dst: TYPE, src: CONTEXT, offset: 0 },
    { opcode: BPF.ALU_MOV_X, dst: WANTED, src: TYPE },
    { opcode: BPF.ALU_AND_K, dst: TYPE, immediate: 0xffff },
    { opcode: BPF.ALU_RSH_K, dst: WANTED, immediate: 16 },
    { opcode: BPF.LDX_MEM_W, dst: MAJOR, src: CONTEXT, offset: 4 },
    { opcode: BPF.LDX_MEM_W, dst: MINOR, src: CONTEXT, offset: 8 },
    ...entries.toReversed().flatMap(assembleEntry),
    ...answer(allowAll),
  ];
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, { opcode, dst = 0, src = 0, offset = 0, immediate = 0 }] of program.entries()) {
    view.setUint8(i * 8, opcode);
    view.setUint8(i * 8 + 1, (src << 4) | dst);
    view.setInt16(i * 8 + 2, offset, true);
    view.setInt32(i * 8 + 4, immediate, true);
  }
  return bytes;
}

function assembleEntry({ allow, type, major, minor, access }: DeviceEntry): Instruction[] {
  const verdict = allow ? assembleAllow(access) : assembleDeny(access);
  const tests: [register: number, value: number][] = [[TYPE, DEVICE_TYPES[type]]];
  if (major !== undefined) tests.push([MAJOR, major]);
  if (minor !== undefined) tests.push([MINOR, minor]);
  return [
    ...tests.map(([dst, immediate], i) => ({
      opcode: BPF.JMP_JNE_K,
      dst,
      immediate,
      // Jumps count from the next instruction: over the tests that follow and the verdict.
      offset: tests.length - 1 - i + verdict.length,
    })),
    ...verdict,
  ];
}

function assembleAllow(access: number): Instruction[] {
  if (access === ALL_ACCESS) return answer(true);
  return [
    { opcode: BPF.ALU_AND_K, dst: WANTED, immediate: ALL_ACCESS & ~access },
    { opcode: BPF.JMP_JNE_K, dst: WANTED, immediate: 0, offset: 2 },
    ...answer(true),
  ];
}

function assembleDeny(access: number): Instruction[] {
  return [
    { opcode: BPF.JMP_JSET_K, dst: WANTED, immediate: access, offset: 1 },
    // Nothing of what is wanted is denied here: on to the next rule, over the answer.
    { opcode: BPF.JMP_JA, offset: 2 },
    ...answer(false),
  ];
}

function answer(allow: boolean): Instruction[] {
  return [{ opcode: BPF.ALU64_MOV_K, dst: ANSWER, immediate: allow ? 1 : 0 }, { opcode: BPF.EXIT }];
}
