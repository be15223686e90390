/** The base integer instruction set RV64I (Unprivileged ISA, "RV32I" and "RV64I"), and Zifencei ("Zifencei" Extension). */

import type { Emitter, LoadKind, StoreBytes, Value32, Value64 } from './emitter.ts';
import { type Instruction, instruction } from './instruction.ts';

const BRANCH = 'imm[12|10:5] rs2 rs1';

function branch(
  name: string,
  funct3: string,
  summary: string,
  condition: (a: Value64, b: Value64) => Value32,
): Instruction {
  return instruction(
    'I',
    name,
    `${BRANCH} ${funct3} imm[4:1|11] 1100011`,
    'rs1, rs2, imm',
    summary,
    (e) => e.branchIf(condition(e.x('rs1'), e.x('rs2'))),
    'branch',
  );
}

function load(name: string, funct3: string, kind: LoadKind, summary: string): Instruction {
  return instruction('I', name, `imm[11:0] rs1 ${funct3} rd 0000011`, 'rd, imm(rs1)', summary, (e) =>
    e.setX(e.load(kind, e.x('rs1').add(e.imm()))),
  );
}

function store(name: string, funct3: string, bytes: StoreBytes, summary: string): Instruction {
  return instruction('I', name, `imm[11:5] rs2 rs1 ${funct3} imm[4:0] 0100011`, 'rs2, imm(rs1)', summary, (e) =>
    e.store(bytes, e.x('rs1').add(e.imm()), e.x('rs2')),
  );
}

function immediate(
  name: string,
  funct3: string,
  summary: string,
  compute: (a: Value64, imm: Value64) => Value64,
): Instruction {
  return instruction('I', name, `imm[11:0] rs1 ${funct3} rd 0010011`, 'rd, rs1, imm', summary, (e) =>
    e.setX(compute(e.x('rs1'), e.imm())),
  );
}

function shift(
  name: string,
  bits: string,
  summary: string,
  compute: (a: Value64, amount: Value64) => Value64,
): Instruction {
  const [funct6, funct3] = bits.split(' ');
  return instruction('I', name, `${funct6} uimm[5:0] rs1 ${funct3} rd 0010011`, 'rd, rs1, uimm', summary, (e) =>
    e.setX(compute(e.x('rs1'), e.imm())),
  );
}

function shiftWord(
  name: string,
  bits: string,
  summary: string,
  compute: (a: Value32, amount: Value32) => Value32,
): Instruction {
  const [funct7, funct3] = bits.split(' ');
  return instruction('I', name, `${funct7} uimm[4:0] rs1 ${funct3} rd 0011011`, 'rd, rs1, uimm', summary, (e) =>
    e.setX(compute(e.x('rs1').toI32(), e.imm32()).toI64S()),
  );
}

function register(
  name: string,
  bits: string,
  summary: string,
  compute: (a: Value64, b: Value64) => Value64,
): Instruction {
  const [funct7, funct3] = bits.split(' ');
  return instruction('I', name, `${funct7} rs2 rs1 ${funct3} rd 0110011`, 'rd, rs1, rs2', summary, (e) =>
    e.setX(compute(e.x('rs1'), e.x('rs2'))),
  );
}

function registerWord(
  name: string,
  bits: string,
  summary: string,
  compute: (a: Value32, b: Value32) => Value32,
): Instruction {
  const [funct7, funct3] = bits.split(' ');
  return instruction('I', name, `${funct7} rs2 rs1 ${funct3} rd 0111011`, 'rd, rs1, rs2', summary, (e) =>
    e.setX(compute(e.x('rs1').toI32(), e.x('rs2').toI32()).toI64S()),
  );
}

function jumpRegister(e: Emitter): void {
  const target = e.let(e.x('rs1').add(e.imm()).and(-2n));
  e.setX(e.nextPc());
  e.jumpTo(target);
}

