import { expect, test } from 'vitest';
import { cpioMembers } from '../archive/cpio.ts';
import { utf8Text } from '../archive/octets.ts';
import { ModuleSet } from '../linux/module-set.ts';
import { testBusybox, testModule } from '../testing/kernel-parts.ts';
import { initramfs } from './initramfs.ts';

const set = new ModuleSet([]);
set.add('kernel/fs/ext4/ext4.ko', testModule(['depends=', 'alias=fs-ext4']));

const members = cpioMembers(
  initramfs({
    kernelVersion: '6.12',
    busybox: testBusybox(),
    libraries: [
      { path: 'riscv64-linux-gnu/libc.so.6', content: Buffer.from('libc') },
      { path: 'ld-linux.so.1', content: { target: 'riscv64-linux-gnu/ld-linux.so.1' } },
    ],
    modules: set.modules(),
    init: '#!/bin/sh\n',
    agent: new TextEncoder().encode('agent'),
    title: 'Debian 13.7',
    modifiedAt: 0,
  }),
);
const text = (name: string): string =>
  utf8Text(members.find((member) => member.name === name)?.content ?? Buffer.from('(absent)'));

test('the root file system holds /init, busybox under all its names, modules and their index', () => {
  expect(text('init')).toBe('#!/bin/sh\n');
  const busybox = members.filter(({ name }) => name.startsWith('usr/bin/') && name !== 'usr/bin/ringfence-agent');
  expect(busybox.map(({ name }) => name)).toContain('usr/bin/modprobe');
  expect(new Set(busybox.map(({ ino }) => ino)).size).toBe(1);
  expect(text('usr/lib/modules/6.12/modules.dep')).toBe('kernel/fs/ext4/ext4.ko:\n');
  expect(text('usr/lib/modules/6.12/modules.alias')).toBe('alias fs-ext4 ext4\n');
  expect(text('etc/os-release')).toContain('Debian 13.7');
  // What udhcpc runs; its words go to a shell as they stand here.
  expect(text('etc/udhcpc/default.script')).toContain('netmask "${subnet:-255.255.255.0}"');
  expect(text('usr/lib/ld-linux.so.1')).toBe('riscv64-linux-gnu/ld-linux.so.1');
});

test('every folder comes before what is in it, and nothing comes twice', () => {
  const seen = new Set(['']);
  for (const { name } of members) {
    expect(seen.has(name), `${name} twice`).toBe(false);
    const folder = name.slice(0, Math.max(0, name.lastIndexOf('/')));
    expect(seen.has(folder), `${folder} before ${name}`).toBe(true);
    seen.add(name);
  }
});
