import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cpioMembers } from '../archive/cpio.ts';
import { ImageError } from '../image-error.ts';
import { openTiny } from '../index.ts';
import {
  makeArchive,
  makeSigningKey,
  TINY_VERSION,
  tinyPackages,
  type ArchiveContent,
  type SigningKey,
} from '../testing/debian-archive.ts';
import { serveArchive, type HttpMirror } from '../testing/http-mirror.ts';
import { testBusybox, testImage } from '../testing/kernel-parts.ts';
import { pullTiny } from './pull.ts';
import type { PullOptions, PullProgress } from './tiny-image.ts';

const INDEX = 'dists/stable/main/binary-riscv64/Packages.gz';
const KERNEL_DEB = `pool/main/linux-image-${TINY_VERSION}_6.12.107-1_riscv64.deb`;
const PULL_PROCESS = fileURLToPath(new URL('../testing/pull-process.ts', import.meta.url));

let key: SigningKey;
let folder: string;
let mirror: HttpMirror;

beforeAll(async () => {
  key = await makeSigningKey();
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-pull-'));
  writeFileSync(join(folder, 'keyring.gpg'), key.keyring);
  mirror = await serveArchive(await makeArchive({ key }));
});

afterEach(async () => {
  await mirror.close();
  rmSync(folder, { recursive: true, force: true });
});

function options(more: PullOptions = {}): PullOptions {
  return {
    mirror: mirror.url,
    keyring: join(folder, 'keyring.gpg'),
    cacheDir: join(folder, 'cache'),
    aptFolder: join(folder, 'apt'),
    env: {},
    timeoutMs: 2000,
    retryPauseMs: 5,
    ...more,
  };
}

async function serve(content: Partial<ArchiveContent>): Promise<void> {
  mirror.files = await makeArchive({ key, ...content });
}

/** What lies in the image's folder, whoever put it there. */
function cached(suite = 'stable'): string[] {
  const path = join(folder, 'cache/images', `tiny-${suite}`);
  return existsSync(path) ? readdirSync(path) : [];
}

async function failure(pull: Promise<unknown>): Promise<ImageError> {
  const error: unknown = await pull.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ImageError);
  return error as ImageError;
}

/** The pull fails with this code and leaves nothing behind. */
async function expectRefusal(code: ImageError['code'], sentence: RegExp, more: PullOptions = {}): Promise<void> {
  const error = await failure(pullTiny(options(more)));
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(sentence)]);
  expect(cached()).toEqual([]);
}

