/** Machines that come from another daemon, which is only pretended, as is the process that takes them. */

import { hash, randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { duplexPair } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { imageFileName } from '@ringfence/images/cache-folder';
import { expect, test, vi } from 'vitest';
import { FRAME, type FrameKind, FrameLink, HEADER_BYTES, jsonIn, kindIn } from '../control/frames.ts';
import { HostError } from '../failure.ts';
import type { MachineConfig } from '../machine-folder/config.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { PretendDaemon, PretendProcesses } from '../daemon/testing/pretend.ts';
import type { DomainPlace, JoiningMachine } from '../vm-process/domains.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import { arrivedBy, Arrivals, type ArrivalsOptions, type ExpectedMachine } from './arrivals.ts';
import { cameFrom, Mailbox, missesForEver } from './mailbox.ts';
import { answerOf, DAEMON_PROTOCOL } from './protocol.ts';
import { Trust } from './trust.ts';

/** Machines arrive at once. */
class ArrivingProcesses extends PretendProcesses {
  /** Of processes that wait for pages: their ends of the connection. */
  readonly waiting: FrameLink[] = [];
  waits = false;
  /** Of a process that ends before it says that its machine runs: what it does before. */
  ends: (() => void) | undefined;

  /** Labels of processes that machines came to. */
  readonly joined: string[] = [];

  override join(place: DomainPlace, machine: JoiningMachine): Promise<RunningMachine> {
    this.joined.push(place.label);
    return super.join(place, machine);
  }

  override async start(name: string, id: string): Promise<RunningMachine> {
    const run = await super.start(name, id);
    run.arrive = async () => {
      const [ours, theirs] = linked();
      if (this.ends === undefined) await ours.sendJson(FRAME.STARTED, {});
      else this.ends();
      if (this.waits) this.waiting.push(ours);
      else void ours.end();
      return theirs;
    };
    return run;
  }
}

function linked(): [FrameLink, FrameLink] {
  const [one, other] = duplexPair();
  return [new FrameLink(one), new FrameLink(other)];
}

interface PretendTarget {
  readonly from: PretendDaemon;
  readonly to: PretendDaemon;
  readonly state: string;
  readonly trust: Trust;
  readonly arrivals: Arrivals;
  /** Those of a daemon that comes after. */
  next(): Arrivals;
  readonly processes: ArrivingProcesses;
  readonly failures: unknown[];
  readonly request: Record<string, unknown>;
  /** What it is told instead of what it asks for. */
  refusal(request: Record<string, unknown>): Promise<unknown>;
  ask(kind: 'ask' | 'settled'): Promise<unknown>;
}

/** Two daemons, a machine at one of them, and what the other one is asked to take it with. */
async function withTarget(
  work: (target: PretendTarget) => Promise<void>,
  arrived: readonly string[] = [],
): Promise<void> {
  const from = await PretendDaemon.begin();
  const to = await PretendDaemon.begin();
  const state = mkdtempSync(join(tmpdir(), 'ringfence-arrivals-'));
  writeFileSync(join(state, 'trusted.json'), JSON.stringify({ trusted: [], arrived }));
  try {
    await from.create('web');
    const { folder } = from.machines.find('web');
    const failures: unknown[] = [];
    const processes = new ArrivingProcesses();
    const trust = new Trust(state);
    const options = {
      trust,
      version: '1',
      processes,
      machines: join(to.folder, 'machines'),
      freeMemoryBytes: () => 2 ** 40,
      expect: async (config: MachineConfig) => {
        const entry = await to.machines.moves.expect(config);
        const { id, name, folder: path } = entry;
        return { id, name, folder: path, ...(await to.machines.moves.room(entry, config)) };
      },
      arrived: ({ id }: ExpectedMachine, run: RunningMachine) => to.machines.moves.arrived(to.machines.find(id), run),
      failed: ({ id }: ExpectedMachine) => to.machines.moves.notArrived(to.machines.find(id)),
      folders: () => [folder, ...to.machines.folders],
      running: (machine: MachineFolder) => to.machines.running(machine),
      cache: join(state, 'cache'),
      onFailure: (error: unknown) => void failures.push(error),
    } satisfies ArrivalsOptions;
    const arrivals = new Arrivals(options);
    const yaml = readFileSync(folder.yaml, 'utf8');
    const migration = randomUUID();
    const request = {
      kind: 'migrate',
      protocol: DAEMON_PROTOCOL,
      version: '1',
      migration,
      yaml,
      files: [],
      disks: [],
    };
    const told = async (
      asked: Record<string, unknown>,
      kind: typeof FRAME.RESULT | typeof FRAME.STEP,
    ): Promise<unknown> => {
      const [there, here] = linked();
      const serving = arrivals.serve(here, 'its fingerprint');
      try {
        await there.sendJson(FRAME.REQUEST, asked);
        return jsonIn(await answerOf(there, kind));
      } finally {
        there.destroy();
        await serving;
      }
    };
    await work({
      from,
      to,
      state,
      trust,
      arrivals,
      next: () => new Arrivals(options),
      processes,
      failures,
      request,
      refusal: (asked) =>
        told(asked, FRAME.STEP).then(
          () => 'none',
          (error: unknown) => error,
        ),
      ask: (kind) => told({ kind, protocol: DAEMON_PROTOCOL, migration }, FRAME.RESULT),
    });
  } finally {
    rmSync(state, { recursive: true, force: true });
    await Promise.all([from.end(), to.end()]);
  }
}

test('a machine that has arrived is here, although that cannot be written down', () =>
  withTarget(async ({ from, to, state, arrivals, failures, request, ask }) => {
    // As if the disk were full.
    rmSync(state, { recursive: true });
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'its fingerprint');
    const { id } = from.machines.find('web');
    await there.sendJson(FRAME.REQUEST, request);
    await answerOf(there, FRAME.STEP);
    await answerOf(there, FRAME.STARTED);
    void there.end();
    await serving;
    expect([to.state(id), failures]).toMatchObject(['running', [{ code: 'unavailable' }]]);

    expect(await ask('ask')).toEqual({ owner: 'target' });
  }));

