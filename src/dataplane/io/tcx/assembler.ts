/**
 * Assembles eBPF (RFC 9669): as much of it as two short programs need. Each instruction is eight bytes:
 *
 *     | opcode u8 | source, destination register, 4 bits each | offset s16 | immediate s32 |
 *
 * Jumps are forward, to labels by name. Constants are named as in linux/bpf.h and linux/bpf_common.h.
 */
import { LITTLE_ENDIAN } from '../rtnetlink/message.js';

const BPF_LD = 0x00;
const BPF_LDX = 0x01;
const BPF_JMP = 0x05;
const BPF_JMP32 = 0x06; // compares the lower halves, so that the immediate isn't sign-extended
const BPF_ALU64 = 0x07;

const BPF_ABS = 0x20;
const BPF_MEM = 0x60;
const BPF_MOV = 0xb0;
const BPF_JEQ = 0x10;
const BPF_JSET = 0x40;
const BPF_JNE = 0x50;
const BPF_CALL = 0x80;
const BPF_EXIT = 0x90;
const BPF_X = 0x08; // the operand is a register

/** Width of a load. */
export const BPF_W = 0x00;
export const BPF_H = 0x08;
export const BPF_B = 0x10;

/** R0: result; R1 to R5: arguments, lost in a call and in a load from the packet; R6: kept. */
export const BPF_REG_0 = 0;
export const BPF_REG_1 = 1;
export const BPF_REG_2 = 2;
export const BPF_REG_6 = 6;

interface Instruction {
  opcode: number;
  destination: number;
  source: number;
  offset: number;
  immediate: number;
  target?: string;
}

export class Assembler {
  readonly #code: Instruction[] = [];
  readonly #labels = new Map<string, number>();

  label(name: string): this {
    this.#labels.set(name, this.#code.length);
    return this;
  }

  move(destination: number, immediate: number): this {
    return this.#add({ opcode: BPF_ALU64 | BPF_MOV, destination, immediate });
  }

  copy(destination: number, source: number): this {
    return this.#add({ opcode: BPF_ALU64 | BPF_MOV | BPF_X, destination, source });
  }

  /** destination = the 32-bit field at `offset` of what `source` points to */
  loadField(destination: number, source: number, offset: number): this {
    return this.#add({ opcode: BPF_LDX | BPF_MEM | BPF_W, destination, source, offset });
  }

  /**
   * R0 = the big-endian value at byte `at` of the packet, also where it isn't linear; R6 must be the context. Beyond the
   * packet's end the program ends with 0.
   */
  loadPacket(width: number, at: number): this {
    return this.#add({ opcode: BPF_LD | BPF_ABS | width, immediate: at });
  }

  jumpIfEqual(register: number, value: number, target: string): this {
    return this.#jump(BPF_JEQ, register, value, target);
  }

  jumpUnlessEqual(register: number, value: number, target: string): this {
    return this.#jump(BPF_JNE, register, value, target);
  }

  jumpIfAnyBit(register: number, mask: number, target: string): this {
    return this.#jump(BPF_JSET, register, mask, target);
  }

  call(helper: number): this {
    return this.#add({ opcode: BPF_JMP | BPF_CALL, immediate: helper });
  }

  exit(): this {
    return this.#add({ opcode: BPF_JMP | BPF_EXIT });
  }

  /** The bytes that BPF_PROG_LOAD takes. */
  assemble(): Uint8Array {
    const view = new DataView(new ArrayBuffer(8 * this.#code.length));
    for (const [index, { opcode, destination, source, offset, immediate, target }] of this.#code.entries()) {
      const at = 8 * index;
      const registers = LITTLE_ENDIAN ? (source << 4) | destination : (destination << 4) | source;
      view.setUint8(at, opcode);
      view.setUint8(at + 1, registers);
      view.setInt16(at + 2, target === undefined ? offset : this.#distance(index, target), LITTLE_ENDIAN);
      view.setInt32(at + 4, immediate, LITTLE_ENDIAN);
    }
    return new Uint8Array(view.buffer);
  }

  /** Jumps count from the instruction behind them. */
  #distance(index: number, target: string): number {
    const to = this.#labels.get(target);
    if (to === undefined || to <= index) throw new Error(`no label ${target} ahead of instruction ${index}`);
    return to - index - 1;
  }

  #jump(condition: number, destination: number, immediate: number, target: string): this {
    return this.#add({ opcode: BPF_JMP32 | condition, destination, immediate, target });
  }

  #add(instruction: Partial<Instruction> & { opcode: number }): this {
    this.#code.push({ destination: 0, source: 0, offset: 0, immediate: 0, ...instruction });
    return this;
  }
}