describe('pulling the image', () => {
  test('makes kernel and initrd of what the signed archive has', async () => {
    const image = await pullTiny(options());
    expect(image).toMatchObject({ name: 'tiny', suite: 'stable', kernelVersion: TINY_VERSION });
    expect(readFileSync(image.kernelPath).equals(testImage())).toBe(true);
    const names = cpioMembers(readFileSync(image.initrdPath)).map(({ name }) => name);
    for (const name of ['drivers/block/virtio_blk.ko', 'fs/ext4/ext4.ko', 'fs/jbd2/jbd2.ko', 'lib/unusual.ko']) {
      expect(names).toContain(`usr/lib/modules/${TINY_VERSION}/kernel/${name}`);
    }
    expect(names.filter((name) => name.endsWith('sound.ko'))).toEqual([]);
    expect(image.manifest.packages.map(({ name }) => name)).toEqual([`linux-image-${TINY_VERSION}`, 'busybox-static']);
    expect(cached().toSorted()).toEqual([image.manifest.initrd.file, image.manifest.kernel.file, 'manifest.json']);
  });

  test('tells how many bytes of what are there', async () => {
    const progress: PullProgress[] = [];
    await pullTiny(options({ onProgress: (event) => progress.push(event) }));
    const last = new Map(
      progress.map((event) => [event.kind === 'waiting' ? '' : `${event.kind} ${event.item}`, event]),
    );
    // Packages are fetched side by side, so either may begin.
    expect([...last.keys()].toSorted()).toEqual([
      'download busybox-static 1:1.37.0-6',
      'download index of stable',
      `download linux-image-${TINY_VERSION} 6.12.107-1`,
      'download packages of stable',
      'unpack busybox-static',
      `unpack linux-image-${TINY_VERSION}`,
    ]);
    for (const event of last.values())
      expect(event).toMatchObject({ bytesDone: 'bytesTotal' in event ? event.bytesTotal : 0 });
  });

  test('a second time fetches only the signed index, unless the packages changed', async () => {
    const first = await pullTiny(options());
    mirror.requests.length = 0;
    const second = await pullTiny(options());
    expect(mirror.requests).toEqual(['dists/stable/InRelease']);
    expect(second.initrdPath).toBe(first.initrdPath);

    await serve({ packages: [...tinyPackages(), { name: 'unrelated', version: '1', files: [] }] });
    mirror.requests.length = 0;
    await pullTiny(options());
    expect(mirror.requests).toHaveLength(2); // the new index names the same packages

    await serve({ packages: tinyPackages('another kernel') });
    const third = await pullTiny(options());
    expect(third.kernelPath).not.toBe(first.kernelPath);
    expect(cached()).toHaveLength(3); // the old files are gone
  });

  test('opens from the cache without any network', async () => {
    const image = await openTiny(options());
    await mirror.close();
    expect(await openTiny(options())).toEqual(image);
  });

  test('keeps the images of two suites apart', async () => {
    const stable = await openTiny(options());
    await serve({ suite: 'testing', codename: 'forky', packages: tinyPackages('newer') });
    const testing = await openTiny(options({ suite: 'testing' }));
    expect(testing.kernelPath).not.toBe(stable.kernelPath);
    expect((await openTiny(options())).kernelPath).toBe(stable.kernelPath);
  });

  test('takes a suite by its code name', async () => {
    const files = await makeArchive({ key });
    for (const [path, content] of files) files.set(path.replace('dists/stable', 'dists/trixie'), content);
    mirror.files = files;
    expect((await pullTiny(options({ suite: 'trixie' }))).suite).toBe('trixie');
  });

  test('takes busybox with its libraries where there is no static one', async () => {
    const packages = tinyPackages().filter(({ name }) => name !== 'busybox-static');
    await serve({
      packages: [
        ...packages,
        {
          name: 'busybox',
          version: '1',
          depends: 'libc6',
          files: [{ name: './usr/bin/busybox', content: testBusybox() }],
        },
        {
          name: 'libc6',
          version: '2',
          files: [
            { name: './usr/lib/riscv64-linux-gnu/libc.so.6', content: 'libc' },
            { name: './usr/lib/ld-linux-riscv64-lp64d.so.1', target: 'riscv64-linux-gnu/ld.so' },
            { name: './usr/share/doc/libc6/copyright', content: 'text' },
          ],
        },
      ],
    });
    const image = await pullTiny(options());
    const names = cpioMembers(readFileSync(image.initrdPath)).map(({ name }) => name);
    expect(names).toContain('usr/lib/riscv64-linux-gnu/libc.so.6');
    expect(names).toContain('usr/lib/ld-linux-riscv64-lp64d.so.1');
    expect(names).not.toContain('usr/share/doc/libc6/copyright');
  });
});

