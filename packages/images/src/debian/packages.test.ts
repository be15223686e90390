import { describe, expect, test } from 'vitest';
import { streamOf } from '../testing/archives.ts';
import { busyboxWithLibraries, isImagePackage, kernelPackages } from './choose-packages.ts';
import { readPackages, type Package } from './packages.ts';

const HASH = 'a'.repeat(64);

function stanza(name: string, version: string, depends = '', path = `pool/${name}_${version}.deb`): string {
  return `Package: ${name}\nVersion: ${version}\nDepends: ${depends}\nFilename: ${path}\nSize: 7\nSHA256: ${HASH}\n`;
}

function read(
  stanzas: readonly string[],
  wanted = (_name: string): boolean => true,
): Promise<ReadonlyMap<string, Package>> {
  return readPackages(streamOf(Buffer.from(stanzas.join('\n')), 13), wanted);
}

describe('the index of packages', () => {
  test('gives what is wanted, and of two versions the newer', async () => {
    const packages = await read(
      [stanza('a', '1.9'), stanza('b', '1'), stanza('a', '1.10'), stanza('a', '1.2')],
      (name) => name === 'a',
    );
    expect([...packages.keys()]).toEqual(['a']);
    expect(packages.get('a')).toMatchObject({ version: '1.10', path: 'pool/a_1.10.deb', size: 7, sha256: HASH });
  });

  test('that names no SHA256 or leads out of the archive is refused', async () => {
    await expect(read(['Package: a\nVersion: 1\nFilename: pool/a\nSize: 7\nMD5sum: 00\n'])).rejects.toThrow(
      'without a version, a size or a SHA256',
    );
    await expect(read([stanza("../a'", '1', '', 'pool/a')])).rejects.toThrow(`has a package "../a'"`);
    await expect(read([stanza('a', '1', '', '../../etc/passwd')])).rejects.toThrow('outside the archive');
    await expect(read([stanza('a', '1', '', 'pool/../../x')])).rejects.toThrow('outside the archive');
    await expect(read([stanza('a', '1', '', '//evil.example/x')])).rejects.toThrow('outside the archive');
  });
});

describe('the packages of a kernel', () => {
  test('are one package in Debian 13', async () => {
    const packages = await read([
      stanza('linux-image-6.12.94+deb13-riscv64', '6.12.94-1'),
      stanza(
        'linux-image-6.12.107+deb13-riscv64',
        '6.12.107-1',
        'kmod, initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool',
      ),
      stanza('linux-image-riscv64', '6.12.107-1', 'linux-image-6.12.107+deb13-riscv64 (= 6.12.107-1)'),
    ]);
    const { kernelVersion, packages: found } = kernelPackages(packages, 'stable');
    expect(kernelVersion).toBe('6.12.107+deb13-riscv64');
    expect(found.map(({ name }) => name)).toEqual(['linux-image-6.12.107+deb13-riscv64']);
  });

  test('are three in Debian 14, and its base and its initramfs are left out', async () => {
    const version = '7.2.12+deb14-riscv64';
    const names = ['linux-image', 'linux-binary', 'linux-modules', 'linux-base'].map((part) => `${part}-${version}`);
    const packages = await read(
      [
        stanza('linux-image-riscv64', '7.2.12-1', `linux-base-riscv64 (= 7.2.12-1), ${names[0]} (= 7.2.12-1)`),
        stanza(
          `linux-image-${version}`,
          '7.2.12-1',
          `dracut | initramfs-tools, ${names[3]} (= 7.2.12-1), ${names[1]} (= 7.2.12-1), ${names[2]} (= 7.2.12-1)`,
        ),
        stanza(`linux-binary-${version}`, '7.2.12-1', `${names[3]} (= 7.2.12-1)`),
        stanza(`linux-modules-${version}`, '7.2.12-1', `kmod, ${names[3]} (= 7.2.12-1)`),
        stanza(`linux-base-${version}`, '7.2.12-1'),
      ],
      isImagePackage,
    );
    const { kernelVersion, packages: found } = kernelPackages(packages, 'testing');
    expect(kernelVersion).toBe(version);
    expect(found.map(({ name }) => name)).toEqual(names.slice(0, 3));
  });

  test('that are not there are named', async () => {
    expect(() => kernelPackages(new Map(), 'buster')).toThrow('Suite buster has no package linux-image-riscv64.');
    const packages = await read([
      stanza('linux-image-riscv64', '2', 'linux-image-2-riscv64 (= 2)'),
      stanza('linux-image-2-riscv64', '1'),
    ]);
    expect(() => kernelPackages(packages, 'sid')).toThrow(
      'linux-image-riscv64 2 needs linux-image-2-riscv64 2, which suite sid does not have.',
    );
  });
});

test('a busybox that is not static comes with all it depends on, of alternatives the first there is', async () => {
  const packages = await read([
    stanza('busybox', '1', 'libc6 (>= 2.38)'),
    stanza('libc6', '2.41', 'libgcc-s1, nosuch | gcc-base:any'),
    stanza('libgcc-s1', '14', 'gcc-base (= 14), libc6'),
    stanza('gcc-base', '14'),
    stanza('unrelated', '1'),
  ]);
  expect(busyboxWithLibraries(packages, 'sid').map(({ name }) => name)).toEqual([
    'busybox',
    'libc6',
    'libgcc-s1',
    'gcc-base',
  ]);
});
