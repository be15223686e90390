import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { machineFolder } from '../machine-folder/layout.ts';
import { type SpareProcess, SpareProcesses } from './spare.ts';

const PATIENCE_MS = 30_000;

async function taken(spares: SpareProcesses): Promise<SpareProcess> {
  for (const until = performance.now() + PATIENCE_MS; performance.now() < until; await sleep(50)) {
    const spare = spares.take();
    if (spare !== undefined) return spare;
  }
  throw new Error('no process was ready');
}

test('a process waits for a machine in a folder of its own, is not for one that needs more, and ends when nobody wants it', async () => {
  const machines = mkdtempSync(join(tmpdir(), 'ringfence-spare-'));
  const spares = new SpareProcesses(machines, join(machines, 'spare.log'));
  try {
    expect(spares.take()).toBeUndefined();
    spares.begin();
    const first = await taken(spares);
    expect(existsSync(first.folder.path)).toBe(false);
    const elsewhere = { specs: [], readable: ['/srv/base.qcow2'], writable: [] };
    expect(first.use(first.folder, elsewhere)).toBeUndefined();

    spares.begin();
    const second = await taken(spares);
    expect(second.folder.path).not.toBe(first.folder.path);
    mkdirSync(second.folder.run, { recursive: true });
    const own = {
      specs: [],
      readable: [join(second.folder.image, 'disk.qcow2')],
      writable: [second.folder.disks + '/a'],
    };
    const child = second.use(second.folder, own);
    const ended = new Promise((resolve) => void child?.once('exit', resolve));
    // It is the machine's.
    second.end();
    spares.close();
    expect([child?.connected, existsSync(second.folder.processLog)]).toEqual([true, true]);
    // Its daemon is gone.
    child?.disconnect();
    expect(await ended).toBe(3);
    expect(first.use(machineFolder(join(machines, 'other')), own)).toBeUndefined();
  } finally {
    spares.close();
    rmSync(machines, { recursive: true });
  }
}, 60_000);