test('a machine comes without the label that it had: whom it trusts is not for another daemon to say', () =>
  withTarget(async ({ from, to, arrivals, request }) => {
    const { id } = from.machines.find('web');
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'its fingerprint');
    const yaml = String(request['yaml']).replace('cpus:', '# as here\nlabel: shop\ncpus:');
    await there.sendJson(FRAME.REQUEST, { ...request, yaml });
    await answerOf(there, FRAME.STEP);
    await answerOf(there, FRAME.STARTED);
    void there.end();
    await serving;
    const { folder } = to.machines.find(id);
    expect(readFileSync(folder.yaml, 'utf8')).not.toContain('label');
    expect((await to.machines.inspect(id)).label).toBeUndefined();
    expect(folder.path).toBe(join(to.folder, 'machines', 'web'));
  }));

test('a machine keeps its label where the daemon that it comes from is trusted with that, among those that have it', () =>
  withTarget(async ({ from, to, trust, arrivals, processes, request, refusal }) => {
    const { id } = from.machines.find('web');
    trust.add('its fingerprint', ['shop']);
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'its fingerprint');
    const yaml = String(request['yaml']).replace('cpus:', 'label: shop\ncpus:');
    await there.sendJson(FRAME.REQUEST, { ...request, yaml });
    expect(jsonIn(await answerOf(there, FRAME.STEP))).toMatchObject({ label: 'shop' });
    await answerOf(there, FRAME.STARTED);
    void there.end();
    await serving;
    const { folder } = to.machines.find(id);
    expect([folder.path, readFileSync(folder.yaml, 'utf8')]).toEqual([join(to.folder, 'machines', '@shop', '1'), yaml]);
    expect((await to.machines.inspect(id)).label).toBe('shop');
    // And there is nothing that it would wait for.
    expect([processes.joined, existsSync(folder.cameFrom)]).toEqual([['shop'], false]);
    // Another one of it has to be like it.
    const other = yaml.replace(id, randomUUID()).replace('name: web', 'name: db').replace('cpus: 1', 'cpus: 2');
    expect(await refusal({ ...request, migration: randomUUID(), yaml: other })).toMatchObject({ code: 'bad-argument' });
    expect(existsSync(join(to.folder, 'machines', '@shop', '2'))).toBe(false);
  }));

