/**
 * Pseudo-instructions for the programs of our tests: other ways to write one or two real instructions (RISC-V Assembly Programmer's
 * Manual, "Pseudoinstructions"). They are text for the assembler and no entries: nothing decodes to them.
 */

import { AssemblyError } from './assembly-error.ts';

/** Name and number of operands -> the instructions, `$1` standing for the first operand. */
const templates = new Map<string, readonly string[]>(
  [
    ['nop', 'addi x0, x0, 0'],
    ['mv 2', 'addi $1, $2, 0'],
    ['not 2', 'xori $1, $2, -1'],
    ['neg 2', 'sub $1, x0, $2'],
    ['negw 2', 'subw $1, x0, $2'],
    ['sext.w 2', 'addiw $1, $2, 0'],
    ['zext.w 2', 'add.uw $1, $2, x0'],
    ['zext.b 2', 'andi $1, $2, 0xff'],
    ['seqz 2', 'sltiu $1, $2, 1'],
    ['snez 2', 'sltu $1, x0, $2'],
    ['sltz 2', 'slt $1, $2, x0'],
    ['sgtz 2', 'slt $1, x0, $2'],
    ['beqz 2', 'beq $1, x0, $2'],
    ['bnez 2', 'bne $1, x0, $2'],
    ['blez 2', 'bge x0, $1, $2'],
    ['bgez 2', 'bge $1, x0, $2'],
    ['bltz 2', 'blt $1, x0, $2'],
    ['bgtz 2', 'blt x0, $1, $2'],
    ['bgt 3', 'blt $2, $1, $3'],
    ['ble 3', 'bge $2, $1, $3'],
    ['bgtu 3', 'bltu $2, $1, $3'],
    ['bleu 3', 'bgeu $2, $1, $3'],
    ['j 1', 'jal x0, $1'],
    ['jal 1', 'jal x1, $1'],
    ['jr 1', 'jalr x0, 0($1)'],
    ['jalr 1', 'jalr x1, 0($1)'],
    ['ret', 'jalr x0, 0(x1)'],
    ['la 2', 'auipc $1, %hi($2 - .)', 'addi $1, $1, %lo($2 - . + 4)'],
    ['call 1', 'auipc x1, %hi($1 - .)', 'jalr x1, %lo($1 - . + 4)(x1)'],
    ['tail 1', 'auipc x6, %hi($1 - .)', 'jalr x0, %lo($1 - . + 4)(x6)'],
    ['csrr 2', 'csrrs $1, $2, x0'],
    ['csrw 2', 'csrrw x0, $1, $2'],
    ['csrs 2', 'csrrs x0, $1, $2'],
    ['csrc 2', 'csrrc x0, $1, $2'],
    ['csrwi 2', 'csrrwi x0, $1, $2'],
    ['csrsi 2', 'csrrsi x0, $1, $2'],
    ['csrci 2', 'csrrci x0, $1, $2'],
    ['fence', 'fence iorw, iorw'],
    ['sfence.vma', 'sfence.vma x0, x0'],
    ['sfence.vma 1', 'sfence.vma $1, x0'],
    ['fmv.s 2', 'fsgnj.s $1, $2, $2'],
    ['fmv.d 2', 'fsgnj.d $1, $2, $2'],
    ['fabs.s 2', 'fsgnjx.s $1, $2, $2'],
    ['fabs.d 2', 'fsgnjx.d $1, $2, $2'],
    ['fneg.s 2', 'fsgnjn.s $1, $2, $2'],
    ['fneg.d 2', 'fsgnjn.d $1, $2, $2'],
    ['unimp', 'csrrw x0, cycle, x0'],
  ].map(([name = '', ...instructions]) => [name, instructions]),
);

/** The instructions that a pseudo-instruction stands for; undefined when it is none. `li` is apart: its length follows from its value. */
export function expandPseudo(name: string, operands: readonly string[]): readonly string[] | undefined {
  const template = templates.get(operands.length === 0 ? name : `${name} ${operands.length}`);
  return template?.map((text) =>
    text.replace(/\$(\d)/g, (_, position: string) => operands[Number(position) - 1] ?? ''),
  );
}

/** The shortest usual sequence that puts a 64-bit `value`, signed or not, into `register`. */
export function loadImmediate(register: string, value: bigint): string[] {
  if (value < -(1n << 63n) || value >= 1n << 64n)
    throw new AssemblyError('range', `${value} does not fit into 64 bits.`);
  return loadSigned(register, BigInt.asIntN(64, value));
}

function loadSigned(register: string, value: bigint): string[] {
  if (value === BigInt.asIntN(12, value)) return [`addi ${register}, x0, ${value}`];
  const low = BigInt.asIntN(12, value);
  if (value === BigInt.asIntN(32, value)) {
    const high = `lui ${register}, ${((value - low) >> 12n) & 0xfffffn}`;
    return low === 0n ? [high] : [high, `addiw ${register}, ${register}, ${low}`];
  }
  let high = BigInt.asIntN(64, value - low) >> 12n;
  let shift = 12;
  for (; (high & 1n) === 0n; high >>= 1n) shift++;
  const upper = [...loadSigned(register, high), `slli ${register}, ${register}, ${shift}`];
  return low === 0n ? upper : [...upper, `addi ${register}, ${register}, ${low}`];
}
