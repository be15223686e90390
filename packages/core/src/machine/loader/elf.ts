/**
 * ELF files for RISC-V (System V gABI, chapters 4 and 5; RISC-V ELF psABI): the header, what is to be loaded, and the few symbols that a
 * machine looks for. The file may be anything: every offset and count is checked before it is followed.
 */

import { guestPhysical, hex } from '../../base/numbers.ts';
import type { GuestPhysical } from '../../base/numbers.ts';
import { LoadError, loadBytes, range, requireMemory } from './payload.ts';
import type { BootMemory, LoadedRange, Payload } from './payload.ts';

const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_RISCV = 243;
const PT_LOAD = 1;
const SHT_SYMTAB = 2;

const FILE_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;

/** Segments that one file may have. */
const MAXIMUM_PROGRAM_HEADERS = 256;
const MAXIMUM_SECTIONS = 0xff00;
/** Bytes that one file may ask for, far beyond any memory. */
const MAXIMUM_SEGMENT_BYTES = 2 ** 40;

/** One PT_LOAD entry. */
export interface ElfSegment {
  readonly physicalAddress: number;
  readonly virtualAddress: bigint;
  readonly fileOffset: number;
  readonly fileSize: number;
  /** What the file does not fill of it is zero. */
  readonly memorySize: number;
}

export interface ElfFile {
  readonly payload: Payload;
  /** As the file has it: a virtual address. */
  readonly entry: bigint;
  /** True for a file that may be loaded at any address (ET_DYN). */
  readonly relocatable: boolean;
  /** INVARIANT: at least one, by ascending physical address, without overlaps. */
  readonly segments: readonly ElfSegment[];
}

export interface LoadedElf extends LoadedRange {
  readonly entry: GuestPhysical;
}

/** True when the file begins like an ELF file, of whatever kind. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/** Reads the headers. Throws LoadError for anything but a complete, little-endian, 64-bit RISC-V program. */
export function parseElf(payload: Payload): ElfFile {
  const file = new FileReader(payload);
  file.need(0, FILE_HEADER_BYTES, 'its header');
  if (!isElf(payload.bytes)) throw new LoadError('malformed', payload, 'it is no ELF file');
  if (file.u8(4) !== ELFCLASS64)
    throw new LoadError('wrong-machine', payload, 'it is a 32-bit program, and this machine runs 64-bit ones');
  if (file.u8(5) !== ELFDATA2LSB) throw new LoadError('wrong-machine', payload, 'it is a big-endian program');
  const machine = file.u16(18);
  if (machine !== EM_RISCV)
    throw new LoadError(
      'wrong-machine',
      payload,
      `it is a program for another processor (ELF machine ${machine}), and this one is RISC-V (${EM_RISCV})`,
    );
  const type = file.u16(16);
  if (type !== ET_EXEC && type !== ET_DYN)
    throw new LoadError(
      'unsupported',
      payload,
      `it is an ELF file that cannot be started (type ${type}); an object file must be linked first`,
    );

  const count = file.u16(56);
  if (count === 0) throw new LoadError('malformed', payload, 'it has no program headers, so there is nothing to load');
  if (count > MAXIMUM_PROGRAM_HEADERS)
    throw new LoadError('too-large', payload, `it has ${count} program headers, more than ${MAXIMUM_PROGRAM_HEADERS}`);
  if (file.u16(54) !== PROGRAM_HEADER_BYTES)
    throw new LoadError(
      'malformed',
      payload,
      `its program headers are of ${file.u16(54)} bytes instead of ${PROGRAM_HEADER_BYTES}`,
    );
  const table = file.size(32, 'the offset of its program headers');
  file.need(table, count * PROGRAM_HEADER_BYTES, 'its program headers');
  const segments = [];
  for (let index = 0; index < count; index++) {
    const segment = readSegment(file, table + index * PROGRAM_HEADER_BYTES, payload);
    if (segment !== undefined) segments.push(segment);
  }
  if (segments.length === 0) throw new LoadError('malformed', payload, 'it has nothing to load');
  const ordered = segments.toSorted((a, b) => a.physicalAddress - b.physicalAddress);
  for (const [index, segment] of ordered.entries()) {
    const next = ordered[index + 1];
    if (next !== undefined && segment.physicalAddress + segment.memorySize > next.physicalAddress) {
      throw new LoadError(
        'malformed',
        payload,
        `its segments at ${hex(segment.physicalAddress)} and ${hex(next.physicalAddress)} overlap`,
      );
    }
  }
  sectionTable(file, payload);
  return { payload, entry: file.u64(24), relocatable: type === ET_DYN, segments: ordered };
}

function readSegment(file: FileReader, at: number, payload: Payload): ElfSegment | undefined {
  if (file.u32(at) !== PT_LOAD) return undefined;
  const memorySize = file.size(at + 40, 'the size of a segment');
  if (memorySize === 0) return undefined;
  const physicalAddress = file.size(at + 24, 'the address of a segment');
  const fileSize = file.size(at + 32, 'the size of a segment');
  const fileOffset = file.size(at + 8, 'the offset of a segment');
  if (fileSize > memorySize)
    throw new LoadError(
      'malformed',
      payload,
      `its segment at ${hex(physicalAddress)} has more bytes in the file than in memory`,
    );
  if (memorySize > MAXIMUM_SEGMENT_BYTES)
    throw new LoadError(
      'too-large',
      payload,
      `its segment at ${hex(physicalAddress)} wants ${memorySize} bytes of memory`,
    );
  file.need(fileOffset, fileSize, `its segment at ${hex(physicalAddress)}`);
  return { physicalAddress, virtualAddress: file.u64(at + 16), fileOffset, fileSize, memorySize };
}

