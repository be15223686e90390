/**
 * Compressed instructions of RV64, C with Zcd's loads and stores (Unprivileged ISA, "C" Extension). Each is one full instruction in
 * 16 bits; `except` says which words of an encoding are reserved or another entry. HINTs (a result for x0, a shift by 0) are legal.
 */

import { type Instruction, compressed } from './instruction.ts';

const SP = 2;

/** `c.lw rd', uimm(rs1')` and the like: quadrant 0. */
function load(name: string, funct3: string, offset: string, float: boolean): Instruction {
  const full = name.slice(2);
  return compressed(
    name,
    `${funct3} uimm[5:3] rs1' ${offset} rd' 00`,
    `${float ? 'f' : ''}rd', uimm(rs1')`,
    `Loads as ${full} does.`,
    { name: full, operands: { rd: "rd'", rs1: "rs1'", imm: 'uimm' } },
  );
}

function store(name: string, funct3: string, offset: string, float: boolean): Instruction {
  const full = name.slice(2);
  return compressed(
    name,
    `${funct3} uimm[5:3] rs1' ${offset} rs2' 00`,
    `${float ? 'f' : ''}rs2', uimm(rs1')`,
    `Stores as ${full} does.`,
    { name: full, operands: { rs1: "rs1'", rs2: "rs2'", imm: 'uimm' } },
  );
}

/** `c.lwsp rd, uimm(sp)` and the like: quadrant 2. Integer loads into x0 are reserved. */
function loadStack(full: string, funct3: string, offset: string, float: boolean): Instruction {
  return compressed(
    `c.${full}sp`,
    `${funct3} uimm[5] rd ${offset} 10`,
    `${float ? 'f' : ''}rd, uimm(x2)`,
    `Loads from the stack as ${full} does.`,
    { name: full, operands: { rd: 'rd', rs1: SP, imm: 'uimm' }, ...(float ? {} : { except: { rd: [0] } }) },
  );
}

function storeStack(full: string, funct3: string, offset: string, float: boolean): Instruction {
  return compressed(
    `c.${full}sp`,
    `${funct3} ${offset} rs2 10`,
    `${float ? 'f' : ''}rs2, uimm(x2)`,
    `Stores to the stack as ${full} does.`,
    { name: full, operands: { rs1: SP, rs2: 'rs2', imm: 'uimm' } },
  );
}

/** Arithmetic on two of x8 to x15. */
function register(name: string, bits: string, summary: string): Instruction {
  const [high, low] = bits.split(' ');
  return compressed(name, `100 ${high} rd' ${low} rs2' 01`, "rd', rs2'", summary, {
    name: name.slice(2),
    operands: { rd: "rd'", rs1: "rd'", rs2: "rs2'" },
  });
}

/** Arithmetic of one of x8 to x15 with an immediate. */
function immediate(name: string, funct2: string, field: 'imm' | 'uimm', summary: string): Instruction {
  return compressed(name, `100 ${field}[5] ${funct2} rd' ${field}[4:0] 01`, `rd', ${field}`, summary, {
    name: name.slice(2),
    operands: { rd: "rd'", rs1: "rd'", imm: field },
  });
}

