/** A kernel, kernel modules and a busybox as small as the code that reads them allows. */

/** An `Image` header and a little behind it. */
export function testImage(body = 'kernel'): Buffer {
  const image = Buffer.alloc(64 + body.length);
  image.write('MZ', 0);
  image.write('RISCV\0\0\0', 48, 'latin1');
  image.write('RSC\x05', 56, 'latin1');
  image.write(body, 64);
  return image;
}

const APPLETS = [
  '[',
  '[[',
  'ash',
  'cat',
  'cp',
  'echo',
  'ls',
  'modprobe',
  'mount',
  'poweroff',
  'setsid',
  'sh',
  'sleep',
  'sync',
  'umount',
  'yes',
];

/** Something with a table of applets between other strings. */
export function testBusybox(applets: readonly string[] = APPLETS): Buffer {
  return Buffer.from(`\x7fELF\0usage: cat\0cat\0zebra\0%s: %m\0${applets.join('\0')}\0\0\x01\x02busybox\0`, 'latin1');
}

export interface TestSymbol {
  readonly name: string;
  readonly value: number;
  readonly isGlobal?: boolean;
}

/** A relocatable ELF file with text, relocations against `referred`, debugging information and a `.modinfo`. */
export function testModule(
  modinfo: readonly string[],
  symbols: readonly TestSymbol[] = [],
  referred: readonly string[] = [],
): Buffer {
  const sorted = [
    ...symbols.filter(({ isGlobal }) => isGlobal !== true),
    ...symbols.filter(({ isGlobal }) => isGlobal === true),
  ];
  const names = Buffer.from(`\0${sorted.map(({ name }) => `${name}\0`).join('')}`);
  const table = Buffer.alloc(24 * (sorted.length + 1));
  for (const [at, { name, value, isGlobal }] of sorted.entries()) {
    const offset = 24 * (at + 1);
    table.writeUInt32LE(names.indexOf(`\0${name}\0`) + 1, offset);
    table[offset + 4] = ((isGlobal === true ? 1 : 0) << 4) | 2;
    table.writeUInt16LE(1, offset + 6);
    table.writeBigUInt64LE(BigInt(value), offset + 8);
  }
  const relocations = Buffer.alloc(24 * referred.length);
  for (const [at, name] of referred.entries()) {
    relocations.writeBigUInt64LE(BigInt(4 * at), 24 * at);
    relocations.writeUInt32LE(2, 24 * at + 8);
    relocations.writeUInt32LE(sorted.findIndex((symbol) => symbol.name === name) + 1, 24 * at + 12);
  }
  const locals = sorted.filter(({ isGlobal }) => isGlobal !== true).length + 1;
  const text = Buffer.from('text of the module, some 30 bytes');
  return elf([
    { name: '', type: 0, content: Buffer.alloc(0) },
    { name: '.text', type: 1, flags: 6, content: text, align: 4 },
    { name: '.rela.text', type: 4, content: relocations, link: 5, info: 1, align: 8 },
    { name: '.modinfo', type: 1, flags: 2, content: Buffer.from(modinfo.map((entry) => `${entry}\0`).join('')) },
    { name: '.debug_info', type: 1, content: Buffer.alloc(5000, 'd') },
    { name: '.symtab', type: 2, content: table, link: 6, info: locals, align: 8 },
    { name: '.strtab', type: 3, content: names },
    { name: '.bss', type: 8, flags: 3, content: Buffer.alloc(0), size: 4096, align: 8 },
  ]);
}

interface TestSection {
  readonly name: string;
  readonly type: number;
  readonly content: Buffer;
  readonly size?: number;
  readonly flags?: number;
  readonly link?: number;
  readonly info?: number;
  readonly align?: number;
}

function elf(sections: readonly TestSection[]): Buffer {
  const all = [
    ...sections,
    {
      name: '.shstrtab',
      type: 3,
      content: Buffer.from(`${[...sections.map(({ name }) => name), '.shstrtab'].join('\0')}\0`),
    },
  ];
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  header.writeUInt16LE(1, 16);
  header.writeUInt16LE(243, 18);
  const parts: Buffer[] = [header];
  let length = 64;
  let nameAt = 0;
  const headers = all.map((section: TestSection) => {
    const gap = (8 - (length % 8)) % 8;
    parts.push(Buffer.alloc(gap), section.content);
    const fields = Buffer.alloc(64);
    fields.writeUInt32LE(nameAt, 0);
    nameAt += section.name.length + 1;
    fields.writeUInt32LE(section.type, 4);
    fields.writeBigUInt64LE(BigInt(section.flags ?? 0), 8);
    fields.writeBigUInt64LE(BigInt(length + gap), 24);
    fields.writeBigUInt64LE(BigInt(section.size ?? section.content.length), 32);
    fields.writeUInt32LE(section.link ?? 0, 40);
    fields.writeUInt32LE(section.info ?? 0, 44);
    fields.writeBigUInt64LE(BigInt(section.align ?? 1), 48);
    length += gap + section.content.length;
    return fields;
  });
  header.writeBigUInt64LE(BigInt(length), 40);
  header.writeUInt16LE(all.length, 60);
  header.writeUInt16LE(all.length - 1, 62);
  return Buffer.concat([...parts, ...headers]);
}
