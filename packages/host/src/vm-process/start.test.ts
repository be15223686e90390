import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { machineFolder } from '../machine-folder/layout.ts';
import type { SpareProcess } from './spare.ts';
import { startProcess } from './start.ts';

test('a process that has ended before its machine comes is not waited for, and its name is free', async () => {
  const sockets = mkdtempSync(join(tmpdir(), 'ringfence-start-'));
  const folder = machineFolder(join(sockets, 'machine'));
  mkdirSync(folder.path);
  try {
    // Its `exit` was told before anybody listened.
    const ended = Object.assign(new EventEmitter(), { connected: false, kill: () => false });
    const spare = { use: () => ended } as unknown as SpareProcess;
    const disks = { specs: [], writable: [], readable: [] };
    const coming = { arriving: Promise.resolve(), absentDisks: {} };
    const id = '01234567-89ab-4cde-8f01-23456789abcd';
    await expect(startProcess(sockets, 'web', id, folder, disks, { from: coming, spare })).rejects.toMatchObject({
      code: 'ended',
    });
    expect(readdirSync(sockets)).toEqual(['machine']);
  } finally {
    rmSync(sockets, { recursive: true });
  }
});
