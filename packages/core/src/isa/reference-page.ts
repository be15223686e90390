/**
 * The reference page of the instructions as Markdown, from the entries: docs/reference/instructions.md is this text. `npm run docs:isa`
 * writes it anew; a test fails while the page in the repository is another one.
 */

import { defined } from '../base/assert.ts';
import type { Extension, Instruction } from './instruction.ts';
import { immediateOf } from './instruction.ts';
import { instructionNamed, instructions } from './instructions.ts';

/** Extensions in the order of the page. */
const titles: Readonly<Record<Extension, string>> = {
  I: 'base integer instructions (RV64I)',
  Zifencei: 'instruction-fetch fence',
  M: 'multiplication and division',
  A: 'atomic memory operations (Zalrsc, Zaamo)',
  Zawrs: 'waiting on a reservation',
  F: 'single-precision floating point',
  D: 'double-precision floating point',
  C: 'compressed instructions (Zca, Zcd)',
  Zicsr: 'control and status registers',
  Zihintpause: 'pause hint',
  Zicond: 'conditional zero',
  Zba: 'address generation',
  Zbb: 'basic bit manipulation',
  Zbs: 'single bits',
  Zicbom: 'cache-block management',
  Zicboz: 'cache-block zero',
  S: 'privileged instructions',
  Svinval: 'fine-grained translation fences',
};

const introduction = `# Instructions

Every instruction that Ringfence's harts execute, from the entries in \`packages/core/src/isa\`. This page is generated: change an entry, then
run \`npm run docs:isa\`.

Encodings run from the most significant bit to the least. Bits written 0 or 1 are fixed; \`imm[11:0]\` and its like are the bits of an
immediate (sign-extended; \`uimm\` is not; \`nz\` means that 0 is reserved); a quote marks a register of x8 to x15 in three bits. In the syntax
\`f\` before a register means a float register, and \`rm=dyn\` is a rounding mode that is \`dyn\` when left out. A branch or jump is written with
the address it goes to. Words that no entry has, and those an entry excepts, are illegal instructions; HINTs do what their
encoding says, which is nothing one can see.
`;

/** The whole page. */
export function instructionReferencePage(): string {
  const sections = Object.entries(titles).map(([extension, title]) => {
    const entries = instructions.filter((entry) => entry.extension === extension);
    return `## ${extension}: ${title}\n\n${extension === 'C' ? compressedTable(entries) : fullTable(entries)}`;
  });
  return [introduction, ...sections].join('\n');
}

function fullTable(entries: readonly Instruction[]): string {
  return table(
    ['Instruction', 'Encoding', 'What it does'],
    entries.map((entry) => [code(written(entry)), code(entry.encoding.text), entry.summary]),
  );
}

function compressedTable(entries: readonly Instruction[]): string {
  return table(
    ['Instruction', 'Encoding', 'Stands for', 'Not when', 'What it does'],
    entries.map((entry) => [
      code(written(entry)),
      code(entry.encoding.text),
      code(expansionText(entry)),
      exceptions(entry),
      entry.summary,
    ]),
  );
}

/** Mnemonic and operands; `[.aq][.rl]` for the ordering bits of atomics. */
function written(entry: Instruction): string {
  const ordering = entry.encoding.fields.has('aq') ? '[.aq|.rl|.aqrl]' : '';
  return `${entry.name}${ordering} ${entry.syntax}`.trim();
}

/** The full instruction with the compressed one's operands in its syntax. */
function expansionText(entry: Instruction): string {
  const { name, operands } = defined(entry.expansion, `the expansion of ${entry.name}`);
  const full = defined(instructionNamed(name), name);
  const immediate = immediateOf(full)?.name;
  const syntax = full.syntax.replace(/\b(f?)(\w+)\b/g, (_, float: string, operand: string) => {
    const source = defined(operands[operand === immediate ? 'imm' : operand], `${entry.name} ${operand}`);
    if (typeof source === 'string') return float + source;
    return operand === immediate ? String(source) : `x${source}`;
  });
  return `${name} ${syntax}`.trim();
}

/** Field values for which the words are reserved or another entry. */
function exceptions(entry: Instruction): string {
  return Object.entries(entry.expansion?.except ?? {})
    .map(([field, values]) =>
      code(`${field} = ${values.map((value) => (field.startsWith('r') ? `x${value}` : value)).join(', ')}`),
    )
    .join(' or ');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('');
}

/** A code span in a table, where a bar must be escaped even there. */
function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}
