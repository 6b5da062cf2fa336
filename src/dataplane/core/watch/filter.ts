/**
 * Classic BPF (McCanne and Jacobson 1993; the instruction set of libpcap's pcap/bpf.h) over a frame in memory.
 * A program is checked once when it is packed; what passes can neither loop, nor read outside of the frame, nor
 * leave its sixteen memory cells, so that running it needs no check but the frame's length.
 */
/** One instruction of a classic BPF program, as `tcpdump -ddd` prints it. */
export interface FilterInstruction {
  code: number;
  jt: number;
  jf: number;
  k: number;
}

export const FILTER_INSTRUCTIONS_MAX = 4096;

/** Int32 cells of an instruction in a packed program: code, jt, jf, k. */
export const FILTER_CELLS = 4;

const MEMORY_CELLS = 16;

// Instruction classes, sizes, modes and operations, as pcap/bpf.h numbers them.
const LD = 0x00;
const LDX = 0x01;
const ST = 0x02;
const STX = 0x03;
const ALU = 0x04;
const JMP = 0x05;
const RET = 0x06;
const MISC = 0x07;
const H = 0x08;
const B = 0x10;
const IMM = 0x00;
const ABS = 0x20;
const IND = 0x40;
const MEM = 0x60;
const LEN = 0x80;
const MSH = 0xa0;
const ADD = 0x00;
const SUB = 0x10;
const MUL = 0x20;
const DIV = 0x30;
const OR = 0x40;
const AND = 0x50;
const LSH = 0x60;
const RSH = 0x70;
const NEG = 0x80;
const MOD = 0x90;
const XOR = 0xa0;
const JA = 0x00;
const JEQ = 0x10;
const JGT = 0x20;
const JGE = 0x30;
const JSET = 0x40;
const X = 0x08; // the operand is X instead of k
const RET_A = 0x10;
const TAX = 0x00;
const TXA = 0x80;

const WITH_OPERAND = [ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR].flatMap((op) => [
  ALU | op,
  ALU | op | X,
]);
const CONDITIONAL = [JEQ, JGT, JGE, JSET].flatMap((op) => [JMP | op, JMP | op | X]);
const KNOWN = new Set<number>([
  ...[ABS, IND].flatMap((mode) => [LD | mode, LD | H | mode, LD | B | mode]),
  ...[IMM, MEM, LEN].flatMap((mode) => [LD | mode, LDX | mode]),
  ...[LDX | B | MSH, ST, STX, ALU | NEG, JMP | JA, RET, RET | RET_A, MISC | TAX, MISC | TXA],
  ...WITH_OPERAND,
  ...CONDITIONAL,
]);
const MEMORY = new Set([LD | MEM, LDX | MEM, ST, STX]);
const DIVISION = new Set([ALU | DIV, ALU | MOD]);

export class FilterError extends Error {
  readonly code = 'FILTER_INVALID';
}

/** Checks a program and packs it. Throws FilterError, which names the instruction at fault. An empty program matches all. */
export function packFilter(program: readonly FilterInstruction[]): Int32Array {
  const count = program.length;
  if (count > FILTER_INSTRUCTIONS_MAX)
    throw new FilterError(
      `The filter has ${count} instructions; at most ${FILTER_INSTRUCTIONS_MAX} are taken.`,
    );
  const packed = new Int32Array(count * FILTER_CELLS);
  program.forEach((instruction, i) => {
    const fault = faultOf(instruction, count - 1 - i);
    if (fault !== undefined) throw new FilterError(`Filter instruction ${i}: ${fault}.`);
    const { code, jt, jf, k } = instruction;
    packed.set([code, jt, jf, k], i * FILTER_CELLS);
  });
  return packed;
}

/** @param left how many instructions follow this one */
function faultOf({ code, jt, jf, k }: FilterInstruction, left: number): string | undefined {
  if (!KNOWN.has(code)) return `unknown code ${code}`;
  if (!Number.isInteger(k) || k < -0x8000_0000 || k > 0xffff_ffff) return `k = ${k} is no 32-bit number`;
  for (const jump of [jt, jf])
    if (!Number.isInteger(jump) || jump < 0 || jump > 255) return `jump ${jump} is not in 0..255`;
  if (code === (JMP | JA) ? k >>> 0 >= left : CONDITIONAL.includes(code) && Math.max(jt, jf) >= left)
    return 'it jumps behind the end';
  if (MEMORY.has(code) && k >>> 0 >= MEMORY_CELLS) return `memory cell ${k} is not in 0..${MEMORY_CELLS - 1}`;
  if (DIVISION.has(code) && k === 0) return 'it divides by zero';
  if (left === 0 && (code & 7) !== RET) return 'the last instruction must be a return';
  return undefined;
}

export class Filter {
  readonly #program: Int32Array;
  readonly #memory = new Int32Array(MEMORY_CELLS);
  /** Cells that no store has reached read as 0; only a program that loads from memory pays for that. */
  readonly #usesMemory: boolean;

