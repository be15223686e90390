import { describe, expect, test } from 'vitest';
import { textUntilNul, utf8Text } from '../archive/octets.ts';
import { testModule } from '../testing/kernel-parts.ts';
import { parseElf, viewOf } from './elf.ts';
import { moduleIndex } from './module-index.ts';
import { parseModuleInfo } from './module-info.ts';
import { ModuleSet } from './module-set.ts';
import { stripModule } from './strip-module.ts';

describe('a kernel module', () => {
  test('tells its dependencies, aliases and soft dependencies', () => {
    const module = testModule([
      'license=GPL',
      'softdep=pre: crypto-crc32c other post: late',
      'alias=fs-ext4',
      'alias=ext3',
      'depends=jbd2,nls-x',
    ]);
    expect(parseModuleInfo(module, 'ext4.ko')).toEqual({
      depends: ['jbd2', 'nls_x'],
      aliases: ['fs-ext4', 'ext3'],
      softDependencies: ['crypto-crc32c', 'other'],
    });
  });

  test('that is none, or is cut short, is refused by name', () => {
    expect(() => parseModuleInfo(Buffer.from('no ELF file'), 'x.ko')).toThrow(
      'x.ko is not a sound ELF file: it has no ELF header.',
    );
    const module = testModule(['depends=']);
    expect(() => parseModuleInfo(module.subarray(0, module.length - 100), 'x.ko')).toThrow(
      'x.ko is not a sound ELF file: it is cut short.',
    );
  });
});

describe('a set of modules', () => {
  test('asks for what its modules depend on until nothing is missing', () => {
    const set = new ModuleSet(['virtio-net', 'nosuch']);
    expect(set.wants('kernel/drivers/net/virtio_net.ko')).toBe(true);
    expect(set.wants('kernel/net/failover.ko')).toBe(false);
    set.add('kernel/drivers/net/virtio_net.ko', testModule(['depends=net_failover']));
    expect(set.missing()).toEqual(['net_failover']);
    set.add('kernel/drivers/net/net-failover.ko', testModule(['depends=failover']));
    expect(set.missing()).toEqual(['failover']);
    expect(set.wants('kernel/net/failover.ko')).toBe(true);
    set.add('kernel/net/failover.ko', testModule(['depends=']));
    expect(set.missing()).toEqual([]);
    expect(set.modules().map(({ name }) => name)).toEqual(['net_failover', 'virtio_net', 'failover']);
  });

  test('is indexed so that what is needed first is named last', () => {
    const set = new ModuleSet([]);
    set.add('kernel/a.ko', testModule(['depends=b,c', 'alias=fs-a']));
    set.add('kernel/b.ko', testModule(['depends=c']));
    set.add('kernel/c.ko', testModule(['depends=', 'softdep=pre: b']));
    const index = moduleIndex(set.modules());
    expect(index.get('modules.dep')).toBe(
      'kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:\n',
    );
    expect(index.get('modules.alias')).toBe('alias fs-a a\n');
    expect(index.get('modules.softdep')).toBe('softdep c pre: b\n');
  });
});

describe('a stripped module', () => {
  const symbols = [
    { name: '.L1', value: 1 },
    { name: '.L2', value: 2 },
    { name: '.L3', value: 3 },
    { name: 'helper', value: 4 },
    { name: '$x', value: 5 },
    { name: 'init_module', value: 6, isGlobal: true },
    { name: 'printk', value: 0, isGlobal: true },
  ];
  const referred = ['.L2', 'printk', 'helper', '.L2'];
  const before = testModule(['depends='], symbols, referred);
  const after = stripModule(before, 'x.ko');

  /** Symbols as [name, value], and what each relocation refers to. */
  const read = (file: Uint8Array): { symbols: [string, number][]; referred: number[]; locals: number } => {
    const { sections } = parseElf(file, 'x.ko');
    const section = (name: string): Uint8Array =>
      sections.find((candidate) => candidate.name === name)?.content ?? new Uint8Array(0);
    const [table, names, relocations] = [section('.symtab'), section('.strtab'), section('.rela.text')];
    const found: [string, number][] = [];
    for (let at = 0; at < table.length; at += 24) {
      const view = viewOf(table.subarray(at));
      found.push([textUntilNul(names.subarray(view.getUint32(0, true))), Number(view.getBigUint64(8, true))]);
    }
    const numbers = Array.from({ length: relocations.length / 24 }, (_, at) =>
      viewOf(relocations).getUint32(24 * at + 12, true),
    );
    return {
      symbols: found,
      referred: numbers.map((number) => found[number]?.[1] ?? -1),
      locals: sections.find(({ name }) => name === '.symtab')?.info ?? -1,
    };
  };

  test('keeps global symbols, named ones and those that are referred to', () => {
    expect(read(after).symbols).toEqual([
      ['', 0],
      ['', 2],
      ['helper', 4],
      ['init_module', 6],
      ['printk', 0],
    ]);
    expect(read(after).locals).toBe(3);
  });

  test('refers to the same symbols as before', () => {
    expect(read(before).referred).toEqual([2, 0, 4, 2]);
    expect(read(after).referred).toEqual([2, 0, 4, 2]);
  });

  test('keeps the number and the content of every section that is loaded, and loses the others', () => {
    const [old, stripped] = [parseElf(before, 'x.ko').sections, parseElf(after, 'x.ko').sections];
    expect(stripped.map(({ name }) => name)).toEqual(old.map(({ name }) => name));
    const content = (name: string): string =>
      utf8Text(stripped.find((section) => section.name === name)?.content ?? Buffer.from('?'));
    expect(content('.text')).toBe('text of the module, some 30 bytes');
    expect(content('.modinfo')).toBe('depends=\0');
    expect(content('.debug_info')).toBe('');
    expect(stripped.find(({ name }) => name === '.bss')?.size).toBe(4096);
    expect(after.length).toBeLessThan(before.length - 4500);
  });

  test('is not made of a file whose relocations lead nowhere', () => {
    // The first relocation lies 8-aligned behind .text, which lies behind the ELF header.
    const broken = Buffer.from(before);
    broken.writeUInt32LE(1000, 64 + Math.ceil('text of the module, some 30 bytes'.length / 8) * 8 + 12);
    expect(() => stripModule(broken, 'x.ko')).toThrow(
      'x.ko is not a sound kernel module: it refers to symbol 1000 of 8.',
    );
  });
});