export const rv64c: readonly Instruction[] = [
  // Quadrant 0.
  compressed('c.addi4spn', "000 nzuimm[5:4|9:6|2|3] rd' 00", "rd', x2, nzuimm", 'Address of a variable on the stack.', {
    name: 'addi',
    operands: { rd: "rd'", rs1: SP, imm: 'nzuimm' },
    except: { nzuimm: [0] },
  }),
  load('c.fld', '001', 'uimm[7:6]', true),
  load('c.lw', '010', 'uimm[2|6]', false),
  load('c.ld', '011', 'uimm[7:6]', false),
  store('c.fsd', '101', 'uimm[7:6]', true),
  store('c.sw', '110', 'uimm[2|6]', false),
  store('c.sd', '111', 'uimm[7:6]', false),

  // Quadrant 1.
  compressed('c.nop', '000 0 00000 00000 01', '', 'Does nothing.', {
    name: 'addi',
    operands: { rd: 0, rs1: 0, imm: 0 },
  }),
  compressed('c.addi', '000 imm[5] rd imm[4:0] 01', 'rd, imm', 'Adds an immediate.', {
    name: 'addi',
    operands: { rd: 'rd', rs1: 'rd', imm: 'imm' },
  }),
  compressed(
    'c.addiw',
    '001 imm[5] rd imm[4:0] 01',
    'rd, imm',
    'Adds an immediate to the low word, sign-extending the result.',
    { name: 'addiw', operands: { rd: 'rd', rs1: 'rd', imm: 'imm' }, except: { rd: [0] } },
  ),
  compressed('c.li', '010 imm[5] rd imm[4:0] 01', 'rd, imm', 'Loads an immediate.', {
    name: 'addi',
    operands: { rd: 'rd', rs1: 0, imm: 'imm' },
  }),
  compressed('c.addi16sp', '011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01', 'x2, nzimm', 'Moves the stack pointer.', {
    name: 'addi',
    operands: { rd: SP, rs1: SP, imm: 'nzimm' },
    except: { nzimm: [0] },
  }),
  compressed(
    'c.lui',
    '011 nzimm[17] rd nzimm[16:12] 01',
    'rd, nzimm',
    'Loads an immediate into bits 17 to 12, sign-extended.',
    { name: 'lui', operands: { rd: 'rd', imm: 'nzimm' }, except: { rd: [2], nzimm: [0] } },
  ),
  immediate('c.srli', '00', 'uimm', 'Shifts right, filling with zeros.'),
  immediate('c.srai', '01', 'uimm', 'Shifts right, filling with the sign.'),
  immediate('c.andi', '10', 'imm', 'And with an immediate.'),
  register('c.sub', '011 00', 'Subtracts.'),
  register('c.xor', '011 01', 'Exclusive or.'),
  register('c.or', '011 10', 'Or.'),
  register('c.and', '011 11', 'And.'),
  register('c.subw', '111 00', 'Subtracts words, sign-extending the result.'),
  register('c.addw', '111 01', 'Adds words, sign-extending the result.'),
  compressed('c.j', '101 imm[11|4|9:8|10|6|7|3:1|5] 01', 'imm', 'Jumps by an offset.', {
    name: 'jal',
    operands: { rd: 0, imm: 'imm' },
  }),
  compressed('c.beqz', "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "rs1', imm", 'Branches if zero.', {
    name: 'beq',
    operands: { rs1: "rs1'", rs2: 0, imm: 'imm' },
  }),
  compressed('c.bnez', "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "rs1', imm", 'Branches if not zero.', {
    name: 'bne',
    operands: { rs1: "rs1'", rs2: 0, imm: 'imm' },
  }),

  // Quadrant 2.
  compressed('c.slli', '000 uimm[5] rd uimm[4:0] 10', 'rd, uimm', 'Shifts left by an immediate.', {
    name: 'slli',
    operands: { rd: 'rd', rs1: 'rd', imm: 'uimm' },
  }),
  loadStack('fld', '001', 'uimm[4:3|8:6]', true),
  loadStack('lw', '010', 'uimm[4:2|7:6]', false),
  loadStack('ld', '011', 'uimm[4:3|8:6]', false),
  compressed('c.jr', '1000 rs1 00000 10', 'rs1', 'Jumps to the address in rs1.', {
    name: 'jalr',
    operands: { rd: 0, rs1: 'rs1', imm: 0 },
    except: { rs1: [0] },
  }),
  compressed('c.mv', '1000 rd rs2 10', 'rd, rs2', 'Copies a register.', {
    name: 'add',
    operands: { rd: 'rd', rs1: 0, rs2: 'rs2' },
    except: { rs2: [0] },
  }),
  compressed('c.ebreak', '1001 00000 00000 10', '', 'Hands control to a debugger by a trap.', {
    name: 'ebreak',
    operands: {},
  }),
  compressed('c.jalr', '1001 rs1 00000 10', 'rs1', 'Jumps to the address in rs1 and leaves the return address in x1.', {
    name: 'jalr',
    operands: { rd: 1, rs1: 'rs1', imm: 0 },
    except: { rs1: [0] },
  }),
  compressed('c.add', '1001 rd rs2 10', 'rd, rs2', 'Adds.', {
    name: 'add',
    operands: { rd: 'rd', rs1: 'rd', rs2: 'rs2' },
    except: { rs2: [0] },
  }),
  storeStack('fsd', '101', 'uimm[5:3|8:6]', true),
  storeStack('sw', '110', 'uimm[5:2|7:6]', false),
  storeStack('sd', '111', 'uimm[5:3|8:6]', false),
];
