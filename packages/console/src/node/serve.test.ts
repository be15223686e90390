import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ManifestFile, TinyImage } from '@ringfence/images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { serveConsole, type ConsoleServer } from './serve.ts';

const KERNEL = Buffer.from('0123456789'.repeat(30_000));
const INITRD = Buffer.from('initrd');
const KERNEL_ETAG = `"${createHash('sha256').update(KERNEL).digest('hex')}"`;

let folder = '';
let server: ConsoleServer;

function manifestFile(file: string, content: Uint8Array): ManifestFile {
  return { file, size: content.length, sha256: createHash('sha256').update(content).digest('hex') };
}

function image(): TinyImage {
  writeFileSync(join(folder, 'kernel-1'), KERNEL);
  writeFileSync(join(folder, 'initrd-1'), INITRD);
  return {
    name: 'tiny',
    suite: 'stable',
    kernelVersion: '6.12.1-riscv64',
    kernelPath: join(folder, 'kernel-1'),
    initrdPath: join(folder, 'initrd-1'),
    kernelParameters: ['some.word'],
    manifest: {
      format: 1,
      name: 'tiny',
      suite: 'stable',
      recipe: '',
      release: { suite: 'stable', codename: 'trixie', version: '13.7', date: '' },
      index: '',
      kernelVersion: '6.12.1-riscv64',
      packages: [],
      kernel: manifestFile('kernel-1', KERNEL),
      initrd: manifestFile('initrd-1', INITRD),
      pulledAt: '',
    },
  };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-console-'));
  mkdirSync(join(folder, 'page/assets'), { recursive: true });
  writeFileSync(join(folder, 'page/index.html'), '<!doctype html>');
  writeFileSync(join(folder, 'page/assets/main-1.js'), 'export {};');
  server = await serveConsole({ image: image(), port: 0, pageFolder: join(folder, 'page') });
  // What is served does not change when somebody builds the page or fetches the image anew.
  unlinkSync(join(folder, 'kernel-1'));
  rmSync(join(folder, 'page/assets'), { recursive: true });
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Node's own client: fetch would cache and tidy up. */
function ask(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request(server.url, { path, method, headers, agent: false }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    })
      .on('error', reject)
      .end();
  });
}

describe('the server', () => {
  test.each(['/', '/assets/main-1.js', '/image/kernel-1', '/nothing'])(
    'isolates %s from other origins',
    async (path) => {
      expect((await ask(path)).headers).toMatchObject({
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
        'cross-origin-resource-policy': 'same-origin',
        'content-security-policy': expect.stringContaining("default-src 'self'"),
        'x-content-type-options': 'nosniff',
      });
    },
  );

  test.each([
    ['/', 'text/html; charset=utf-8', 'no-cache'],
    ['/?memory=1G', 'text/html; charset=utf-8', 'no-cache'],
    ['/image/tiny.json', 'application/json', 'no-cache'],
    ['/assets/main-1.js', 'text/javascript; charset=utf-8', 'public, max-age=31536000, immutable'],
    ['/image/kernel-1', 'application/octet-stream', 'public, max-age=31536000, immutable'],
  ])('serves %s as %s, %s', async (path, type, cache) => {
    const { status, headers } = await ask(path);
    expect([status, headers['content-type'], headers['cache-control']]).toEqual([200, type, cache]);
  });

  test('describes the image', async () => {
    expect(JSON.parse((await ask('/image/tiny.json')).body)).toEqual({
      name: 'tiny',
      kernelVersion: '6.12.1-riscv64',
      distribution: 'Debian 13.7',
      kernel: { file: 'kernel-1', sizeBytes: 300_000 },
      initrd: { file: 'initrd-1', sizeBytes: 6 },
      kernelParameters: ['some.word'],
    });
  });

  test('sends a file whole, or the part that was asked for', async () => {
    expect((await ask('/image/kernel-1')).body).toBe(KERNEL.toString());
    const part = await ask('/image/kernel-1', { range: 'bytes=299995-' });
    expect([part.status, part.headers['content-range'], part.body]).toEqual([
      206,
      'bytes 299995-299999/300000',
      '56789',
    ]);
    const outside = await ask('/image/kernel-1', { range: 'bytes=300000-' });
    expect([outside.status, outside.headers['content-range']]).toEqual([416, 'bytes */300000']);
  });

  test('sends no part of another version than the client has', async () => {
    const range = 'bytes=0-3';
    expect((await ask('/image/kernel-1', { range, 'if-range': KERNEL_ETAG })).status).toBe(206);
    expect((await ask('/image/kernel-1', { range, 'if-range': '"other"' })).status).toBe(200);
  });

  test('sends nothing that the client has already', async () => {
    const known = await ask('/image/kernel-1', { 'if-none-match': `"other", W/${KERNEL_ETAG}` });
    expect([known.status, known.headers['etag'], known.body]).toEqual([304, KERNEL_ETAG, '']);
    expect((await ask('/image/kernel-1', { 'if-none-match': '"other"' })).status).toBe(200);
  });

  test('answers HEAD without a body', async () => {
    const { status, headers, body } = await ask('/image/kernel-1', {}, 'HEAD');
    expect([status, headers['content-length'], body]).toEqual([200, '300000', '']);
  });

  test.each([
    ['/index.html', 'GET', 404],
    ['/../package.json', 'GET', 404],
    ['/assets/%2e%2e/index.html', 'GET', 404],
    ['/assets', 'GET', 404],
    ['/', 'POST', 405],
  ])('%s, %s: %i', async (path, method, status) => expect((await ask(path, {}, method)).status).toBe(status));
});

test('a port that is taken has its sentence', async () => {
  const port = Number(new URL(server.url).port);
  await expect(serveConsole({ image: image(), port, pageFolder: join(folder, 'page') })).rejects.toThrow(
    `Port ${port} is taken by another program; choose another one with --port`,
  );
});

test('a page that was not built has its sentence', async () => {
  await expect(serveConsole({ image: image(), port: 0, pageFolder: join(folder, 'nowhere') })).rejects.toThrow(
    'The page is not built yet; "npm run demo" builds it',
  );
});
