import { describe, expect, test } from 'vitest';
import { BlockStoreError } from '../base/block-store-error.ts';
import type { BlockStore } from '../base/ports.ts';
import type { ImageFile } from './image-file.ts';
import { MemoryImageFile } from './memory-image-file.ts';
import { MAXIMUM_CHAIN_LENGTH, openDisk, openOverlay } from './open-disk.ts';
import type { ImageFiles } from './open-disk.ts';
import { createQcow2 } from './qcow2/create-qcow2.ts';
import { viewOf } from './qcow2/big-endian.ts';

/** Files by path, which know whether they are open. */
class Files implements ImageFiles {
  readonly content = new Map<string, Uint8Array>();
  readonly held: string[] = [];

  identify(path: string): Promise<string> {
    return this.content.has(path) ? Promise.resolve(path) : Promise.reject(missing(path));
  }

  async open(path: string, { readOnly }: { readonly readOnly: boolean }): Promise<ImageFile> {
    const content = this.content.get(path);
    if (content === undefined) throw missing(path);
    const file = new MemoryImageFile(path, content, readOnly);
    this.held.push(`${path}${readOnly ? '' : ' for writing'}`);
    file.close = (): Promise<void> => {
      this.content.set(path, file.content);
      this.held.splice(this.held.indexOf(`${path}${readOnly ? '' : ' for writing'}`), 1);
      return Promise.resolve();
    };
    return file;
  }

  resolve(name: string, path: string): string {
    return name.startsWith('/') ? name : path.slice(0, path.lastIndexOf('/') + 1) + name;
  }

  async image(path: string, backing?: string, format: 'raw' | 'qcow2' = 'qcow2'): Promise<void> {
    const file = new MemoryImageFile(path);
    const sizeBytes = 8192;
    await createQcow2(file, {
      sizeBytes,
      clusterBytes: 512,
      ...(backing === undefined ? {} : { backing: { name: backing, format } }),
    });
    this.content.set(path, file.content.slice());
  }
}

const missing = (path: string): BlockStoreError => new BlockStoreError('unavailable', `Disk "${path}" does not exist`);

async function firstByte(store: BlockStore): Promise<number | undefined> {
  const byte = new Uint8Array(1);
  await store.read(0, [byte]);
  return byte[0];
}

test('a chain of images shows what the first of them has', async () => {
  const files = new Files();
  files.content.set('/images/base.img', new Uint8Array(4096).fill(7));
  await files.image('/images/middle.qcow2', 'base.img', 'raw');
  await files.image('/vm/top.qcow2', '/images/middle.qcow2');
  const { store, format } = await openDisk(files, '/vm/top.qcow2', { readOnly: false });
  expect([format, store.sizeBytes, await firstByte(store)]).toEqual(['qcow2', 8192, 7]);
  expect(files.held).toEqual(['/vm/top.qcow2 for writing', '/images/middle.qcow2', '/images/base.img']);
  await store.write(0, [Uint8Array.of(9)]);
  expect(await firstByte(store)).toBe(9);
  await store.close();
  expect(files.held).toEqual([]);
  expect(files.content.get('/images/base.img')?.[0]).toBe(7);
  const again = await openDisk(files, '/vm/top.qcow2', { readOnly: true });
  expect(await firstByte(again.store)).toBe(9);
});

test('an overlay takes what is written, and what is behind it stays', async () => {
  const files = new Files();
  files.content.set('base.img', new Uint8Array(4096).fill(7));
  const { store: base } = await openDisk(files, 'base.img', { readOnly: true });
  const store = await openOverlay(new MemoryImageFile('overlay'), base);
  await store.write(1, [Uint8Array.of(9)]);
  const back = new Uint8Array(3);
  await store.read(0, [back]);
  expect([...back]).toEqual([7, 9, 7]);
  await store.close();
  expect(files.content.get('base.img')?.[1]).toBe(7);
  expect(files.held).toEqual([]);
});