/** Where the section headers are; they usually end the file, so a truncated file is found out here. Undefined when it has none. */
function sectionTable(file: FileReader, payload: Payload): { offset: number; count: number } | undefined {
  const offset = file.size(40, 'the offset of its section headers');
  const count = file.u16(60);
  if (offset === 0 || count === 0) return undefined;
  if (count >= MAXIMUM_SECTIONS) throw new LoadError('too-large', payload, `it has ${count} sections`);
  if (file.u16(58) !== SECTION_HEADER_BYTES)
    throw new LoadError(
      'malformed',
      payload,
      `its section headers are of ${file.u16(58)} bytes instead of ${SECTION_HEADER_BYTES}`,
    );
  file.need(offset, count * SECTION_HEADER_BYTES, 'its section headers');
  return { offset, count };
}

/** The values of those of `names` that the file defines as symbols. A stripped file defines none. */
export function findSymbols(elf: ElfFile, names: readonly string[]): Map<string, bigint> {
  const file = new FileReader(elf.payload);
  const found = new Map<string, bigint>();
  const sections = sectionTable(file, elf.payload);
  for (let index = 0; sections !== undefined && index < sections.count; index++) {
    const at = sections.offset + index * SECTION_HEADER_BYTES;
    if (file.u32(at + 4) !== SHT_SYMTAB) continue;
    const symbols = fileRange(file, at);
    const link = file.u32(at + 40);
    if (link >= sections.count) throw new LoadError('malformed', elf.payload, 'its symbol table has no names');
    const strings = fileRange(file, sections.offset + link * SECTION_HEADER_BYTES);
    for (let symbol = symbols.offset; symbol + SYMBOL_BYTES <= symbols.offset + symbols.size; symbol += SYMBOL_BYTES) {
      const nameOffset = file.u32(symbol);
      if (nameOffset === 0) continue;
      const name = names.find((candidate) =>
        file.textIs(strings.offset + nameOffset, strings.offset + strings.size, candidate),
      );
      if (name !== undefined) found.set(name, file.u64(symbol + 8));
    }
  }
  return found;
}

function fileRange(file: FileReader, sectionHeader: number): { offset: number; size: number } {
  const offset = file.size(sectionHeader + 24, 'the offset of a section');
  const size = file.size(sectionHeader + 32, 'the size of a section');
  file.need(offset, size, 'its symbol table');
  return { offset, size };
}

/** Where the segments will be: where they want to be, or for a relocatable file that wants to begin at 0, `relocateTo` bytes higher. */
export function elfRange(elf: ElfFile, relocateTo: number): LoadedElf {
  const [first, last] = [elf.segments[0]!, elf.segments.at(-1)!];
  const bias = elf.relocatable && first.physicalAddress === 0 ? relocateTo : 0;
  return {
    start: guestPhysical(first.physicalAddress + bias),
    end: guestPhysical(last.physicalAddress + bias + last.memorySize),
    entry: guestPhysical(physicalOf(elf, elf.entry) + bias),
  };
}

/** Puts the segments at `elfRange(elf, relocateTo)`. All or nothing: nothing is written before everything is known to fit. */
export function loadElf(elf: ElfFile, into: BootMemory, relocateTo: number): LoadedElf {
  const { payload, segments } = elf;
  const loaded = elfRange(elf, relocateTo);
  const bias = loaded.start - segments[0]!.physicalAddress;
  for (const segment of segments)
    requireMemory(payload, segment.physicalAddress + bias, segment.memorySize, into.placement);
  for (const { physicalAddress, fileOffset, fileSize, memorySize } of segments) {
    loadBytes(
      payload,
      payload.bytes.subarray(fileOffset, fileOffset + fileSize),
      physicalAddress + bias,
      memorySize,
      into,
    );
  }
  return loaded;
}

/** The physical address of a virtual one that lies in a segment. */
export function physicalOf({ payload, segments }: ElfFile, virtual: bigint): number {
  for (const { virtualAddress, physicalAddress, memorySize } of segments) {
    if (virtual >= virtualAddress && virtual < virtualAddress + BigInt(memorySize))
      return physicalAddress + Number(virtual - virtualAddress);
  }
  const { physicalAddress, memorySize } = segments[0]!;
  throw new LoadError(
    'malformed',
    payload,
    `the address ${hex(virtual)} lies in none of its segments (the first is ${range(physicalAddress, memorySize)})`,
  );
}

/** Little-endian fields of a file; whoever reads has asked with `need` before. */
class FileReader {
  readonly #payload: Payload;
  readonly #view: DataView;

  constructor(payload: Payload) {
    this.#payload = payload;
    this.#view = new DataView(payload.bytes.buffer, payload.bytes.byteOffset, payload.bytes.byteLength);
  }

  /** Throws unless the file has all of [offset, offset + size). */
  need(offset: number, size: number, what: string): void {
    const length = this.#payload.bytes.length;
    if (offset + size > length)
      throw new LoadError(
        'truncated',
        this.#payload,
        `the file ends before ${what} does (it has ${length} bytes and needs ${offset + size}); is it complete?`,
      );
  }

  u8(offset: number): number {
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  u64(offset: number): bigint {
    return this.#view.getBigUint64(offset, true);
  }

  /** A 64-bit offset, size or physical address. */
  size(offset: number, what: string): number {
    const value = this.u64(offset);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new LoadError('malformed', this.#payload, `${what} is ${hex(value)}`);
    return Number(value);
  }

  /** True when the NUL-terminated text at `offset` is `expected`. */
  textIs(offset: number, end: number, expected: string): boolean {
    if (offset + expected.length + 1 > end) return false;
    for (let index = 0; index < expected.length; index++) {
      if (this.u8(offset + index) !== expected.charCodeAt(index)) return false;
    }
    return this.u8(offset + expected.length) === 0;
  }
}
