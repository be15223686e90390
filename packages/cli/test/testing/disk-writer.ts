/**
 * A guest that writes to its first disk all the time, a sector after the other, each synced before the next: sector N says its number, at a place of its
 * own. What it was told is there is counted in its memory, and what failed.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { RealDaemon } from './daemon.ts';

export const SECTOR_BYTES = 512;
/** Where it writes: so many sectors from this one on. */
const [FIRST, SECTORS, STEP] = [16_384, 65_536, 7919];
/** What a disk is to hold for it. */
export const WRITTEN_BYTES = (FIRST + SECTORS) * SECTOR_BYTES;

const SCRIPT = `trap '' HUP
(n=0; while :; do n=$((n + 1))
  if printf '%-${SECTOR_BYTES}d' $n | dd of=/dev/vda bs=${SECTOR_BYTES} seek=$((${FIRST} + n * ${STEP} % ${SECTORS})) conv=notrunc,fsync
  then echo $n >/tmp/acknowledged.new && mv /tmp/acknowledged.new /tmp/acknowledged
  else echo $n >>/tmp/failed; fi
done) >/dev/null 2>&1 </dev/null &
until [ -s /tmp/acknowledged ]; do sleep 0.01; done`;

/** Begins to write; it goes on as long as the machine does. */
export async function startWriting(daemon: RealDaemon, vm: string): Promise<void> {
  await daemon.exec(vm, 'sh', '-c', SCRIPT);
}

/** The last sector that it was told is there. Throws when a write failed. */
export async function acknowledged(daemon: RealDaemon, vm: string): Promise<number> {
  const [number = '', ...failed] = (
    await daemon.exec(vm, 'sh', '-c', 'cat /tmp/acknowledged; cat /tmp/failed 2>/dev/null')
  ).split('\n');
  assert.deepEqual(failed, [], 'no write failed in the guest');
  return Number(number);
}

/** Looks whether the last of them are on the disk, past the guest's cache. */
export async function checkWritten(daemon: RealDaemon, vm: string, last: number, count = 20): Promise<void> {
  const numbers = Array.from({ length: Math.min(last, count) }, (_, n) => last - n);
  const places = numbers.map((n) => placeOf(n) / SECTOR_BYTES).join(' ');
  const said = await daemon.exec(
    vm,
    'sh',
    '-c',
    `for at in ${places}; do dd if=/dev/vda bs=${SECTOR_BYTES} count=1 skip=$at iflag=direct 2>/dev/null; echo; done`,
  );
  assert.deepEqual(
    said.split('\n').map((line) => Number(line.trim())),
    numbers,
  );
}

function placeOf(number: number): number {
  return (FIRST + ((number * STEP) % SECTORS)) * SECTOR_BYTES;
}

/** Puts a disk of a machine that does not run to a place outside of its folder, as its vm.yaml then says; gives where that is. */
export function putOutside(daemon: RealDaemon, vm: string, file: string): string {
  const folder = join(daemon.machinesFolder, vm);
  const to = join(daemon.folder, `outside-${basename(file)}`);
  renameSync(join(folder, file), to);
  const yaml = join(folder, 'vm.yaml');
  writeFileSync(yaml, readFileSync(yaml, 'utf8').replace(file, to));
  return to;
}

/** What the disk image at `path` holds, as QEMU reads it, when QEMU finds nothing wrong with it. Nobody may be writing it. */
export function contentOf(path: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-content-'));
  try {
    execFileSync('qemu-img', ['check', '-q', path]);
    execFileSync('qemu-img', ['convert', '-O', 'raw', path, join(folder, 'raw')]);
    return readFileSync(join(folder, 'raw'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Throws when one of the sectors up to `last` is not in a disk's content. */
export function checkContent(content: Buffer, last: number): void {
  assert(last < SECTORS, 'each has a place of its own');
  for (let n = 1; n <= last; n++) {
    const at = placeOf(n);
    assert.equal(Number(content.toString('latin1', at, at + SECTOR_BYTES).trim()), n, `sector ${n}`);
  }
}
