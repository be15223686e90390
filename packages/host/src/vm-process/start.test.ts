import { EventEmitter, once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { socketPath } from '../control/vm-folder.ts';
import { machineFolder } from '../machine-folder/layout.ts';
import type { SpareProcess } from './spare.ts';
import { startProcess } from './start.ts';

test('a process that waited for a machine whose name is taken ends', async () => {
  const sockets = mkdtempSync(join(tmpdir(), 'ringfence-start-'));
  const other = createServer().listen(socketPath(sockets, 'web'));
  try {
    await once(other, 'listening');
    const end = vi.fn<() => void>();
    const spare = { use: () => expect.unreachable(), end } as unknown as SpareProcess;
    const disks = { specs: [], writable: [], readable: [] };
    const id = '01234567-89ab-4cde-8f01-23456789abcd';
    const starting = startProcess(sockets, 'web', id, machineFolder(join(sockets, 'machine')), disks, { spare });
    await expect(starting).rejects.toMatchObject({ code: 'name-taken' });
    expect(end).toHaveBeenCalledOnce();
  } finally {
    other.close();
    rmSync(sockets, { recursive: true });
  }
});

test('a process that has ended before its machine comes is not waited for, and its name is free', async () => {
  const sockets = mkdtempSync(join(tmpdir(), 'ringfence-start-'));
  const folder = machineFolder(join(sockets, 'machine'));
  mkdirSync(folder.path);
  try {
    // Its `exit` was told before anybody listened.
    const ended = Object.assign(new EventEmitter(), { connected: false, kill: () => false });
    const spare = { use: () => ended, end: () => undefined } as unknown as SpareProcess;
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
