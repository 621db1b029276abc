/**
 * An assembler for classic BPF that writes a program from its last instruction to its first.
 *
 * BPF jumps forward only, so every target is in place before the jump to it: no label is ever patched, and any two
 * jumps can share a target. Conditional jumps hold 8-bit distances; what lies farther is reached over a JA, or over
 * another copy of the RET.
 *
 * An instruction is `struct sock_filter` as two words: opcode and distances, then the constant. The machines that tupper
 * runs on are little-endian, and so is what is written here.
 */

/** An instruction's place, counted from the program's end. */
export type Label = number;

export type Comparison = "==" | ">" | ">=";

const LD_W_ABS = 0x20;
const ALU_AND_K = 0x54;
const JMP_JA = 0x05;
const RET_K = 0x06;
const JUMP_OPCODES: Record<Comparison, number> = { "==": 0x15, ">": 0x25, ">=": 0x35 };

/** One less than an 8-bit distance holds: reaching one target may push the other one an instruction farther. */
const REACH = 254;

export class BpfWriter {
  /** Two words for each instruction, last instruction first. */
  private words = new Uint32Array(1024);
  /** How many instructions there are. */
  length = 0;
  /** The nearest RET of each action. */
  private readonly returns = new Map<number, Label>();

  /** Returns an action; shares a RET that is still near. */
  ret(action: number): Label {
    const known = this.returns.get(action);
    if (known !== undefined && this.length - 1 - known <= REACH) return known;
    const label = this.push(RET_K, 0, 0, action);
    this.returns.set(action, label);
    return label;
  }

  /** Loads the 32-bit word at an offset of `struct seccomp_data` and goes on at `next`. */
  load(offset: number, next: Label): Label {
    this.fallTo(next);
    return this.push(LD_W_ABS, 0, 0, offset);
  }

  /** Keeps the bits of the mask and goes on at `next`. */
  and(mask: number, next: Label): Label {
    if (mask === 0xffffffff) return next;
    this.fallTo(next);
    return this.push(ALU_AND_K, 0, 0, mask);
  }

  /** Compares the loaded word, as unsigned, with a constant. */
  branch(comparison: Comparison, k: number, whenTrue: Label, whenFalse: Label): Label {
    if (whenTrue === whenFalse) return whenTrue;
    const nearTrue = this.near(whenTrue);
    const nearFalse = this.near(whenFalse);
    return this.push(JUMP_OPCODES[comparison], this.distance(nearTrue), this.distance(nearFalse), k);
  }

  /** The program, an array of `struct sock_filter` that starts with what was written last. */
  finish(): Uint8Array {
    const program = new Uint32Array(this.length * 2);
    for (let label = 0, at = program.length - 2; at >= 0; label += 2, at -= 2) {
      program[at] = this.words[label] ?? 0;
      program[at + 1] = this.words[label + 1] ?? 0;
    }
    return new Uint8Array(program.buffer);
  }

  private push(opcode: number, jumpTrue: number, jumpFalse: number, k: number): Label {
    const at = this.length * 2;
    if (at === this.words.length) {
      const longer = new Uint32Array(at * 2);
      longer.set(this.words);
      this.words = longer;
    }
    this.words[at] = opcode | (jumpTrue << 16) | (jumpFalse << 24);
    this.words[at + 1] = k;
    return this.length++;
  }

  /** The distance from the instruction that is written next; 0 is the one right behind it. */
  private distance(label: Label): number {
    return this.length - 1 - label;
  }

  private near(label: Label): Label {
    if (this.distance(label) <= REACH) return label;
    const opcode = this.words[label * 2] ?? 0;
    return opcode === RET_K ? this.ret(this.words[label * 2 + 1] ?? 0) : this.jump(label);
  }

  private fallTo(label: Label): void {
    if (this.distance(label) > 0) this.jump(label);
  }

  private jump(label: Label): Label {
    return this.push(JMP_JA, 0, 0, this.distance(label));
  }
}
