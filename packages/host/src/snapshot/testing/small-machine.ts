/** A machine with some memory in it that nobody runs, for tests of snapshots on disk. */

import { randomBytes } from 'node:crypto';
import type { Machine, SnapshotRequest } from '@ringfence/core';
import { bareMachine } from '@ringfence/core/testing/bare-machine';
import { nodeClock } from '../../machine/ports.ts';

const RAM = 0x8000_0000;
const FIRST_PAGE = 16;

export interface SmallMachine {
  readonly machine: Machine;
  /** A byte of page `page` of those that hold chance. */
  byte(page: number): number;
  write(page: number, value: number): void;
  /** What a store asks for. */
  request(): Omit<SnapshotRequest, 'codec' | 'sink' | 'parent' | 'disks'>;
}

/** With `pages` pages of chance; `blank`: with none. */
export async function smallMachine(pages: number): Promise<SmallMachine> {
  const { machine } = await bareMachine('1: wfi\n j 1b');
  const at = (page: number): number => RAM + 4096 * (FIRST_PAGE + page);
  if (pages > 0) machine.ram.write(at(0), randomBytes(4096 * pages));
  return {
    machine,
    byte(page) {
      const [value] = [new Uint8Array(1)];
      machine.ram.read(at(page), value);
      return value[0] ?? 0;
    },
    write: (page, value) => void machine.ram.write(at(page), Uint8Array.of(value)),
    request: () => ({
      machine,
      runner: { isPaused: true, pause: () => Promise.resolve(true), resume: () => {} },
      clock: nodeClock,
      id: randomBytes(16).toString('hex'),
      createdBy: 'a test',
      createdAt: new Date().toISOString(),
    }),
  };
}
