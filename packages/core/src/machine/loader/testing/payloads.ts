/** Builds the files that loaders are tested with: well-formed ones, to be damaged by the tests. */

import type { Payload } from '../payload.ts';

export interface SegmentSpec {
  readonly physical: number;
  readonly virtual?: bigint;
  readonly content: Uint8Array;
  readonly memorySize?: number;
}

export interface ElfSpec {
  readonly segments: readonly SegmentSpec[];
  readonly entry: bigint;
  readonly symbols?: Readonly<Record<string, bigint>>;
  readonly type?: number;
}

/** An ELF64 file: header, program headers, contents, and with symbols a symbol table, its names and section headers at the end. */
export function buildElf({ segments, entry, symbols = {}, type = 2 }: ElfSpec): Uint8Array {
  const programHeaders = 64;
  const contents = programHeaders + segments.length * 56;
  const contentSize = segments.reduce((sum, segment) => sum + segment.content.length, 0);
  const names = Object.keys(symbols);
  const symbolTable = Math.ceil((contents + contentSize) / 8) * 8;
  const strings = symbolTable + (names.length + 1) * 24;
  const stringBytes = new TextEncoder().encode(`\0${names.join('\0')}\0`);
  const sections = Math.ceil((strings + stringBytes.length) / 8) * 8;
  const bytes = new Uint8Array(names.length > 0 ? sections + 3 * 64 : contents + contentSize);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, type, true);
  view.setUint16(18, 243, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, entry, true);
  view.setBigUint64(32, BigInt(programHeaders), true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, segments.length, true);
  view.setUint16(58, 64, true);
  let offset = contents;
  for (const [index, { physical, virtual, content, memorySize }] of segments.entries()) {
    const at = programHeaders + index * 56;
    view.setUint32(at, 1, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 16, virtual ?? BigInt(physical), true);
    view.setBigUint64(at + 24, BigInt(physical), true);
    view.setBigUint64(at + 32, BigInt(content.length), true);
    view.setBigUint64(at + 40, BigInt(memorySize ?? content.length), true);
    bytes.set(content, offset);
    offset += content.length;
  }
  if (names.length > 0) {
    view.setBigUint64(40, BigInt(sections), true);
    view.setUint16(60, 3, true);
    let nameOffset = 1;
    for (const [index, name] of names.entries()) {
      const at = symbolTable + (index + 1) * 24;
      view.setUint32(at, nameOffset, true);
      view.setBigUint64(at + 8, symbols[name] ?? 0n, true);
      nameOffset += name.length + 1;
    }
    bytes.set(stringBytes, strings);
    const section = (index: number, kind: number, at: number, size: number, link: number): void => {
      view.setUint32(sections + index * 64 + 4, kind, true);
      view.setBigUint64(sections + index * 64 + 24, BigInt(at), true);
      view.setBigUint64(sections + index * 64 + 32, BigInt(size), true);
      view.setUint32(sections + index * 64 + 40, link, true);
    };
    section(1, 2, symbolTable, strings - symbolTable, 2);
    section(2, 3, strings, stringBytes.length, 0);
  }
  return bytes;
}

export interface ImageSpec {
  readonly length?: number;
  readonly textOffset?: bigint;
  readonly imageSize?: bigint;
  readonly flags?: bigint;
  readonly version?: number;
  readonly magic2?: number;
}

/** A Linux image: its header, then bytes that count up. */
export function buildImage({
  length = 4096,
  textOffset = 0x20_0000n,
  imageSize = 0x10_0000n,
  flags = 0n,
  version = 2,
  magic2 = 0x0543_5352,
}: ImageSpec = {}): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, index) => index & 0xff);
  bytes.fill(0, 0, 64);
  const view = new DataView(bytes.buffer);
  bytes.set([0x4d, 0x5a]);
  view.setBigUint64(8, textOffset, true);
  view.setBigUint64(16, imageSize, true);
  view.setBigUint64(24, flags, true);
  view.setUint32(32, version, true);
  view.setUint32(56, magic2, true);
  return bytes;
}

export function kernel(bytes: Uint8Array, name = 'vmlinuz'): Payload {
  return { kind: 'kernel', name, bytes };
}
