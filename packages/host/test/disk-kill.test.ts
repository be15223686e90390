/**
 * A process that writes to qcow2 images is killed, again and again, at random moments: QEMU finds no corruption, and everything that was
 * flushed is there.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process, { execPath } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createQcow2 } from '@ringfence/core';
import { check, hasQemuImg } from '@ringfence/core/testing/qemu-img';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DiskFile } from '../src/disk/disk-file.ts';
import { parseDiskSpec } from '../src/disk/disk-spec.ts';
import { openDisks } from '../src/disk/disks.ts';
import { scramble, SECTOR_BYTES, SECTORS, writeOf } from '../src/disk/testing/write-disk.ts';

const WRITER = fileURLToPath(new URL('../src/disk/testing/write-disk.ts', import.meta.url));
const KILLS = Number(process.env['QCOW2_KILLS'] ?? 20);
const LONGEST_LIFE_MS = 60;
/** Of the whole test, on a busy machine. */
const TIMEOUT_MS = KILLS * 18_000;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-kill-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Lets a process write from number `first` on, kills it a while after its first flush; gives the last number that it said was flushed. */
async function writeAndDie(path: string, seed: number, first: number, lifeMs: number): Promise<number> {
  const child = spawn(execPath, [WRITER, path, String(seed), String(first)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8');
  const begun = new Promise<void>((resolve) => {
    child.stdout.on('data', (text: string) => {
      said += text;
      resolve();
    });
    child.on('exit', () => resolve());
  });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  await begun;
  await sleep(lifeMs);
  child.kill('SIGKILL');
  await ended;
  return Number(said.slice(0, said.lastIndexOf('\n')).split('\n').at(-1));
}

/** How long after its first flush the process is killed, drawn from the seed. */
function lifeOf(seed: number, kill: number): number {
  return scramble(scramble(~seed) + kill) % LONGEST_LIFE_MS;
}

test.skipIf(!hasQemuImg)(
  `an image survives ${KILLS} kills of its process with all that was flushed`,
  async () => {
    const base = join(folder, 'base.qcow2');
    const path = join(folder, 'disk.qcow2');
    for (const [name, options] of [
      [base, { clusterBytes: 65_536 }],
      [path, { clusterBytes: 4096, backing: { name: 'base.qcow2', format: 'qcow2' } }],
    ] as const) {
      const file = await DiskFile.create(name);
      await createQcow2(file, { sizeBytes: SECTORS * SECTOR_BYTES, ...options });
      await file.close();
    }
    const seed = Number(process.env['QCOW2_SEED'] ?? 4711);
    /** What each sector has for sure, and everything it has been given since the first write. */
    const flushed = new Uint32Array(SECTORS);
    let first = 1;
    let writes = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const last = await writeAndDie(path, seed, first, lifeOf(seed, kill));
      expect(last).toBeGreaterThanOrEqual(first);
      writes += last - first + 1;
      for (let number = first; number <= last; number++) {
        const { first: sector, sectors } = writeOf(seed, number);
        flushed.fill(number, sector, sector + sectors);
      }
      expect(check(path), `kill ${kill}`).toMatchObject({ corruptions: 0, errors: 0 });

      const opened = await openDisks([parseDiskSpec(`${path},readonly`)]);
      const content = new Uint32Array((SECTORS * SECTOR_BYTES) / 4);
      await opened.disks[0]?.store.read(0, [new Uint8Array(content.buffer)]);
      await opened.close();
      for (let sector = 0; sector < SECTORS; sector++) {
        const words = content.subarray((sector * SECTOR_BYTES) / 4, ((sector + 1) * SECTOR_BYTES) / 4);
        const found = words[0] ?? 0;
        // What was on its way may be there too; a sector has one value.
        if (found < (flushed[sector] ?? 0) || words.some((word) => word !== found))
          throw new Error(`after kill ${kill} sector ${sector} has ${found}, and ${flushed[sector]} was flushed`);
        if (found > last) flushed[sector] = found;
      }
      // Numbers that may have been used already are not used again.
      first = Math.max(last, ...flushed) + 100;
    }
    expect(writes).toBeGreaterThan(KILLS);
  },
  TIMEOUT_MS,
);