test('what a file is is found out, and a guest cannot change it', async () => {
  const files = new Files();
  files.content.set('raw.img', new Uint8Array(4096));
  const { store, format } = await openDisk(files, 'raw.img', { readOnly: false });
  expect(format).toBe('raw');
  await expect(store.write(0, [Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3)])).rejects.toThrow(
    'was taken for raw',
  );
  await store.close();
  const named = await openDisk(files, 'raw.img', { readOnly: false, format: 'raw' });
  await named.store.write(0, [Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3)]);
  await named.store.close();
  const raw = await openDisk(files, 'raw.img', { readOnly: true, format: 'raw' });
  expect(await firstByte(raw.store)).toBe(0x51);
});

describe('a chain that cannot be gets a sentence, and nothing stays open:', () => {
  const refused = async (files: Files, path: string): Promise<string> => {
    const error = await openDisk(files, path, { readOnly: false }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(BlockStoreError);
    expect(files.held).toEqual([]);
    return (error as BlockStoreError).message;
  };

  test('a backing file is missing', async () => {
    const files = new Files();
    await files.image('/a.qcow2', 'b.img', 'raw');
    expect(await refused(files, '/a.qcow2')).toBe(
      'Disk "/a.qcow2" cannot use its backing file "b.img": disk "/b.img" does not exist',
    );
  });

  test('it goes in a circle', async () => {
    const files = new Files();
    await files.image('/a.qcow2', 'b.qcow2');
    await files.image('/b.qcow2', '/a.qcow2');
    expect(await refused(files, '/a.qcow2')).toContain('disk "/a.qcow2" is an image that stands behind itself');
    await files.image('/self.qcow2', 'self.qcow2');
    expect(await refused(files, '/self.qcow2')).toContain('stands behind itself');
  });

  test('it is too long', async () => {
    const files = new Files();
    await files.image('/0');
    for (let index = 1; index <= MAXIMUM_CHAIN_LENGTH; index++) await files.image(`/${index}`, `/${index - 1}`);
    expect(await refused(files, `/${MAXIMUM_CHAIN_LENGTH}`)).toContain(
      `there are ${MAXIMUM_CHAIN_LENGTH} images in front of it`,
    );
    const { store } = await openDisk(files, `/${MAXIMUM_CHAIN_LENGTH - 1}`, { readOnly: false });
    await store.close();
  });

  test.each([
    ['nbd://somewhere/disk', 'it is no file'],
    ['json:{"driver":"raw"}', 'it is no file'],
  ])('the backing file is %s', async (name, reason) => {
    const files = new Files();
    await files.image('/a.qcow2', name);
    expect(await refused(files, '/a.qcow2')).toContain(reason);
  });

  test('the backing file has a format that is not ours', async () => {
    const files = new Files();
    await files.image('/a.qcow2', 'b', 'raw');
    const content = files.content.get('/a.qcow2');
    content?.set(new TextEncoder().encode('vdi'), 120);
    expect(await refused(files, '/a.qcow2')).toContain('its format "vdi" is not supported; raw and qcow2 are');
  });

  test('the backing file is damaged', async () => {
    const files = new Files();
    await files.image('/a.qcow2', 'b.qcow2');
    await files.image('/b.qcow2');
    viewOf(files.content.get('/b.qcow2') as Uint8Array).setUint32(4, 9);
    expect(await refused(files, '/a.qcow2')).toBe(
      'Disk "/a.qcow2" cannot use its backing file "b.qcow2": disk "/b.qcow2" cannot be used: it is a qcow2 image of version 9; 2 and 3 are known',
    );
  });

  test.each([
    ['vmdk', [0x4b, 0x44, 0x4d, 0x56]],
    ['qed', [0x51, 0x45, 0x44, 0]],
    ['vhdx', [...new TextEncoder().encode('vhdxfile')]],
    ['qcow', [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 1]],
  ])('the disk is a %s image', async (format, magic) => {
    const files = new Files();
    const content = new Uint8Array(1024);
    content.set(magic);
    files.content.set('/d', content);
    expect(await refused(files, '/d')).toContain(`Disk "/d" is a ${format} image, which is not supported`);
  });
});