test('that a machine came is remembered until who it came from does not ask any more', () =>
  withTarget(async ({ from, state, arrivals, request, ask }) => {
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'its fingerprint');
    await there.sendJson(FRAME.REQUEST, request);
    await answerOf(there, FRAME.STEP);
    await answerOf(there, FRAME.STARTED);
    void there.end();
    await serving;
    expect(await ask('ask')).toEqual({ owner: 'target' });
    expect(new Trust(state).hasArrived(String(request['migration']))).toBe(true);
    // As its process wrote it down.
    const { folder } = from.machines.find('web');
    mkdirSync(folder.run, { recursive: true });
    writeFileSync(folder.arrived, JSON.stringify({ migration: request['migration'] }));
    await ask('settled');
    // Nor does the next daemon remember it.
    arrivals.recall([folder]);
    expect(new Trust(state).hasArrived(String(request['migration']))).toBe(false);
    // It came here all the same.
    expect(arrivedBy(folder)).toBe(request['migration']);
  }));

test('nobody hears that a machine has not come while it cannot be read whether it has', () =>
  withTarget(async ({ from, arrivals, failures, ask, request }) => {
    const { folder } = from.machines.find('web');
    mkdirSync(folder.run, { recursive: true });
    // The system finds no end of it: ELOOP.
    symlinkSync(folder.arrived, folder.arrived);
    arrivals.recall([folder]);
    expect(failures).toMatchObject([{ code: 'unavailable' }]);
    await expect(ask('ask')).rejects.toMatchObject({ code: 'unavailable' });
    rmSync(folder.arrived);
    writeFileSync(folder.arrived, JSON.stringify({ migration: request['migration'] }));
    expect(await ask('ask')).toEqual({ owner: 'target' });
  }));

test('a machine whose process ended as it came is looked at until it can be read whether it has come', () =>
  withTarget(async ({ from, to, arrivals, processes, failures, request, ask }) => {
    const { id } = from.machines.find('web');
    processes.ends = () => {
      const { arrived } = to.machines.find(id).folder;
      rmSync(arrived);
      symlinkSync(arrived, arrived);
    };
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'its fingerprint');
    await there.sendJson(FRAME.REQUEST, request);
    await answerOf(there, FRAME.STEP);
    await expect.poll(() => failures).toMatchObject([{ code: 'unavailable' }]);
    const asked = ask('ask');
    const { folder } = to.machines.find(id);
    rmSync(folder.arrived);
    writeFileSync(folder.arrived, JSON.stringify({ migration: request['migration'] }));
    expect(await asked).toEqual({ owner: 'target' });
    await serving;
    expect(existsSync(folder.yaml)).toBe(true);
  }));

test.each(['', '{"migration"', 'nothing'])(
  'a note that its process did not write whole, %j, says that no machine came',
  (text) =>
    withTarget(async ({ from, arrivals, ask }) => {
      const { folder } = from.machines.find('web');
      mkdirSync(folder.run, { recursive: true });
      if (text !== 'nothing') writeFileSync(folder.arrived, text);
      arrivals.recall([folder]);
      expect(await ask('ask')).toEqual({ owner: 'source' });
    }),
);

test('nothing is forgotten for a machine that comes: it does not', () =>
  withTarget(
    async ({ state, refusal, request, to }) => {
      expect(await refusal(request)).toMatchObject({
        code: 'too-many',
        message: expect.stringContaining('16384 machines'),
      });
      expect(await to.machines.list()).toEqual([]);
      expect(new Trust(state).hasArrived('migration 0')).toBe(true);
    },
    Array.from({ length: 16_384 }, (_, index) => `migration ${index}`),
  ));

test('what is asked for and makes no sense is told with the name of its field', () =>
  withTarget(async ({ refusal, request }) => {
    const file = { folder: 'image', name: '.lock', bytes: 0, sha256: hash('sha256', '') };
    expect(await refusal({ ...request, files: [file] })).toMatchObject({
      code: 'protocol',
      message: expect.stringContaining('"files.0.name" does not have the form'),
    });
    expect(await refusal({ ...request, yaml: '#'.repeat(256 * 1024 + 1) })).toMatchObject({
      message: expect.stringContaining('"yaml" must have at most 262144 characters'),
    });
  }));

test('a machine whose image has no room here does not come', () =>
  withTarget(async ({ to, refusal, request }) => {
    const files = ['kernel', 'initrd', 'disk'].map((name) => ({
      folder: 'image',
      name,
      bytes: 2 ** 40,
      sha256: hash('sha256', name),
    }));
    expect(await refusal({ ...request, files })).toMatchObject({
      code: 'no-space',
      message: expect.stringMatching(/^its disks and images take 3 Ti/),
    });
    expect(readdirSync(join(to.folder, 'machines'))).toEqual([]);
  }));

