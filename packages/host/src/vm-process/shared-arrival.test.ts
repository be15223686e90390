/** A machine that comes to a process that others share, whose virtual machine is only pretended: what becomes of its place there. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FrameLink } from '../control/frames.ts';
import { HostError } from '../failure.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { vmYamlOf } from '../machine-folder/vm-yaml.ts';
import { comingMachine } from '../daemon/testing/pretend.ts';
import type { ArrivingVM } from '../vm/arrival.ts';
import type { VM } from '../vm/vm.ts';
import { SharedArrival } from './shared-arrival.ts';

const VM_THAT_CAME = {} as VM;

const MACHINE = comingMachine('web', { label: 'shop' });

let path: string;
let folder: MachineFolder;
let link: FrameLink;
let became: unknown[];
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'ringfence-shared-arrival-'));
  folder = machineFolder(path);
  mkdirSync(folder.run);
  writeFileSync(folder.yaml, vmYamlOf(MACHINE));
  link = new FrameLink(duplexPair()[0]);
  became = [];
});
afterEach(() => {
  link.destroy();
  rmSync(path, { recursive: true });
});

const arrival = (take: ArrivingVM['take'], timeoutMs?: number): SharedArrival =>
  new SharedArrival(
    { take, abandon: () => Promise.resolve(void became.push('abandoned')) },
    { id: MACHINE.id, folder },
    {
      runs: (vm) => became.push(vm),
      fails: (error) => became.push((error as HostError).code),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    },
  );

test('one that came runs, and that it is here was written down before', async () => {
  await arrival(async (_link, owned, runs) => {
    await owned();
    expect([JSON.parse(readFileSync(folder.arrived, 'utf8')), became]).toEqual([{ migration: 'm' }, []]);
    runs(VM_THAT_CAME);
  }).take('m', link);
  expect(became).toEqual([VM_THAT_CAME]);
});

test('one that does not come leaves its place, once, and whoever brought it hears why', async () => {
  const coming = arrival(() => Promise.reject(new HostError('unavailable', 'the link is lost')));
  await expect(coming.take('m', link)).rejects.toMatchObject({ code: 'unavailable' });
  coming.giveUp();
  expect(became).toEqual(['unavailable']);
});

test('one that runs already keeps its place, whatever comes after that', async () => {
  const coming = arrival((_link, _owned, runs) => {
    runs(VM_THAT_CAME);
    return Promise.reject(new HostError('unavailable', 'the link is lost'));
  });
  await expect(coming.take('m', link)).rejects.toMatchObject({ code: 'unavailable' });
  coming.giveUp();
  expect(became).toEqual([VM_THAT_CAME]);
});

test('one that nobody brings leaves its place, when it is given up or the daemon asks no more', async () => {
  arrival(() => Promise.resolve()).giveUp();
  await expect.poll(() => became).toEqual(['abandoned', 'aborted']);
  const late = arrival(() => Promise.resolve(), 1);
  await expect.poll(() => became.length).toBe(4);
  await expect(late.take('m', link)).rejects.toThrow('did not come in time');
});

test('one that is given up on its way loses its link, and comes only once', async () => {
  const destroyed = vi.spyOn(link, 'destroy');
  const coming = arrival(
    (over) => new Promise((_, reject) => void over.gone.then(() => reject(new HostError('unavailable', 'it is gone')))),
  );
  const taken = coming.take('m', link);
  await expect(coming.take('m', link)).rejects.toMatchObject({ code: 'wrong-state' });
  expect(destroyed).not.toHaveBeenCalled();
  coming.giveUp();
  await expect(taken).rejects.toMatchObject({ code: 'unavailable' });
  expect(became).toEqual(['unavailable']);
});

test('one whose folder is another machine’s by now is not here', async () => {
  writeFileSync(folder.yaml, vmYamlOf(comingMachine('other', { label: 'shop' })));
  const taken = arrival(async (_link, owned) => owned()).take('m', link);
  await expect(taken).rejects.toMatchObject({ code: 'aborted' });
  expect([existsSync(folder.arrived), became]).toEqual([false, ['aborted']]);
});