export const rv64i: readonly Instruction[] = [
  instruction(
    'I',
    'lui',
    'imm[31:12] rd 0110111',
    'rd, imm',
    'Loads an immediate into bits 31 to 12, sign-extended.',
    (e) => e.setX(e.imm()),
  ),
  instruction(
    'I',
    'auipc',
    'imm[31:12] rd 0010111',
    'rd, imm',
    'Adds an upper immediate to the address of this instruction.',
    (e) => e.setX(e.pc().add(e.imm())),
  ),
  instruction(
    'I',
    'jal',
    'imm[20|10:1|11|19:12] rd 1101111',
    'rd, imm',
    'Jumps by an offset and leaves the return address in rd.',
    (e) => {
      e.setX(e.nextPc());
      e.jumpRelative();
    },
    'jump',
  ),
  instruction(
    'I',
    'jalr',
    'imm[11:0] rs1 000 rd 1100111',
    'rd, imm(rs1)',
    'Jumps to rs1 plus an offset, bit 0 cleared, and leaves the return address in rd.',
    jumpRegister,
    'indirect',
  ),

  branch('beq', '000', 'Branches if equal.', (a, b) => a.eq(b)),
  branch('bne', '001', 'Branches if not equal.', (a, b) => a.ne(b)),
  branch('blt', '100', 'Branches if less, signed.', (a, b) => a.ltS(b)),
  branch('bge', '101', 'Branches if greater or equal, signed.', (a, b) => a.geS(b)),
  branch('bltu', '110', 'Branches if less, unsigned.', (a, b) => a.ltU(b)),
  branch('bgeu', '111', 'Branches if greater or equal, unsigned.', (a, b) => a.geU(b)),

  load('lb', '000', 'i8', 'Loads a byte, sign-extended.'),
  load('lh', '001', 'i16', 'Loads a halfword, sign-extended.'),
  load('lw', '010', 'i32', 'Loads a word, sign-extended.'),
  load('ld', '011', 'i64', 'Loads a doubleword.'),
  load('lbu', '100', 'u8', 'Loads a byte, zero-extended.'),
  load('lhu', '101', 'u16', 'Loads a halfword, zero-extended.'),
  load('lwu', '110', 'u32', 'Loads a word, zero-extended.'),
  store('sb', '000', 1, 'Stores a byte.'),
  store('sh', '001', 2, 'Stores a halfword.'),
  store('sw', '010', 4, 'Stores a word.'),
  store('sd', '011', 8, 'Stores a doubleword.'),

  immediate('addi', '000', 'Adds an immediate.', (a, imm) => a.add(imm)),
  immediate('slti', '010', 'Sets rd to 1 if less than the immediate, signed.', (a, imm) => a.ltS(imm).toI64U()),
  immediate('sltiu', '011', 'Sets rd to 1 if less than the sign-extended immediate, unsigned.', (a, imm) =>
    a.ltU(imm).toI64U(),
  ),
  immediate('xori', '100', 'Exclusive or with an immediate.', (a, imm) => a.xor(imm)),
  immediate('ori', '110', 'Or with an immediate.', (a, imm) => a.or(imm)),
  immediate('andi', '111', 'And with an immediate.', (a, imm) => a.and(imm)),
  shift('slli', '000000 001', 'Shifts left by an immediate.', (a, amount) => a.shl(amount)),
  shift('srli', '000000 101', 'Shifts right by an immediate, filling with zeros.', (a, amount) => a.shrU(amount)),
  shift('srai', '010000 101', 'Shifts right by an immediate, filling with the sign.', (a, amount) => a.shrS(amount)),

  register('add', '0000000 000', 'Adds.', (a, b) => a.add(b)),
  register('sub', '0100000 000', 'Subtracts.', (a, b) => a.sub(b)),
  register('sll', '0000000 001', 'Shifts left by the low 6 bits of rs2.', (a, b) => a.shl(b)),
  register('slt', '0000000 010', 'Sets rd to 1 if less, signed.', (a, b) => a.ltS(b).toI64U()),
  register('sltu', '0000000 011', 'Sets rd to 1 if less, unsigned.', (a, b) => a.ltU(b).toI64U()),
  register('xor', '0000000 100', 'Exclusive or.', (a, b) => a.xor(b)),
  register('srl', '0000000 101', 'Shifts right by the low 6 bits of rs2, filling with zeros.', (a, b) => a.shrU(b)),
  register('sra', '0100000 101', 'Shifts right by the low 6 bits of rs2, filling with the sign.', (a, b) => a.shrS(b)),
  register('or', '0000000 110', 'Or.', (a, b) => a.or(b)),
  register('and', '0000000 111', 'And.', (a, b) => a.and(b)),

  instruction(
    'I',
    'addiw',
    'imm[11:0] rs1 000 rd 0011011',
    'rd, rs1, imm',
    'Adds an immediate to the low word, sign-extending the result.',
    (e) => e.setX(e.x('rs1').toI32().add(e.imm32()).toI64S()),
  ),
  shiftWord(
    'slliw',
    '0000000 001',
    'Shifts the low word left by an immediate, sign-extending the result.',
    (a, amount) => a.shl(amount),
  ),
  shiftWord(
    'srliw',
    '0000000 101',
    'Shifts the low word right by an immediate, filling with zeros, sign-extending the result.',
    (a, amount) => a.shrU(amount),
  ),
  shiftWord('sraiw', '0100000 101', 'Shifts the low word right by an immediate, filling with its sign.', (a, amount) =>
    a.shrS(amount),
  ),
  registerWord('addw', '0000000 000', 'Adds words, sign-extending the result.', (a, b) => a.add(b)),
  registerWord('subw', '0100000 000', 'Subtracts words, sign-extending the result.', (a, b) => a.sub(b)),
  registerWord(
    'sllw',
    '0000000 001',
    'Shifts the low word left by the low 5 bits of rs2, sign-extending the result.',
    (a, b) => a.shl(b),
  ),
  registerWord(
    'srlw',
    '0000000 101',
    'Shifts the low word right by the low 5 bits of rs2, filling with zeros, sign-extending the result.',
    (a, b) => a.shrU(b),
  ),
  registerWord(
    'sraw',
    '0100000 101',
    'Shifts the low word right by the low 5 bits of rs2, filling with its sign.',
    (a, b) => a.shrS(b),
  ),

  instruction(
    'I',
    'fence',
    'fm pred succ rs1 000 rd 0001111',
    'pred, succ',
    'Orders memory accesses before it against those after it.',
    (e) => e.system('fence'),
  ),
  instruction(
    'Zifencei',
    'fence.i',
    'imm[11:0] rs1 001 rd 0001111',
    '',
    'Makes this hart see earlier stores to instruction memory.',
    (e) => e.system('fence.i'),
    'system',
  ),
  instruction(
    'I',
    'ecall',
    '000000000000 00000 000 00000 1110011',
    '',
    'Calls the execution environment by a trap.',
    (e) => e.system('ecall'),
    'system',
  ),
  instruction(
    'I',
    'ebreak',
    '000000000001 00000 000 00000 1110011',
    '',
    'Hands control to a debugger by a trap.',
    (e) => e.system('ebreak'),
    'system',
  ),
];
