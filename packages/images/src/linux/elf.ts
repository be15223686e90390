/** ELF files of 64 bits, little-endian, as far as sections go (System V gABI, chapter 4). */

import { textUntilNul } from '../archive/octets.ts';
import { ImageError } from '../image-error.ts';

export const ET_REL = 1;
export const SHT_NULL = 0;
export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_RELA = 4;
export const SHT_NOBITS = 8;
export const SHF_ALLOC = 2n;
export const SECTION_HEADER_SIZE = 64;
export const ELF_HEADER_SIZE = 64;
/** Where in the ELF header the offset of the section headers lies. */
export const E_SHOFF = 40;

export const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;

export interface ElfSection {
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly alignment: number;
  /** The section header's 64 bytes. */
  readonly header: Uint8Array;
  /** Empty when the section takes no room in the file. */
  readonly content: Uint8Array;
}

export interface ElfFile {
  readonly type: number;
  readonly sections: readonly ElfSection[];
}

export function isElf(file: Uint8Array): boolean {
  return file[0] === 0x7f && file[1] === 0x45 && file[2] === 0x4c && file[3] === 0x46;
}

/** `what` names the file in errors. */
export function parseElf(file: Uint8Array, what: string): ElfFile {
  const broken = (why: string): ImageError => new ImageError('bad-format', `${what} is not a sound ELF file: ${why}.`);
  if (!isElf(file) || file.length < ELF_HEADER_SIZE) throw broken('it has no ELF header');
  if (file[4] !== ELFCLASS64 || file[5] !== ELFDATA2LSB) throw broken('it is not 64-bit little-endian');
  const view = viewOf(file);
  const slice = (offset: bigint, size: bigint): Uint8Array => {
    if (offset + size > BigInt(file.length)) throw broken('it is cut short');
    return file.subarray(Number(offset), Number(offset + size));
  };

  const count = view.getUint16(60, true);
  const table = slice(view.getBigUint64(E_SHOFF, true), BigInt(count * SECTION_HEADER_SIZE));
  const raw = Array.from({ length: count }, (_, index) => {
    const header = table.subarray(index * SECTION_HEADER_SIZE, (index + 1) * SECTION_HEADER_SIZE);
    const fields = viewOf(header);
    const type = fields.getUint32(4, true);
    const empty = type === SHT_NULL || type === SHT_NOBITS;
    const size = fields.getBigUint64(32, true);
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw broken('a section is too large');
    return {
      nameAt: fields.getUint32(0, true),
      type,
      flags: fields.getBigUint64(8, true),
      size: Number(size),
      link: fields.getUint32(40, true),
      info: fields.getUint32(44, true),
      alignment: Number(fields.getBigUint64(48, true)),
      header,
      content: empty ? file.subarray(0, 0) : slice(fields.getBigUint64(24, true), size),
    };
  });
  const names = raw[view.getUint16(62, true)]?.content ?? new Uint8Array(0);
  return {
    type: view.getUint16(16, true),
    sections: raw.map(({ nameAt, ...section }) => ({ ...section, name: textUntilNul(names.subarray(nameAt)) })),
  };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
