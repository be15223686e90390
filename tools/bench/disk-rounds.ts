/** What the benchmarks of disks share: a disk full of chance, and rounds in which each side has a copy of it. */

import { randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Measured, Side } from './side-by-side.ts';

const SIDES = ['ringfence', 'qemu'] as const;

/** Makes a qcow2 image in `folder` with so much that cannot be compressed; gives its path. */
export function fullDisk(folder: string, megabytes: number): string {
  const raw = join(folder, 'raw');
  writeFileSync(raw, '');
  for (let megabyte = 0; megabyte < megabytes; megabyte++) writeFileSync(raw, randomBytes(2 ** 20), { flag: 'a' });
  const whole = join(folder, 'whole.qcow2');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, whole]);
  rmSync(raw);
  return whole;
}

/**
 * Measures each side in turn, `rounds` times, or `only` one of them; `disk` is a new copy of the image `whole` each time, and has to be sound
 * afterwards.
 */
export async function diskRounds(
  {
    whole,
    disk,
    rounds,
    only,
  }: { readonly whole: string; readonly disk: string; readonly rounds: number; readonly only?: string | undefined },
  sides: Readonly<Record<Side, () => Promise<ReadonlyMap<string, number>>>>,
): Promise<Measured> {
  const measured: Measured = { ringfence: new Map(), qemu: new Map() };
  for (let round = 1; round <= rounds; round++) {
    for (const side of SIDES) {
      if (only !== undefined && only !== side) continue;
      copyFileSync(whole, disk);
      for (const [what, figure] of await sides[side]())
        measured[side].set(what, [...(measured[side].get(what) ?? []), figure]);
      execFileSync('qemu-img', ['check', '-q', disk], { stdio: 'inherit' });
      console.log(`round ${round}, ${side}: done, and qemu-img finds nothing wrong`);
    }
  }
  return measured;
}