describe('an archive that cannot be trusted', () => {
  test('because a stranger signed it is not used', async () => {
    await serve({ key: await makeSigningKey('Stranger') });
    await expectRefusal('bad-signature', /signed by nobody in .*keyring\.gpg \(but by [0-9A-F]{16}\)\. It is not used/);
  });

  test('because its index was changed after it was signed is not used', async () => {
    const text = Buffer.from(mirror.files.get('dists/stable/InRelease') ?? '').toString();
    mirror.files.set('dists/stable/InRelease', Buffer.from(text.replace('Version: 13.7', 'Version: 13.8')));
    await expectRefusal('bad-signature', /The signature of the mirror's index is wrong/);
  });

  test('because its index is not signed is not used', async () => {
    mirror.files.set('dists/stable/InRelease', Buffer.from('Suite: stable\n'));
    await expectRefusal('bad-signature', /The index of the mirror is not signed/);
  });

  test('because its signature rests on a weak digest is not used', async () => {
    const weak = await makeSigningKey('Archive', 'sha1');
    writeFileSync(join(folder, 'keyring.gpg'), weak.keyring);
    await serve({ key: weak });
    const error = await failure(pullTiny(options()));
    expect([error.code, String(error.cause)]).toEqual(['bad-signature', expect.stringContaining('SHA1')]);
    expect(cached()).toEqual([]);
  });

  test('is not helped by text around the signed one', async () => {
    const text = Buffer.from(mirror.files.get('dists/stable/InRelease') ?? '').toString();
    mirror.files.set('dists/stable/InRelease', Buffer.from(`Suite: evil\n\n${text}\nSuite: evil\n`));
    const result = await pullTiny(options()).catch((error: unknown) => error);
    if (!(result instanceof ImageError)) expect(result).toMatchObject({ manifest: { release: { suite: 'stable' } } });
  });

  test('because its packages are not the signed ones is not used', async () => {
    for (const path of mirror.files.keys()) {
      if (path.includes('binary-riscv64'))
        mirror.files.set(path, Buffer.alloc(mirror.files.get(path)?.length ?? 0, 'x'));
    }
    await expectRefusal(
      'bad-hash',
      /^packages of stable is not the file that the signed index names: it has another SHA-256 sum/,
    );
  });

  test('because a package was changed, cut or made longer is not used', async () => {
    const deb = Buffer.from(mirror.files.get(KERNEL_DEB) ?? '');
    const changed = Buffer.from(deb);
    changed[200] = (changed[200] ?? 0) ^ 1;
    mirror.files.set(KERNEL_DEB, changed);
    await expectRefusal('bad-hash', /^linux-image-.* is not the file .*: it has another SHA-256 sum/);
    mirror.files.set(KERNEL_DEB, deb.subarray(0, 300));
    await expectRefusal('bad-hash', new RegExp(`it has 300 bytes instead of ${deb.length}`));
    mirror.files.set(KERNEL_DEB, Buffer.concat([deb, deb]));
    await expectRefusal('bad-hash', new RegExp(`it is larger than ${deb.length} bytes`));
  });

  test('without a keyring is not used', async () => {
    await expectRefusal('no-keyring', /The keyring .*absent\.gpg cannot be read/, {
      keyring: join(folder, 'absent.gpg'),
    });
    writeFileSync(join(folder, 'bad.gpg'), 'not a key');
    await expectRefusal('no-keyring', /The keyring .*bad\.gpg cannot be read as OpenPGP keys/, {
      keyring: join(folder, 'bad.gpg'),
    });
  });
});

describe('an index', () => {
  test('that has grown too old is refused, unless apt is told not to look', async () => {
    await serve({ date: new Date('2026-01-01'), validUntil: new Date('2026-01-08') });
    await expectRefusal('bad-release', /was valid until 2026-01-08 only/);
    mkdirSync(join(folder, 'apt/apt.conf.d'), { recursive: true });
    writeFileSync(join(folder, 'apt/apt.conf.d/99old'), 'Acquire::Check-Valid-Until "false";\n');
    expect(await pullTiny(options())).toMatchObject({ suite: 'stable' });
  });

  test('from the future is refused', async () => {
    await serve({ date: new Date(Date.now() + 3_600_000) });
    await expectRefusal('bad-release', /which is in the future. Is this machine's clock right\?/);
  });

  test('that is older than the one the image was made of is refused, and the image stays', async () => {
    const image = await pullTiny(options());
    await serve({ date: new Date('2026-01-01'), packages: tinyPackages('with a hole in it') });
    const { code, message } = await failure(pullTiny(options()));
    expect([code, message]).toEqual([
      'bad-release',
      expect.stringMatching(/^The mirror's index of stable is of 2026-01-01, and/),
    ]);
    expect(await openTiny(options())).toEqual(image);
  });

  test('of another suite than the one asked for is refused', async () => {
    const files = await makeArchive({ key, suite: 'oldstable', codename: 'bookworm' });
    mirror.files = new Map([['dists/stable/InRelease', files.get('dists/oldstable/InRelease') ?? Buffer.alloc(0)]]);
    await expectRefusal('bad-release', /gave suite oldstable \(bookworm\) when it was asked for stable/);
  });

  test('without RISC-V, or without a kernel, is told so', async () => {
    await serve({ architectures: 'amd64' });
    await expectRefusal('no-package', /Suite stable has no packages for riscv64/);
    await serve({ packages: [] });
    await expectRefusal('no-package', /Suite stable has no package linux-image-riscv64/);
  });

  test('that no longer has its files by hash gives them by name', async () => {
    for (const path of mirror.files.keys()) if (path.includes('by-hash')) mirror.files.delete(path);
    await pullTiny(options());
    expect(mirror.requests).toContain(INDEX);
  });
});

describe('packages that are not what they should be', () => {
  const withKernelFiles = (files: { name: string; content: Uint8Array | string }[]): Partial<ArchiveContent> => ({
    packages: tinyPackages().map((found) => (found.name.startsWith('linux-image-6') ? { ...found, files } : found)),
  });

  test('are refused with a sentence, though they are signed', async () => {
    await serve(withKernelFiles([]));
    await expectRefusal('bad-format', /The package of kernel 6\.12\.107\+deb13-riscv64 holds no kernel/);
    await serve(withKernelFiles([{ name: `./boot/vmlinux-${TINY_VERSION}`, content: 'x'.repeat(500) }]));
    await expectRefusal('bad-format', /vmlinux-.* is not a kernel for 64-bit RISC-V/);
    await serve({
      packages: tinyPackages().map((found) => (found.name === 'busybox-static' ? { ...found, files: [] } : found)),
    });
    await expectRefusal('bad-format', /The package of busybox holds no busybox/);
  });
});

describe('a mirror', () => {
  test('that is not there is reported as unreachable', async () => {
    const { url } = mirror;
    await mirror.close();
    await expectRefusal('unreachable', /The mirror cannot be reached: 127\.0\.0\.1:\d+ refuses the connection/, {
      mirror: url,
    });
  });

  test('whose name has no address is reported as unreachable', async () => {
    await expectRefusal('unreachable', /the name mirror\.invalid has no address/, {
      mirror: 'http://mirror.invalid/debian',
    });
  });

  test('that does not answer is given up', async () => {
    mirror.fault = () => true;
    await expectRefusal('unreachable', /does not answer within 0\.1 s/, { timeoutMs: 100 });
    expect(mirror.requests.length).toBeGreaterThan(1);
  });

  test('that falls silent in the middle is given up', async () => {
    mirror.fault = (path, response) => {
      if (path !== KERNEL_DEB) return false;
      response.writeHead(200, { 'content-length': mirror.files.get(path)?.length ?? 0 });
      response.write('!<arch>\n');
      return true;
    };
    await expectRefusal('unreachable', /does not answer within 0\.1 s/, { timeoutMs: 100 });
  });

  test('that breaks off is asked for the rest', async () => {
    let breaks = 2;
    const ranges: (string | undefined)[] = [];
    mirror.fault = (path, response, request) => {
      if (path !== KERNEL_DEB) return false;
      ranges.push(request.headers.range);
      const content = Buffer.from(mirror.files.get(path) ?? '');
      const start = Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0);
      if (breaks === 0) return false;
      breaks--;
      response.writeHead(start === 0 ? 200 : 206, {
        'content-length': content.length - start,
        ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` }),
      });
      response.write(content.subarray(start, start + 100), () => response.destroy());
      return true;
    };
    await pullTiny(options());
    expect(ranges).toEqual([undefined, 'bytes=100-', 'bytes=200-']);
  });

  test('that has trouble is asked again, and one that refuses is not', async () => {
    let answers = [503, 500];
    mirror.fault = (_path, response) => {
      const status = answers.shift();
      if (status !== undefined) response.writeHead(status).end();
      return status !== undefined;
    };
    await pullTiny(options());
    answers = [403];
    await expect(pullTiny(options({ cacheDir: join(folder, 'other') }))).rejects.toThrow('answers "403 Forbidden"');
  });

  test('that has no such suite is told so', async () => {
    await expectRefusal('not-found', /The mirror has no index of nosuch/, { suite: 'nosuch' });
  });

  test('may redirect, but not for ever', async () => {
    mirror.fault = (path, response) => {
      if (!path.startsWith('dists/')) return false;
      response.writeHead(302, { location: `/debian/moved/${path}` }).end();
      return true;
    };
    mirror.files = new Map([
      ...mirror.files,
      ...Array.from(mirror.files, ([path, content]): [string, Uint8Array] => [`moved/${path}`, content]),
    ]);
    await pullTiny(options());
    mirror.fault = (_path, response) => {
      response.writeHead(302, { location: '/debian/again' }).end();
      return true;
    };
    await expect(pullTiny(options())).rejects.toThrow('redirects more than 5 times');
  });

  test('is reached through the proxy that the environment or apt names', async () => {
    const { url } = mirror;
    const proxy = url.replace(/\/debian$/, '');
    await pullTiny(options({ mirror: 'http://mirror.invalid/debian', env: { http_proxy: proxy } }));
    mkdirSync(join(folder, 'apt'), { recursive: true });
    writeFileSync(join(folder, 'apt/apt.conf'), `Acquire::http::Proxy "${proxy}";\n`);
    await pullTiny(options({ mirror: 'http://mirror.invalid/debian', cacheDir: join(folder, 'other') }));
  });

  test('is the one of the option, then of RINGFENCE_MIRROR, then of apt', async () => {
    const { url } = mirror;
    mkdirSync(join(folder, 'apt'), { recursive: true });
    writeFileSync(join(folder, 'apt/sources.list'), `deb ${url} trixie main\n`);
    const pulled = (more: PullOptions): Promise<unknown> => pullTiny(options({ mirror: undefined, ...more }));
    await pulled({});
    await expect(pulled({ env: { RINGFENCE_MIRROR: 'http://env.invalid/' } })).rejects.toThrow('env.invalid');
    await expect(pulled({ mirror: 'http://option.invalid/', env: { RINGFENCE_MIRROR: url } })).rejects.toThrow(
      'option.invalid',
    );
    writeFileSync(join(folder, 'debian.list'), `# mirrors\n${url} priority:1\n`);
    writeFileSync(join(folder, 'apt/sources.list'), `deb mirror+file:${folder}/debian.list trixie main\n`);
    await pulled({});
  });

  test('that is none, or of a kind we cannot fetch from, is told so', async () => {
    await expectRefusal(
      'no-mirror',
      /No Debian mirror is known: apt's sources in .* name none\. Give one with --mirror/,
      { mirror: undefined },
    );
    await expectRefusal('bad-argument', /The mirror ftp:\/\/x is not an http/, { mirror: 'ftp://x' });
    mkdirSync(join(folder, 'apt'), { recursive: true });
    writeFileSync(join(folder, 'apt/sources.list'), 'deb cdrom:[Debian]/debian trixie main\n');
    await expectRefusal('no-mirror', /apt's source cdrom:.* is of a kind that Ringfence cannot fetch from/, {
      mirror: undefined,
    });
  });
});

describe('a cached image', () => {
  test('that was cut, changed or lost a file is not used, and pulling mends it', async () => {
    const image = await openTiny(options());
    const content = readFileSync(image.initrdPath);
    const changed = Buffer.from(content);
    changed[100] = (changed[100] ?? 0) ^ 1;
    const manifestPath = join(folder, 'cache/images/tiny-stable/manifest.json');
    const damages: [() => void, RegExp][] = [
      [() => writeFileSync(image.initrdPath, content.subarray(0, 1000)), /initrd-.* has 1000 bytes instead of/],
      [() => writeFileSync(image.initrdPath, changed), /initrd-.* has changed/],
      [() => rmSync(image.kernelPath), /kernel-.* is missing/],
      [() => writeFileSync(manifestPath, '{'), /the manifest is not JSON/],
      [() => writeFileSync(manifestPath, '{"format":1}'), /the manifest lacks something/],
    ];
    for (const [damage, sentence] of damages) {
      damage();
      const error = await failure(openTiny(options()));
      expect(error.code).toBe('damaged');
      expect(error.message).toMatch(sentence);
      expect(error.message).toContain('The cached image tiny (stable) is damaged');
      expect(error.message).toContain('`ringfence image pull tiny`');
      await pullTiny(options());
      expect(readFileSync((await openTiny(options())).initrdPath).equals(content)).toBe(true);
    }
  });

  test('that was made another way is made anew', async () => {
    await openTiny(options());
    const path = join(folder, 'cache/images/tiny-stable/manifest.json');
    const manifest = readFileSync(path, 'utf8').replace(/"recipe": "[^"]*"/, '"recipe": "old"');
    writeFileSync(path, manifest);
    mirror.requests.length = 0;
    expect((await openTiny(options())).manifest.recipe).not.toBe('old');
    expect(mirror.requests).toContain(KERNEL_DEB);
  });

  test('in a folder that cannot be used is an error that says so', async () => {
    writeFileSync(join(folder, 'file'), '');
    const error = await failure(pullTiny(options({ cacheDir: join(folder, 'file') })));
    expect(error.code).toBe('cache');
    expect(error.message).toMatch(/^The cache .*file cannot be used: .* Mend its permissions/);
    expect((await failure(openTiny(options({ cacheDir: join(folder, 'file') })))).code).toBe('cache');
  });

  test('of a suite with a name that is a path is refused', async () => {
    for (const suite of ['../../etc', 'a/b', '', 'Stable', '-x']) {
      expect((await failure(openTiny(options({ suite })))).code).toBe('bad-argument');
    }
  });
});

describe('two pulls at once', () => {
  test('in one process make one image and both have it', async () => {
    const progress: string[] = [];
    const pulls = [1, 2, 3].map(() => pullTiny(options({ onProgress: ({ kind }) => progress.push(kind) })));
    const images = await Promise.all(pulls);
    expect(new Set(images.map(({ initrdPath }) => initrdPath)).size).toBe(1);
    expect(mirror.requests.filter((path) => path === KERNEL_DEB)).toHaveLength(1);
    expect(progress.filter((kind) => kind === 'waiting')).toHaveLength(2);
  });

  test('in two processes make one image and both have it', async () => {
    const run = async (): Promise<string> => {
      const child = fork(PULL_PROCESS, [JSON.stringify(options())], { silent: true });
      let output = '';
      child.stdout?.on('data', (text: Buffer) => (output += text.toString()));
      await once(child, 'close');
      return output.trim();
    };
    const [first, second] = await Promise.all([run(), run()]);
    expect(first).toMatch(/initrd-[0-9a-f]{16}$/);
    expect(second).toBe(first);
    expect(mirror.requests.filter((path) => path === KERNEL_DEB)).toHaveLength(1);
    await openTiny(options());
  });

  test('go on when the first is killed in the middle, and what it left is swept away', async () => {
    let reached: () => void = () => undefined;
    const isStuck = new Promise<void>((resolve) => (reached = resolve));
    mirror.fault = (path) => {
      if (path === KERNEL_DEB) reached();
      return path === KERNEL_DEB;
    };
    const child = spawn(process.execPath, [PULL_PROCESS, JSON.stringify(options({ timeoutMs: 60_000 }))]);
    await isStuck;
    expect(cached().filter((name) => name.startsWith('.partial-'))).toHaveLength(1);
    let waits = 0;
    const second = pullTiny(options({ onProgress: ({ kind }) => (waits += kind === 'waiting' ? 1 : 0) }));
    await expect.poll(() => waits).toBe(1);
    mirror.fault = () => false;
    child.kill('SIGKILL');
    await second;
    expect(cached()).toHaveLength(3);
  });
});

describe('a pull that is stopped', () => {
  const stages: [string, (event: PullProgress) => boolean][] = [
    ['while the index is fetched', (event) => event.kind === 'download' && event.item === 'index of stable'],
    ['while the packages are listed', (event) => event.kind === 'download' && event.item === 'packages of stable'],
    ['while packages are fetched', (event) => event.kind === 'download' && event.item.startsWith('linux-image')],
    ['while packages are unpacked', (event) => event.kind === 'unpack'],
  ];
  test.each(stages)('%s leaves nothing behind, and the next one succeeds', async (_name, isStage) => {
    const stop = new AbortController();
    const onProgress = (event: PullProgress): void => {
      if (isStage(event)) stop.abort();
    };
    await expectRefusal('aborted', /^Pulling the image tiny \(stable\) was stopped\.$/, {
      signal: stop.signal,
      onProgress,
    });
    await pullTiny(options());
  });

  test('before it began, or while it waits for another, is stopped too', async () => {
    await expectRefusal('aborted', /was stopped/, { signal: AbortSignal.abort() });
    const isAtWork = new Promise<void>((resolve) => {
      mirror.fault = () => {
        resolve();
        return true;
      };
    });
    const first = new AbortController();
    const second = new AbortController();
    const firstPull = failure(pullTiny(options({ signal: first.signal })));
    await isAtWork; // only now is it sure which of the two waits
    const secondPull = failure(pullTiny(options({ signal: second.signal, onProgress: () => second.abort() })));
    expect((await secondPull).code).toBe('aborted');
    first.abort();
    expect((await firstPull).code).toBe('aborted');
    expect(cached()).toEqual([]);
  });

  test('leaves the image that was there before as it was', async () => {
    const before = await openTiny(options());
    await serve({ packages: tinyPackages('newer') });
    const stop = new AbortController();
    const pull = pullTiny(
      options({ signal: stop.signal, onProgress: ({ kind }) => kind === 'unpack' && stop.abort() }),
    );
    expect((await failure(pull)).code).toBe('aborted');
    expect(await openTiny(options())).toEqual(before);
  });
});