test('a file system that is full all the same is no bug', () =>
  withTarget(async ({ to, refusal, request }) => {
    vi.spyOn(to.machines.moves, 'expect').mockRejectedValue(Object.assign(new Error('write'), { code: 'EDQUOT' }));
    expect(await refusal(request)).toMatchObject({
      code: 'no-space',
      message: 'it cannot be there: no space is left on the device',
    });
  }));

test('what another daemon sends is not written into a file that a machine here has', () =>
  withTarget(async ({ from, arrivals, request }) => {
    const { image } = from.machines.find('web').folder;
    const [name = ''] = readdirSync(image);
    const own = readFileSync(join(image, name));
    const file = { folder: 'image', name, bytes: own.length, sha256: hash('sha256', own) };
    const evil = Buffer.alloc(own.length, 'evil');
    const files = [file, { ...file, sha256: hash('sha256', evil) }];
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'its fingerprint');
    await there.sendJson(FRAME.REQUEST, { ...request, files });
    await expect(answerOf(there, FRAME.STEP)).rejects.toMatchObject({ code: 'protocol' });
    await there.send(FRAME.DATA, evil);
    await there.end();
    await serving;
    expect(readFileSync(join(image, name))).toEqual(own);
  }));

test('pages follow over another link of the daemon that the machine came from, and of no other one', () =>
  withTarget(async ({ processes, arrivals, request, to }) => {
    processes.waits = true;
    const joined = (from: string): Promise<FrameLink> => connectedTo(arrivals, from, { ...request, kind: 'resume' });
    // Nobody knows it yet.
    expect(jsonIn(await answerOf(await joined('one'), FRAME.RESULT))).toEqual({ isComplete: false });
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'one');
    await there.sendJson(FRAME.REQUEST, request);
    await answerOf(there, FRAME.STEP);
    await answerOf(there, FRAME.STARTED);
    await expect.poll(() => processes.waiting.length).toBe(1);
    const [process] = processes.waiting;
    await expect(answerOf(await joined('another'), FRAME.STARTED)).rejects.toMatchObject({ code: 'untrusted' });
    there.destroy();
    expect((await process!.next())?.kind).toBe(FRAME.INPUT_END);
    const next = await joined('one');
    expect((await process!.next())?.kind).toBe(FRAME.STARTED);
    await process!.send(FRAME.EVENT);
    await answerOf(next, FRAME.STARTED);
    const { folder } = to.machines.find('web');
    writeFileSync(folder.arrived, JSON.stringify({ migration: request['migration'] }));
    new Mailbox(folder).allHere();
    await process!.sendJson(FRAME.RESULT, {});
    void process!.end();
    await serving;
    expect(jsonIn(await answerOf(await joined('one'), FRAME.RESULT))).toEqual({ isComplete: true });
  }));

test('pages follow to a process that was there before the daemon, by its folder', () =>
  withTarget(async (target) => {
    const { next, request } = target;
    const folder = await waitingMachine(target);
    expect(cameFrom(folder)).toBe('one');
    const daemon = next();
    const joined = (from: string): Promise<FrameLink> => connectedTo(daemon, from, { ...request, kind: 'resume' });
    await expect(answerOf(await joined('another'), FRAME.STARTED)).rejects.toMatchObject({ code: 'untrusted' });
    const link = await joined('one');
    const process = new Mailbox(folder);
    const came = Buffer.alloc(64);
    await expect.poll(() => process.read(came)).toBe(HEADER_BYTES);
    expect(kindIn(came)).toBe(FRAME.STARTED);
    process.write(frame(FRAME.EVENT), 0);
    await answerOf(link, FRAME.STARTED);
    await link.send(FRAME.DATA, Buffer.from('a page'));
    await expect.poll(() => process.read(came)).toBe(HEADER_BYTES + 6);
    expect(came.subarray(HEADER_BYTES, HEADER_BYTES + 6).toString()).toBe('a page');

    // This daemon's link may be lost as well.
    link.destroy();
    await expect.poll(() => process.read(came)).toBe(HEADER_BYTES);
    expect(kindIn(came)).toBe(FRAME.INPUT_END);
    const again = await joined('one');
    await expect.poll(() => process.read(came)).toBe(HEADER_BYTES);
    process.write(frame(FRAME.EVENT), 0);
    await answerOf(again, FRAME.STARTED);
    expect(daemon.isReceiving).toBe(true);
    process.write(frame(FRAME.RESULT), 0);
    await expect.poll(() => daemon.isReceiving).toBe(false);
    expect([existsSync(folder.pagesIn), existsSync(folder.pagesOut)]).toEqual([false, false]);
    process.allHere();
    expect(jsonIn(await answerOf(await joined('one'), FRAME.RESULT))).toEqual({ isComplete: true });
  }));

