/** QEMU's tools as oracle for qcow2: what they make we must read, what we make they must find whole. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateRaw, zstdDecompress } from 'node:zlib';
import { promisify } from 'node:util';
import { MemoryImageFile } from '../../memory-image-file.ts';
import type { ImageFiles } from '../../open-disk.ts';
import type { Decompress } from '../cluster-reader.ts';
import { zstdFrameBytes } from '../zstd-frame.ts';

/** False where QEMU's tools are not installed. */
export const hasQemuImg: boolean = spawnSync('qemu-img', ['--version']).status === 0;

const deflate = promisify(inflateRaw);
const zstd = promisify(zstdDecompress);

export const nodeDecompress: Decompress = async (type, packed, clusterBytes) =>
  type === 'deflate'
    ? deflate(packed, { maxOutputLength: clusterBytes })
    : zstd(packed.subarray(0, zstdFrameBytes(packed)), { maxOutputLength: clusterBytes });

/** Runs a tool of QEMU's; gives its stdout, and throws what it said when it fails. */
export function qemu(tool: 'qemu-img' | 'qemu-io', ...words: readonly string[]): string {
  return execFileSync(tool, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
}

export interface CheckResult {
  readonly corruptions: number;
  readonly leaks: number;
  readonly errors: number;
}

/** What "qemu-img check" says of a qcow2 image. */
export function check(path: string): CheckResult {
  const { stdout, stderr } = spawnSync('qemu-img', ['check', '-f', 'qcow2', '--output=json', path], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  const start = stdout.indexOf('{');
  if (start < 0) throw new Error(`qemu-img check cannot read the image: ${stderr}${stdout}`);
  const said = JSON.parse(stdout.slice(start)) as { corruptions?: number; leaks?: number; 'check-errors'?: number };
  return { corruptions: said.corruptions ?? 0, leaks: said.leaks ?? 0, errors: said['check-errors'] ?? 0 };
}

export const CLEAN: CheckResult = { corruptions: 0, leaks: 0, errors: 0 };

/** A folder for images, whose files are read into memory and written back. */
export class ImageFolder implements ImageFiles {
  readonly path = mkdtempSync(join(tmpdir(), 'ringfence-qcow2-'));
  /** Those opened for writing, by path. */
  readonly opened = new Map<string, MemoryImageFile>();

  remove(): void {
    rmSync(this.path, { recursive: true });
  }

  at(name: string): string {
    return join(this.path, name);
  }

  async open(path: string, { readOnly }: { readonly readOnly: boolean }): Promise<MemoryImageFile> {
    const file = new MemoryImageFile(path, new Uint8Array(readFileSync(path)), readOnly);
    if (!readOnly) this.opened.set(path, file);
    return file;
  }

  identify(path: string): Promise<string> {
    return Promise.resolve(path);
  }

  resolve(name: string, path: string): string {
    return name.startsWith('/') ? name : join(path, '..', name);
  }

  /** Writes what a file opened for writing holds now. */
  save(path: string): void {
    const file = this.opened.get(path);
    if (file === undefined) throw new Error(`${path} was not opened for writing`);
    writeFileSync(path, file.content);
  }

  /** Writes what `fill` makes of an empty file. */
  async make(name: string, fill: (file: MemoryImageFile) => Promise<void>): Promise<string> {
    const file = new MemoryImageFile(name);
    await fill(file);
    writeFileSync(this.at(name), file.content);
    return this.at(name);
  }

  /** What QEMU reads from an image. */
  content(path: string): Uint8Array {
    const raw = `${path}.raw`;
    qemu('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, raw);
    return new Uint8Array(readFileSync(raw));
  }
}