  /** @param packed from packFilter; copied, so that shared memory may change later */
  constructor(packed: Int32Array) {
    this.#program = packed.slice();
    this.#usesMemory = packed.some(
      (code, i) => i % FILTER_CELLS === 0 && (code === (LD | MEM) || code === (LDX | MEM)),
    );
  }

  /**
   * Runs over the frame at bytes[at, at + length). Returns the program's verdict: 0 doesn't match, anything else
   * does (how many bytes it would keep). A load outside of the frame and a division by zero end it with 0.
   */
  run(bytes: Uint8Array, at: number, length: number): number {
    const program = this.#program;
    const memory = this.#memory;
    if (program.length === 0) return 0xffff_ffff;
    if (this.#usesMemory) memory.fill(0);
    let a = 0;
    let x = 0;
    let pc = 0;
    for (;;) {
      const code = program[pc]!;
      const k = program[pc + 3]!;
      switch (code) {
        case RET:
          return k >>> 0;
        case RET | RET_A:
          return a >>> 0;

        case LD | ABS:
        case LD | IND: {
          const from = code === (LD | ABS) ? k >>> 0 : (k >>> 0) + (x >>> 0);
          if (from + 4 > length) return 0;
          const i = at + from;
          a = (bytes[i]! << 24) | (bytes[i + 1]! << 16) | (bytes[i + 2]! << 8) | bytes[i + 3]!;
          break;
        }
        case LD | H | ABS:
        case LD | H | IND: {
          const from = code === (LD | H | ABS) ? k >>> 0 : (k >>> 0) + (x >>> 0);
          if (from + 2 > length) return 0;
          a = (bytes[at + from]! << 8) | bytes[at + from + 1]!;
          break;
        }
        case LD | B | ABS:
        case LD | B | IND: {
          const from = code === (LD | B | ABS) ? k >>> 0 : (k >>> 0) + (x >>> 0);
          if (from >= length) return 0;
          a = bytes[at + from]!;
          break;
        }
        case LDX | B | MSH: // four times the low nibble: the length of an IPv4 header
          if (k >>> 0 >= length) return 0;
          x = (bytes[at + (k >>> 0)]! & 0xf) << 2;
          break;
        case LD | LEN:
          a = length;
          break;
        case LDX | LEN:
          x = length;
          break;
        case LD | IMM:
          a = k;
          break;
        case LDX | IMM:
          x = k;
          break;
        case LD | MEM:
          a = memory[k]!;
          break;
        case LDX | MEM:
          x = memory[k]!;
          break;
        case ST:
          memory[k] = a;
          break;
        case STX:
          memory[k] = x;
          break;

        case JMP | JA:
          pc += FILTER_CELLS * k;
          break;
        case JMP | JEQ:
          pc += FILTER_CELLS * (a === k ? program[pc + 1]! : program[pc + 2]!);
          break;
        case JMP | JEQ | X:
          pc += FILTER_CELLS * (a === x ? program[pc + 1]! : program[pc + 2]!);
          break;
        case JMP | JGT:
          pc += FILTER_CELLS * (a >>> 0 > k >>> 0 ? program[pc + 1]! : program[pc + 2]!);
          break;
        case JMP | JGT | X:
          pc += FILTER_CELLS * (a >>> 0 > x >>> 0 ? program[pc + 1]! : program[pc + 2]!);
          break;
        case JMP | JGE:
          pc += FILTER_CELLS * (a >>> 0 >= k >>> 0 ? program[pc + 1]! : program[pc + 2]!);
          break;
        case JMP | JGE | X:
          pc += FILTER_CELLS * (a >>> 0 >= x >>> 0 ? program[pc + 1]! : program[pc + 2]!);
          break;
        case JMP | JSET:
          pc += FILTER_CELLS * ((a & k) !== 0 ? program[pc + 1]! : program[pc + 2]!);
          break;
        case JMP | JSET | X:
          pc += FILTER_CELLS * ((a & x) !== 0 ? program[pc + 1]! : program[pc + 2]!);
          break;

        case ALU | NEG:
          a = -a | 0;
          break;
        case MISC | TAX:
          x = a;
          break;
        case MISC | TXA:
          a = x;
          break;
        default: {
          // What remains of the known codes is arithmetic with k or X.
          const operand = (code & X) === 0 ? k : x;
          switch (code & 0xf0) {
            case ADD:
              a = (a + operand) | 0;
              break;
            case SUB:
              a = (a - operand) | 0;
              break;
            case MUL:
              a = Math.imul(a, operand);
              break;
            case DIV:
              if (operand === 0) return 0;
              a = ((a >>> 0) / (operand >>> 0)) | 0;
              break;
            case MOD:
              if (operand === 0) return 0;
              a = ((a >>> 0) % (operand >>> 0)) | 0;
              break;
            case OR:
              a |= operand;
              break;
            case AND:
              a &= operand;
              break;
            case XOR:
              a ^= operand;
              break;
            case LSH: // a shift by more than 31 leaves nothing, as in libpcap
              a = operand >>> 0 > 31 ? 0 : a << operand;
              break;
            case RSH:
              a = operand >>> 0 > 31 ? 0 : a >>> operand;
              break;
          }
        }
      }
      pc += FILTER_CELLS;
    }
  }
}