test('a process that was there before the daemon hears that nothing comes any more', () =>
  withTarget(async (target) => {
    const { next, request } = target;
    const folder = await waitingMachine(target);
    await answerOf(await connectedTo(next(), 'one', { ...request, kind: 'settled' }), FRAME.RESULT);
    expect(() => new Mailbox(folder).read(Buffer.alloc(64))).toThrow('has them no more');
  }));

test('of a machine that has begun again since, no pages are asked for any more', () =>
  withTarget(async (target) => {
    const { next, request } = target;
    missesForEver(await waitingMachine(target));
    const theirs = await connectedTo(next(), 'one', { ...request, kind: 'resume' });
    expect(jsonIn(await answerOf(theirs, FRAME.RESULT))).toEqual({ isComplete: false });
  }));

/** Connects and asks for that, as the daemon of that fingerprint. */
async function connectedTo(arrivals: Arrivals, from: string, request: Record<string, unknown>): Promise<FrameLink> {
  const [there, here] = linked();
  void arrivals.serve(here, from);
  await there.sendJson(FRAME.REQUEST, request);
  return there;
}

/** The folder of a machine that came from the daemon `one`, and whose process waits for pages. */
async function waitingMachine({ arrivals, processes, request, to }: PretendTarget): Promise<MachineFolder> {
  processes.waits = true;
  const link = await connectedTo(arrivals, 'one', request);
  await answerOf(link, FRAME.STEP);
  await answerOf(link, FRAME.STARTED);
  const { folder } = to.machines.find('web');
  await expect.poll(() => to.machines.running(folder)).toBeDefined();
  expect(processes.waiting.length).toBe(1);
  writeFileSync(folder.arrived, JSON.stringify({ migration: request['migration'] }));
  return folder;
}

function frame(kind: FrameKind): Buffer {
  return Buffer.from([0, 0, 0, 1, kind]);
}

test('a file that the cache of images has is not sent', () =>
  withTarget(async ({ state, arrivals, request }) => {
    const kernel = Buffer.from('a kernel that no machine here has');
    const file = { folder: 'image', name: 'kernel', bytes: kernel.length, sha256: hash('sha256', kernel) };
    const changed = { ...file, name: 'initrd', sha256: hash('sha256', 'another') };
    const cached = join(state, 'cache/images/tiny-stable');
    mkdirSync(cached, { recursive: true });
    writeFileSync(join(cached, imageFileName('kernel', file.sha256)), kernel);
    writeFileSync(join(cached, imageFileName('initrd', changed.sha256)), kernel);
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'its fingerprint');
    await there.sendJson(FRAME.REQUEST, { ...request, files: [file, changed] });
    expect(jsonIn(await answerOf(there, FRAME.STEP))).toMatchObject({ need: ['image/initrd'] });
    there.destroy();
    await serving;
  }));

test('one that does not come, and whose process answers late, is nobody’s before that has ended it', () =>
  withTarget(async ({ from, to, trust, arrivals, processes, request, ask }) => {
    const { id } = from.machines.find('web');
    trust.add('its fingerprint', ['shop']);
    let refusals = 2;
    processes.ends = () => {
      const run = processes.runs.get(id)!;
      const { kill } = run;
      run.kill = () => (refusals-- > 0 ? Promise.reject(new HostError('timeout', 'not now')) : kill());
    };
    const [there, here] = linked();
    const serving = arrivals.serve(here, 'its fingerprint');
    const yaml = String(request['yaml']).replace('cpus:', 'label: shop\ncpus:');
    await there.sendJson(FRAME.REQUEST, { ...request, yaml });
    await answerOf(there, FRAME.STEP);
    await answerOf(there, FRAME.STARTED);
    there.destroy();
    expect(await ask('ask')).toEqual({ owner: 'source' });
    await serving;
    expect([refusals, await to.machines.list(), existsSync(join(to.folder, 'machines', '@shop'))]).toEqual([
      -1,
      [],
      false,
    ]);
  }));
