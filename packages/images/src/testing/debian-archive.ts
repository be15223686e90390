/** A Debian archive in memory, signed with a key made for it: the paths below its root and what lies there. */

import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { createCleartextMessage, enums, generateKey, readKey, readPrivateKey, sign, type PrivateKey } from 'openpgp';
import { debPackage, type TestFile } from './archives.ts';
import { testBusybox, testImage, testModule } from './kernel-parts.ts';

export interface SigningKey {
  readonly privateKey: PrivateKey;
  /** A keyring file. */
  readonly keyring: Uint8Array;
  readonly digest: 'sha1' | 'sha256';
}

/** The digest that a key signs with is written in the key. */
export async function makeSigningKey(name = 'Archive', digest: 'sha1' | 'sha256' = 'sha256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKey({
    ...(digest === 'sha1' ? { type: 'rsa', rsaBits: 2048, config: SHA1 } : {}),
    userIDs: [{ name, email: 'archive@example.org' }],
    // The archive's dates in tests lie in the past, and so must the key's.
    date: new Date('2020-01-01'),
    format: 'armored',
  });
  const key = await readKey({ armoredKey: publicKey });
  return { privateKey: await readPrivateKey({ armoredKey: privateKey }), keyring: key.write(), digest };
}

export interface TestPackage {
  readonly name: string;
  readonly version: string;
  readonly depends?: string;
  /** More lines of its stanza. */
  readonly fields?: readonly string[];
  readonly files: readonly TestFile[];
}

export interface ArchiveContent {
  readonly key: SigningKey;
  readonly suite?: string;
  readonly codename?: string;
  readonly date?: Date;
  readonly validUntil?: Date;
  readonly packages?: readonly TestPackage[];
  readonly architectures?: string;
}

/** What lies at the paths below the archive's root. */
export type ArchiveFiles = Map<string, Uint8Array>;

export async function makeArchive(content: ArchiveContent): Promise<ArchiveFiles> {
  const {
    suite = 'stable',
    codename = 'trixie',
    date = new Date(Date.now() - 86_400_000),
    architectures = 'amd64 riscv64',
  } = content;
  const files: ArchiveFiles = new Map();
  const stanzas = (content.packages ?? tinyPackages()).map(
    ({ name, version, depends, fields = [], files: packaged }) => {
      const deb = debPackage(packaged);
      const path = `pool/main/${name}_${version}_riscv64.deb`;
      files.set(path, deb);
      return [
        `Package: ${name}`,
        `Version: ${version}`,
        ...(depends === undefined ? [] : [`Depends: ${depends}`]),
        ...fields,
        `Filename: ${path}`,
        `Size: ${deb.length}`,
        `SHA256: ${sha256(deb)}`,
      ].join('\n');
    },
  );
  const index = gzipSync(`${stanzas.join('\n\n')}\n`);
  const folder = `dists/${suite}/main/binary-riscv64`;
  files.set(`${folder}/Packages.gz`, index);
  files.set(`${folder}/by-hash/SHA256/${sha256(index)}`, index);
  const release = [
    'Origin: Test',
    `Suite: ${suite}`,
    `Codename: ${codename}`,
    'Version: 13.7',
    `Date: ${date.toUTCString()}`,
    ...(content.validUntil === undefined ? [] : [`Valid-Until: ${content.validUntil.toUTCString()}`]),
    'Acquire-By-Hash: yes',
    `Architectures: ${architectures}`,
    'SHA256:',
    ` ${sha256(index)} ${index.length} main/binary-riscv64/Packages.gz`,
    '',
  ].join('\n');
  files.set(`dists/${suite}/InRelease`, Buffer.from(await signed(release, content)));
  return files;
}

async function signed(text: string, { key }: ArchiveContent): Promise<string> {
  return sign({
    message: await createCleartextMessage({ text }),
    signingKeys: key.privateKey,
    ...(key.digest === 'sha1' ? { config: SHA1 } : {}),
  });
}

const SHA1 = {
  preferredHashAlgorithm: enums.hash.sha1,
  rejectHashAlgorithms: new Set<enums.hash>(),
  nonDeterministicSignaturesViaNotation: false,
};

const VERSION = '6.12.107+deb13-riscv64';

/** What `tiny` is made of, in the packages of Debian 13. */
export function tinyPackages(body = 'kernel'): TestPackage[] {
  const modules = `usr/lib/modules/${VERSION}/kernel`;
  return [
    { name: 'linux-image-riscv64', version: '6.12.107-1', depends: `linux-image-${VERSION} (= 6.12.107-1)`, files: [] },
    {
      name: `linux-image-${VERSION}`,
      version: '6.12.107-1',
      depends: 'kmod, initramfs-tools (>= 0.120) | linux-initramfs-tool',
      files: [
        { name: './boot/' },
        { name: `./boot/vmlinux-${VERSION}`, content: testImage(body) },
        { name: `./boot/config-${VERSION}`, content: 'CONFIG_64BIT=y' },
        {
          name: `./${modules}/drivers/block/virtio_blk.ko`,
          content: testModule(['alias=virtio:d00000002v*', 'depends=']),
        },
        { name: `./${modules}/fs/ext4/ext4.ko`, content: testModule(['alias=fs-ext4', 'depends=jbd2,unusual']) },
        { name: `./${modules}/fs/jbd2/jbd2.ko`, content: testModule(['depends=']) },
        { name: `./${modules}/lib/unusual.ko`, content: testModule(['depends=']) },
        { name: `./${modules}/sound/sound.ko`, content: testModule(['depends=']) },
      ],
    },
    { name: 'busybox-static', version: '1:1.37.0-6', files: [{ name: './usr/bin/busybox', content: testBusybox() }] },
  ];
}

export const TINY_VERSION = VERSION;

export function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
