/** A guest that writes to its memory all the time, and looks whether what it wrote is there (memory-writer.c). */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RealDaemon } from './daemon.ts';

const COMPILER = 'riscv64-linux-gnu-gcc';
const BEGIN_TIMEOUT_MS = 60_000;
const GOES_ON_TIMEOUT_MS = 30_000;

export const canWriteMemory = spawnSync(COMPILER, ['--version']).status === 0;

let program: string | undefined;

/** As base64. */
function compiled(): string {
  if (program !== undefined) return program;
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-writer-'));
  try {
    const file = join(folder, 'memory-writer');
    execFileSync(COMPILER, ['-O2', '-static', '-s', '-o', file, join(import.meta.dirname, 'memory-writer.c')]);
    program = readFileSync(file).toString('base64');
    return program;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Begins to write to so much; resolves when all of it was written once. It goes on as long as the machine does. */
export async function startWritingMemory(daemon: RealDaemon, vm: string, mib: number): Promise<void> {
  const text = compiled();
  // Of one word that a program is given no more than 128 KiB are taken.
  for (let at = 0; at < text.length; at += 96_000)
    await daemon.exec(vm, 'sh', '-c', `printf %s '${text.slice(at, at + 96_000)}' >>/tmp/writer.base64`);
  await daemon.exec(
    vm,
    'sh',
    '-c',
    `base64 -d /tmp/writer.base64 >/tmp/writer; rm /tmp/writer.base64; chmod +x /tmp/writer; trap '' HUP; /tmp/writer ${mib} >/dev/null 2>&1 </dev/null &`,
  );
  for (const until = performance.now() + BEGIN_TIMEOUT_MS; (await writtenPages(daemon, vm)) < mib * 256;) {
    assert(performance.now() < until, 'the guest writes to its memory');
    await sleep(100);
  }
}

/** How many writes it has said are over. Throws when something else was there than it wrote. */
export async function writtenPages(daemon: RealDaemon, vm: string): Promise<number> {
  const said = await daemon.exec(vm, 'sh', '-c', 'cat /tmp/written; head -n 5 /tmp/wrong 2>/dev/null');
  const [number = '', ...wrong] = said.split('\n');
  assert.deepEqual(wrong, [], 'what the guest finds in its memory is what it wrote');
  return Number(number);
}

/** No write that it had said is over is lost, it writes on, and finds what it wrote. */
export async function checkMemory(daemon: RealDaemon, vm: string, before: number, mib: number): Promise<void> {
  const now = await writtenPages(daemon, vm);
  assert(now >= before, `${before} writes were over, and now ${now}`);
  // All of it is looked at once.
  for (const until = performance.now() + GOES_ON_TIMEOUT_MS; (await writtenPages(daemon, vm)) < now + mib * 256;) {
    assert(performance.now() < until, 'the guest writes on');
    await sleep(100);
  }
}
