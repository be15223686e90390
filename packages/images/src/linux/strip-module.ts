/**
 * Makes a kernel module small. RISC-V's assembler leaves a local symbol at every place that linker relaxation could have moved: of the
 * 7 MB of ext4.ko, 5.5 MB are symbols that nothing refers to. Kept is all that the kernel's loader reads (Linux,
 * kernel/module/main.c): sections that are loaded, their relocations, the symbols these name, and every global symbol.
 *
 * The signature at the end of the file would no longer hold and is cut off. Debian's kernel loads modules without one and notes it in
 * its log; checking it would cost the guest a hash over the whole file. The archive's signature vouched for the bytes before.
 */

import { concatenate, utf8Octets } from '../archive/octets.ts';
import { ImageError } from '../image-error.ts';
import {
  E_SHOFF,
  ELF_HEADER_SIZE,
  ET_REL,
  parseElf,
  SECTION_HEADER_SIZE,
  SHF_ALLOC,
  SHT_NOBITS,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
  viewOf,
  type ElfSection,
} from './elf.ts';

const SYMBOL_SIZE = 24;
const RELA_SIZE = 24;
const STT_SECTION = 3;
const STT_FILE = 4;

/** The module with less in it; `what` names it in errors. */
export function stripModule(file: Uint8Array, what: string): Uint8Array {
  const { type, sections } = parseElf(file, what);
  const symbolSection = sections.find((section) => section.type === SHT_SYMTAB);
  const nameSection = symbolSection === undefined ? undefined : sections[symbolSection.link];
  if (type !== ET_REL || symbolSection === undefined || nameSection === undefined) {
    throw new ImageError('bad-format', `${what} is not a kernel module: it has no symbols.`);
  }

  const isLoaded = (section: ElfSection | undefined): boolean => ((section?.flags ?? 0n) & SHF_ALLOC) !== 0n;
  const relocations = sections.filter((section) => section.type === SHT_RELA && isLoaded(sections[section.info]));
  const symbols = keepSymbols(symbolSection, nameSection, new Set(relocations.flatMap(symbolsOf)), what);

  const content = (section: ElfSection): Uint8Array => {
    if (section === symbolSection) return symbols.table;
    if (section === nameSection) return symbols.names;
    if (relocations.includes(section)) return renumbered(section, symbols.numbers);
    return isLoaded(section) || section.type === SHT_STRTAB ? section.content : new Uint8Array(0);
  };
  return assemble(file.subarray(0, ELF_HEADER_SIZE), sections, content, (section) =>
    section === symbolSection ? symbols.firstGlobal : section.info,
  );
}

interface KeptSymbols {
  readonly table: Uint8Array;
  readonly names: Uint8Array;
  /** New numbers by the old ones. */
  readonly numbers: ReadonlyMap<number, number>;
  readonly firstGlobal: number;
}

/** Symbol 0, every global one, every local one that is referred to, and local ones with a real name, for stack traces. */
function keepSymbols(
  symbolSection: ElfSection,
  nameSection: ElfSection,
  referred: ReadonlySet<number>,
  what: string,
): KeptSymbols {
  const table = symbolSection.content;
  const view = viewOf(table);
  const count = Math.floor(table.length / SYMBOL_SIZE);
  const firstGlobal = symbolSection.info;
  for (const number of referred) {
    if (number >= count)
      throw new ImageError(
        'bad-format',
        `${what} is not a sound kernel module: it refers to symbol ${number} of ${count}.`,
      );
  }

  const kept: Uint8Array[] = [];
  const names = new NameTable();
  const numbers = new Map<number, number>();
  let locals = 0;
  for (let number = 0; number < count; number++) {
    const at = number * SYMBOL_SIZE;
    const symbolType = (table[at + 4] ?? 0) & 0xf;
    const name = nameAt(nameSection.content, view.getUint32(at, true));
    const artificial = name.length === 0 || name[0] === DOT || name[0] === DOLLAR;
    const isNeeded = number === 0 || number >= firstGlobal || referred.has(number);
    if (!isNeeded && (artificial || symbolType === STT_FILE || symbolType === STT_SECTION)) continue;
    if (number < firstGlobal) locals++;
    numbers.set(number, kept.length);
    const symbol = new Uint8Array(table.subarray(at, at + SYMBOL_SIZE));
    viewOf(symbol).setUint32(0, artificial && number < firstGlobal ? 0 : names.add(name), true);
    kept.push(symbol);
  }
  return { table: concatenate(kept), names: names.content(), numbers, firstGlobal: locals };
}

const DOT = 0x2e;
const DOLLAR = 0x24;

function nameAt(names: Uint8Array, offset: number): Uint8Array {
  const end = names.indexOf(0, offset);
  return names.subarray(offset, end < 0 ? undefined : end);
}

class NameTable {
  readonly #parts: Uint8Array[] = [utf8Octets('\0')];
  #length = 1;

  add(name: Uint8Array): number {
    if (name.length === 0) return 0;
    const at = this.#length;
    this.#parts.push(name, utf8Octets('\0'));
    this.#length += name.length + 1;
    return at;
  }

  content(): Uint8Array {
    return concatenate(this.#parts);
  }
}

/** The numbers of the symbols that a relocation section names: the high half of `r_info`. */
function symbolsOf({ content }: ElfSection): number[] {
  const view = viewOf(content);
  return Array.from({ length: Math.floor(content.length / RELA_SIZE) }, (_, index) =>
    view.getUint32(index * RELA_SIZE + 12, true),
  );
}

function renumbered(section: ElfSection, numbers: ReadonlyMap<number, number>): Uint8Array {
  const content = new Uint8Array(section.content);
  const view = viewOf(content);
  for (const [index, number] of symbolsOf(section).entries())
    view.setUint32(index * RELA_SIZE + 12, numbers.get(number) ?? 0, true);
  return content;
}

/** Lays the sections out anew, in their order, so that every section keeps its number. */
function assemble(
  elfHeader: Uint8Array,
  sections: readonly ElfSection[],
  contentOf: (section: ElfSection) => Uint8Array,
  infoOf: (section: ElfSection) => number,
): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  const add = (part: Uint8Array, alignment: number): number => {
    const gap = (alignment - (length % alignment)) % alignment;
    parts.push(new Uint8Array(gap), part);
    const at = length + gap;
    length = at + part.length;
    return at;
  };

  const header = new Uint8Array(elfHeader);
  add(header, 1);
  const table = sections.map((section) => {
    const fields = new Uint8Array(section.header);
    const view = viewOf(fields);
    const content = contentOf(section);
    view.setBigUint64(24, BigInt(add(content, Math.max(1, section.alignment))), true);
    if (section.type !== SHT_NOBITS) view.setBigUint64(32, BigInt(content.length), true);
    view.setUint32(44, infoOf(section), true);
    return fields;
  });
  viewOf(header).setBigUint64(E_SHOFF, BigInt(add(concatenate(table), SECTION_HEADER_SIZE)), true);
  return concatenate(parts);
}
