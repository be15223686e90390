/** Machines that leave for another daemon, which is only pretended, as are their processes: what stays written down of where they went. */

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { duplexPair } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FRAME, FrameLink, jsonIn } from '../control/frames.ts';
import { wireFailure } from '../control/wire.ts';
import { HostError } from '../failure.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import { Departures } from './departures.ts';
import { identityIn } from './identity.ts';
import { answerOf } from './protocol.ts';
import { type Address, connectToDaemon, limitSilence, listenForDaemons, parseAddress } from './tls-link.ts';
import { Trust } from './trust.ts';

let path: string;
let folder: MachineFolder;
let departures: Departures;
let fingerprint: string;
/** Files that it was said come. */
let announced: string[];
let connect: () => Promise<FrameLink>;
let to: Address;
let goAway: () => Promise<void>;
beforeEach(async () => {
  path = mkdtempSync(join(tmpdir(), 'ringfence-departures-'));
  for (const name of ['here', 'there']) mkdirSync(join(path, name));
  folder = machineFolder(join(path, 'web'));
  for (const each of [folder.path, folder.image]) mkdirSync(each);
  writeFileSync(folder.yaml, '');
  const [here, there] = [identityIn(join(path, 'here')), identityIn(join(path, 'there'))];
  const [trusting, trusted] = [new Trust(join(path, 'here')), new Trust(join(path, 'there'))];
  trusting.add(there.fingerprint);
  trusted.add(here.fingerprint);
  connect = async () => (await connectToDaemon(here, trusting, to)).link;
  fingerprint = there.fingerprint;
  announced = [];
  departures = new Departures({ identity: here, trust: trusting, version: '1' });
  const take = async (link: FrameLink): Promise<void> => {
    const request = jsonIn(await answerOf(link, FRAME.REQUEST)) as { kind?: string; files?: { name: string }[] };
    if (request.kind === 'ask') return link.sendJson(FRAME.RESULT, { owner: 'source' });
    announced = (request.files ?? []).map(({ name }) => name);
    await link.sendJson(FRAME.STEP, { need: [], behind: [] });
    await link.send(FRAME.STARTED);
  };
  const refuse = (link: FrameLink): void => link.destroy();
  const listening = await listenForDaemons(there, trusted, parseAddress('127.0.0.1:0'), (link) => void take(link).catch(() => undefined), refuse); // prettier-ignore
  to = parseAddress(listening.address);
  goAway = () => listening.close();
});
afterEach(async () => {
  departures.close();
  await goAway();
  rmSync(path, { recursive: true });
});

/** A process that says this of its machine when it is to go, and ends. */
const processThat = (says: (link: FrameLink) => Promise<unknown>): RunningMachine => {
  const run: Partial<RunningMachine> = {
    disks: () => Promise.resolve([]),
    async migrate() {
      const [ours, theirs] = duplexPair();
      const link = new FrameLink(ours);
      await says(link);
      void link.end();
      return new FrameLink(theirs);
    },
  };
  return run as RunningMachine;
};
const move = (run: RunningMachine, onStep: (text: string) => void = () => undefined): Promise<unknown> =>
  departures.move(folder, run, to, { onStep });

test('a daemon that ends before it knows whose a machine is leaves written down that this is to be asked', async () => {
  const asked = Promise.withResolvers<void>();
  const run = processThat(goAway);
  const moving = move(run, (text) => text.startsWith('asking') && asked.resolve());
  moving.catch(() => undefined);
  await asked.promise;
  departures.close();
  await expect(moving).rejects.toMatchObject({ code: 'interrupted' });
  expect(existsSync(folder.leaving)).toBe(true);
});

test('a machine that stays goes nowhere any more, whatever the other daemon calls it', async () => {
  const failure = wireFailure(new HostError('interrupted', 'no'));
  await expect(move(processThat((link) => link.sendJson(FRAME.ERROR, failure)))).rejects.toMatchObject({
    code: 'interrupted',
  });
  expect(existsSync(folder.leaving)).toBe(false);
});

test('a process that closes what it had of a machine that runs elsewhere says so', async () => {
  const run = { status: () => Promise.resolve({ isMoved: true }) } as unknown as RunningMachine;
  const settled = departures.settle({ migration: 'm', ...to, fingerprint }, run, () => undefined);
  await expect(settled).resolves.toBe('target');
});

test('only the daemon that a machine went to is believed whose it is', async () => {
  const another = Promise.withResolvers<string>();
  const asking = departures.owner({ migration: 'm', ...to, fingerprint: 'another' }, another.resolve);
  asking.catch(() => undefined);
  expect(await another.promise).toContain('is another one than the one whose fingerprint is another');
  departures.close();
  await expect(asking).rejects.toMatchObject({ code: 'interrupted' });
  await expect(departures.owner({ migration: 'm', ...to, fingerprint }, () => undefined)).resolves.toBe('source');
});

test('where a machine goes is written down with the fingerprint of who is there', async () => {
  let written: unknown;
  const failure = wireFailure(new HostError('interrupted', 'no'));
  const run = processThat((link) => {
    written = departures.leavingOf(folder);
    return link.sendJson(FRAME.ERROR, failure);
  });
  await expect(move(run)).rejects.toMatchObject({ code: 'interrupted' });
  expect(written).toMatchObject({ ...to, fingerprint });
});

test('locks on files of its image stay', async () => {
  for (const name of ['disk.qcow2', '.disk.qcow2.ringfence-lock']) writeFileSync(join(folder.image, name), name);
  const failure = wireFailure(new HostError('interrupted', 'no'));
  await expect(move(processThat((link) => link.sendJson(FRAME.ERROR, failure)))).rejects.toMatchObject({
    code: 'interrupted',
  });
  expect(announced).toEqual(['disk.qcow2']);
});

test('a daemon that says nothing is not heard any more after as long as it may', async () => {
  const link = await connect();
  limitSilence(link, 20);
  // Nothing was asked of it.
  expect(await link.next()).toBeUndefined();
});

test('a daemon that says something now and then is heard on, and not for longer after it has said nothing', async () => {
  const link = await connect();
  await link.sendJson(FRAME.REQUEST, {});
  await answerOf(link, FRAME.STEP);
  await answerOf(link, FRAME.STARTED);
  limitSilence(link, 200);
  const beganMs = performance.now();
  // What is sent and taken is a sign of life, too.
  for (let n = 0; n < 3; n++) {
    await new Promise((resolve) => void setTimeout(resolve, 100));
    await link.send(FRAME.DATA, new Uint8Array(10));
  }
  expect(await link.next()).toBeUndefined();
  expect(performance.now() - beganMs).toBeGreaterThan(480);
  expect(performance.now() - beganMs).toBeLessThan(480 + 400);
});
