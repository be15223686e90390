import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listImages, loadTiny, openTiny, removeImage, type PullOptions } from '../index.ts';
import { makeArchive, makeSigningKey } from '../testing/debian-archive.ts';
import { serveArchive, type HttpMirror } from '../testing/http-mirror.ts';
import { cacheFolder } from './cache-folder.ts';
import { cacheFailure } from './cache.ts';

let folder: string;
let mirror: HttpMirror;
let options: PullOptions & { cacheDir: string };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-images-'));
  const key = await makeSigningKey();
  writeFileSync(join(folder, 'keyring.gpg'), key.keyring);
  const suites = [
    { suite: 'stable', codename: 'trixie' },
    { suite: 'testing', codename: 'forky' },
  ];
  const archives = await Promise.all(suites.map((suite) => makeArchive({ key, ...suite })));
  mirror = await serveArchive(new Map(archives.flatMap((files) => [...files])));
  options = {
    mirror: mirror.url,
    keyring: join(folder, 'keyring.gpg'),
    cacheDir: join(folder, 'cache'),
    aptFolder: folder,
    env: {},
  };
});

afterAll(async () => {
  await mirror.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('the images on this machine', () => {
  test('are none before any was pulled', async () => {
    expect(await listImages(options)).toEqual([]);
    await expect(removeImage('tiny', options)).rejects.toThrow('The image tiny (stable) is not in the cache.');
  });

  test('are listed, found damaged, and removed one by one', async () => {
    const stable = await openTiny(options);
    await openTiny({ ...options, suite: 'testing' });
    mkdirSync(join(folder, 'cache/images/something else'));
    const list = async (verify: boolean): Promise<unknown> =>
      (await listImages({ ...options, verify })).map(({ name, suite, manifest, problem }) => [
        name,
        suite,
        manifest?.suite,
        problem,
      ]);
    expect(await list(true)).toEqual([
      ['tiny', 'stable', 'stable', undefined],
      ['tiny', 'testing', 'testing', undefined],
    ]);

    const loaded = await loadTiny(options);
    expect(loaded).toMatchObject(stable);
    expect([loaded.kernel, loaded.initrd]).toEqual(
      [stable.kernelPath, stable.initrdPath].map((path) => new Uint8Array(readFileSync(path))),
    );

    appendFileSync(stable.kernelPath, '.');
    await expect(loadTiny(options)).rejects.toThrow(/is damaged: kernel-.* has \d+ bytes instead of/);
    const { kernel } = loaded;
    kernel[kernel.length - 1]! ^= 1;
    writeFileSync(stable.kernelPath, kernel);
    await expect(loadTiny(options)).rejects.toThrow(/is damaged: kernel-.* has changed/);
    rmSync(stable.kernelPath);
    await expect(loadTiny(options)).rejects.toThrow(/is damaged: kernel-.* is missing/);

    writeFileSync(stable.kernelPath, 'cut');
    expect(await list(false)).toEqual([
      ['tiny', 'stable', 'stable', undefined],
      ['tiny', 'testing', 'testing', undefined],
    ]);
    expect(await list(true)).toEqual([
      ['tiny', 'stable', 'stable', expect.stringMatching(/is damaged: kernel-.* has 3 bytes instead of/)],
      ['tiny', 'testing', 'testing', undefined],
    ]);

    await removeImage('tiny', options);
    expect(await list(true)).toEqual([['tiny', 'testing', 'testing', undefined]]);
    await removeImage('tiny', { ...options, suite: 'testing' });
    expect(await list(true)).toEqual([]);
    expect(readdirSync(join(folder, 'cache/images'))).toEqual(['something else']);
  });

  test('are pulled when they are to be loaded and are not there', async () => {
    const { kernel, manifest } = await loadTiny({ ...options, cacheDir: join(folder, 'other cache') });
    expect(kernel.length).toBe(manifest.kernel.size);
  });

  test('do not include one that nobody knows', async () => {
    await expect(removeImage('huge', options)).rejects.toThrow('There is no image "huge"; there are tiny and debian.');
  });
});

test('the cache lies where the option, the variable or the XDG specification says', () => {
  expect(cacheFolder('/a', { RINGFENCE_CACHE: '/b' })).toBe('/a');
  expect(cacheFolder(undefined, { RINGFENCE_CACHE: '/b', XDG_CACHE_HOME: '/c' })).toBe('/b');
  expect(cacheFolder(undefined, { XDG_CACHE_HOME: '/c', HOME: '/home/d' })).toBe('/c/ringfence');
  expect(cacheFolder(undefined, { XDG_CACHE_HOME: 'relative', HOME: '/home/d' })).toBe('/home/d/.cache/ringfence');
});

test('failures of the disk become sentences, and our own mistakes stay what they are', () => {
  const failure = (more: object): unknown => cacheFailure(Object.assign(new Error('no room'), more), '/cache');
  expect(failure({ code: 'ENOSPC' })).toMatchObject({
    code: 'no-space',
    message: expect.stringMatching(/^The disk of the cache \/cache is full\./),
  });
  expect(failure({ code: 'ERR_SQLITE_ERROR', errcode: 13 })).toMatchObject({ code: 'no-space' });
  expect(failure({ code: 'EROFS' })).toMatchObject({ code: 'cache' });
  expect(failure({ code: 'ERR_SQLITE_ERROR', errcode: 14 })).toMatchObject({ code: 'cache' });
  expect(failure({})).not.toHaveProperty('code');
});
