/** How machines come to the process of their label, which is only pretended. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ServedDomain, ServedVM } from '../control/server.ts';
import { socketPath } from '../control/vm-folder.ts';
import { HostError } from '../failure.ts';
import { labelFolder } from '../machine-folder/label-folder.ts';
import { machineFolder } from '../machine-folder/layout.ts';
import { addressOf, type DomainPlace, DomainProcesses, type JoiningMachine } from './domains.ts';
import { serveOn } from './serve.ts';

const ID = '01234567-89ab-4cde-8f01-23456789abcd';

let path: string;
let place: DomainPlace;
let machine: JoiningMachine;
let domains: DomainProcesses;
let server: Server;
/** What the process says when a machine comes to it, and which were to end there. */
let joins: () => Promise<void>;
let evicts: () => Promise<void>;
let evicted: string[];
beforeEach(async () => {
  path = mkdtempSync(join(tmpdir(), 'ringfence-domains-'));
  const folder = labelFolder(join(path, '@shop'));
  place = { label: 'shop', folder, cpus: 1, engine: undefined, hasNetwork: false, poolBytes: undefined };
  const own = machineFolder(join(folder.path, '1'));
  mkdirSync(own.path, { recursive: true });
  const disks = { specs: [], readable: [], writable: [] } as unknown as JoiningMachine['disks'];
  machine = { name: 'web', id: ID, folder: own, disks, hasNetwork: false, from: undefined };
  domains = new DomainProcesses(path);
  [joins, evicts, evicted] = [() => Promise.resolve(), () => Promise.resolve(), []];
  const domain: ServedDomain = {
    status: () => ({
      label: 'shop',
      folder: folder.path,
      pid: process.pid,
      cpus: 1,
      hasNetwork: false,
      hasPool: false,
      takesArrivals: true,
      machines: [],
      names: [],
    }),
    join: () => joins(),
    evict: async (id) => {
      await evicts();
      evicted.push(id);
    },
  };
  server = createServer();
  serveOn(
    server,
    () => ({ domain }) as Partial<ServedVM> as ServedVM,
    () => 0,
  );
  await once(server.listen(socketPath(path, addressOf(folder))), 'listening');
});
afterEach(() => {
  server.close();
  rmSync(path, { recursive: true });
});

test('one that could not come is not left behind', async () => {
  joins = () => Promise.reject(new HostError('no-memory', 'there is no room'));
  await expect(domains.join(place, machine)).rejects.toMatchObject({ code: 'no-memory' });
  expect(evicted).toEqual([ID]);
});

test('one that runs there already is left alone', async () => {
  joins = () => Promise.reject(new HostError('wrong-state', 'it runs already'));
  await expect(domains.join(place, machine)).rejects.toMatchObject({ code: 'wrong-state' });
  expect(evicted).toEqual([]);
});

test('one that could not be ended there ends as soon as it can, and before it comes again', async () => {
  joins = () => Promise.reject(new HostError('timeout', 'it takes long'));
  let refusals = 2;
  evicts = () => (refusals-- > 0 ? Promise.reject(new HostError('too-many', 'not now')) : Promise.resolve());
  await expect(domains.join(place, machine)).rejects.toMatchObject({ code: 'timeout' });
  expect(evicted).toEqual([]);
  joins = async () => void evicted.push('join');
  await domains.join(place, machine);
  expect(evicted).toEqual([ID, 'join']);
});

test('one whose files do not come is not begun, and its process hears that none does', async () => {
  joins = async () => void evicted.push('join');
  const arriving = Promise.reject(new HostError('unavailable', 'the link is lost'));
  arriving.catch(() => undefined);
  await expect(domains.join(place, { ...machine, from: { arriving, absentDisks: {} } })).rejects.toMatchObject({
    code: 'unavailable',
  });
  expect(evicted).toEqual([ID]);
});
