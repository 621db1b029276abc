/**
 * An assembler for classic BPF that writes a program from its last instruction to its first.
 *
 * BPF jumps forward only, so every target is in place before the jump to it: no label is ever patched, and any two
 * jumps can share a target. Conditional jumps hold 8-bit distances; what lies farther is reached over a JA, or over
 * another copy of the RET.
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

interface Instruction {
  opcode: number;
  jumpTrue: number;
  jumpFalse: number;
  k: number;
}

export class BpfWriter {
  /** Last instruction first. */
  readonly #instructions: Instruction[] = [];
  /** The nearest RET of each action. */
  readonly #returns = new Map<number, Label>();

  get length(): number {
    return this.#instructions.length;
  }

  /** Returns an action; shares a RET that is still near. */
  ret(action: number): Label {
    const known = this.#returns.get(action);
    if (known !== undefined && this.#distance(known) <= REACH) return known;
    const label = this.#push({ opcode: RET_K, jumpTrue: 0, jumpFalse: 0, k: action });
    this.#returns.set(action, label);
    return label;
  }

  /** Loads the 32-bit word at an offset of `struct seccomp_data` and goes on at `next`. */
  load(offset: number, next: Label): Label {
    this.#fallTo(next);
    return this.#push({ opcode: LD_W_ABS, jumpTrue: 0, jumpFalse: 0, k: offset });
  }

  /** Keeps the bits of the mask and goes on at `next`. */
  and(mask: number, next: Label): Label {
    if (mask === 0xffffffff) return next;
    this.#fallTo(next);
    return this.#push({ opcode: ALU_AND_K, jumpTrue: 0, jumpFalse: 0, k: mask });
  }

  /** Compares the loaded word, as unsigned, with a constant. */
  branch(comparison: Comparison, k: number, whenTrue: Label, whenFalse: Label): Label {
    if (whenTrue === whenFalse) return whenTrue;
    const [nearTrue, nearFalse] = [this.#near(whenTrue), this.#near(whenFalse)];
    const opcode = JUMP_OPCODES[comparison];
    return this.#push({ opcode, jumpTrue: this.#distance(nearTrue), jumpFalse: this.#distance(nearFalse), k });
  }

  /** The program, an array of `struct sock_filter` in little-endian order, that starts with what was written last. */
  finish(): Uint8Array {
    const bytes = new Uint8Array(this.length * 8);
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const { opcode, jumpTrue, jumpFalse, k } of this.#instructions.toReversed()) {
      view.setUint16(at, opcode, true);
      view.setUint8(at + 2, jumpTrue);
      view.setUint8(at + 3, jumpFalse);
      view.setUint32(at + 4, k, true);
      at += 8;
    }
    return bytes;
  }

  #push(instruction: Instruction): Label {
    return this.#instructions.push(instruction) - 1;
  }

  /** The distance from the instruction that is written next; 0 is the one right behind it. */
  #distance(label: Label): number {
    return this.length - 1 - label;
  }

  #near(label: Label): Label {
    if (this.#distance(label) <= REACH) return label;
    const target = this.#instructions[label];
    return target?.opcode === RET_K ? this.ret(target.k) : this.#jump(label);
  }

  #fallTo(label: Label): void {
    if (this.#distance(label) > 0) this.#jump(label);
  }

  #jump(label: Label): Label {
    return this.#push({ opcode: JMP_JA, jumpTrue: 0, jumpFalse: 0, k: this.#distance(label) });
  }
}
