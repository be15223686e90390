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
import type { VMStatus } from '../control/operations.ts';
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
/** What the other daemon was told that it may forget. */
let forgotten: (string | undefined)[];
/** Ends the connection that a machine goes over. */
let lose: () => void;
/** Whose the other daemon says that a machine is. */
let owner: 'source' | 'target';
/** How often it was asked for a link over which pages follow; it has all of them by then. */
let resumed: number;
/** Which it says that the machine keeps. */
let labelThere: { readonly label?: string };
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
  [owner, forgotten, resumed] = ['source', [], 0];
  departures = new Departures({ identity: here, trust: trusting, version: '1' });
  labelThere = {};
  const take = async (link: FrameLink): Promise<void> => {
    const request = jsonIn(await answerOf(link, FRAME.REQUEST)) as {
      kind?: string;
      migration?: string;
      files?: { name: string }[];
    };
    if (request.kind === 'settled') {
      forgotten.push(request.migration);
      return link.sendJson(FRAME.RESULT, {});
    }
    if (request.kind === 'resume') {
      resumed++;
      return link.sendJson(FRAME.RESULT, { isComplete: true });
    }
    if (request.kind === 'ask') return link.sendJson(FRAME.RESULT, { owner });
    lose = () => link.destroy();
    announced = (request.files ?? []).map(({ name }) => name);
    await link.sendJson(FRAME.STEP, { need: [], behind: [], ...labelThere });
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
    ended: Promise.resolve({ kind: 'lost' }),
    status: () => Promise.reject(new HostError('ended', 'it has ended')),
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
const NEVER = new Promise<never>(() => undefined);

/** One that has said COMMIT when its connection is lost, and stands in doubt until it is told. */
class Doubtful {
  readonly told: string[] = [];
  /** How often it does not answer, and how often it does not hear what it is told. */
  silent = 0;
  deaf = 0;
  /** It keeps pages for the other end once it has heard that the machine is there, until it may let them go. */
  keepsPages = false;
  isMoved = false;
  readonly goes = Promise.withResolvers<void>();
  readonly #here: FrameLink;
  readonly #there: FrameLink;
  readonly run: RunningMachine;

  constructor() {
    const [ours, theirs] = duplexPair();
    [this.#here, this.#there] = [new FrameLink(ours), new FrameLink(theirs)];
    const run: Partial<RunningMachine> = {
      ended: NEVER,
      disks: () => Promise.resolve([]),
      migrate: async () => {
        void this.#stand();
        this.goes.resolve();
        return this.#there;
      },
      status: async () => {
        if (this.silent-- > 0) throw new HostError('timeout', 'it does not answer');
        const isInDoubt = this.told.length === 0;
        if (this.isMoved) return { isMoved: true } as VMStatus;
        return { isInDoubt, ...(this.keepsPages && !isInDoubt ? { pagesLeft: 5 } : {}) } as VMStatus;
      },
      settle: async (whose) => {
        if (this.deaf-- > 0) throw new HostError('timeout', 'it does not hear');
        this.told.push(whose);
        if (this.keepsPages) return;
        if (whose === 'target') await this.#here.sendJson(FRAME.RESULT, OUTCOME);
        else await this.#here.sendJson(FRAME.ERROR, wireFailure(new HostError('unavailable', 'no')));
        void this.#here.end();
      },
    };
    run.letGo = async (how) => {
      this.told.push(how);
      this.isMoved = true;
    };
    this.run = run as RunningMachine;
  }

  async #stand(): Promise<void> {
    while ((await this.#here.next())?.kind !== FRAME.INPUT_END);
    await this.#here.sendJson(FRAME.STEP, { kind: 'in-doubt' });
  }
}

const OUTCOME = {
  rounds: 1,
  pagesSent: 1,
  bytesSent: 1,
  diskBytesSent: 0,
  pagesAfter: 0,
  downtimeNs: 1,
  totalNs: 1,
  isComplete: true,
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

test.each(['target', 'source'] as const)(
  'a machine that is given up when it may be handed over is the %s’s if the other daemon says so',
  async (whose) => {
    owner = whose;
    const givenUp = new AbortController();
    const doubtful = new Doubtful();
    const moving = departures.move(folder, doubtful.run, to, {
      givenUp: givenUp.signal,
      onStep: () => undefined,
    });
    void doubtful.goes.promise.then(() => givenUp.abort());
    if (whose === 'target') await expect(moving).resolves.toMatchObject({ isComplete: true });
    else await expect(moving).rejects.toMatchObject({ code: 'aborted' });
    // Of one that is there it stays written down until nothing of it is here.
    expect([doubtful.told, existsSync(folder.leaving)]).toEqual([[whose], whose === 'target']);
  },
);

test('a machine that is given up when nobody answers whose it is may run there, which is said', async () => {
  const givenUp = new AbortController();
  const { run, told, goes } = new Doubtful();
  const moving = departures.move(folder, run, to, { givenUp: givenUp.signal, onStep: () => undefined });
  void goes.promise.then(goAway).then(() => givenUp.abort());
  await expect(moving).rejects.toMatchObject({
    code: 'aborted',
    doubt: `it may run at ${to.host}:${to.port}, which did not answer`,
  });
  // Until its process is ended, who asks for it later has to ask there, too.
  expect([told, existsSync(folder.leaving)]).toEqual([[], true]);
});

test('a process that says nothing is not waited for when its move was given up before it began', async () => {
  const givenUp = new AbortController();
  const silent = {
    ended: NEVER,
    disks: () => Promise.resolve([]),
    status: () => Promise.reject(new HostError('timeout', 'it does not answer')),
    async migrate() {
      givenUp.abort();
      return new FrameLink(duplexPair()[0]);
    },
  } as unknown as RunningMachine;
  const moving = departures.move(folder, silent, to, { givenUp: givenUp.signal, onStep: () => undefined });
  await expect(moving).rejects.toMatchObject({ code: 'aborted' });
});

test('a process that was silent and wakes in doubt is told, again and again until it hears it', async () => {
  const doubtful = new Doubtful();
  [doubtful.silent, doubtful.deaf] = [6, 2];
  const settled = departures.ownership.settle({ migration: 'm', ...to, fingerprint }, doubtful.run, () => undefined);
  await expect(settled).resolves.toBe('source');
  expect(doubtful.told).toEqual(['source']);
});

test('a process that is in doubt and does not hear at once whose its machine is hears it later', async () => {
  const doubtful = new Doubtful();
  doubtful.deaf = 2;
  const moving = move(doubtful.run);
  void doubtful.goes.promise.then(() => lose());
  await expect(moving).rejects.toMatchObject({ code: 'unavailable' });
  expect(doubtful.told).toEqual(['source']);
});

test('a process that was silent when it lost its link, and keeps pages that are missing there, is told and sends them', async () => {
  const doubtful = new Doubtful();
  // For longer than it may take to say what becomes of it.
  [doubtful.keepsPages, doubtful.silent] = [true, Infinity];
  owner = 'target';
  let isOver = false;
  const steps: string[] = [];
  const moving = departures.move(folder, doubtful.run, to, { postCopy: true, onStep: (text) => void steps.push(text) });
  void moving.then(() => (isOver = true));
  await doubtful.goes.promise;
  lose();
  const silence = 'its process does not answer, and may keep pages that are missing there';
  await expect.poll(() => steps.includes(silence), { timeout: 5000 }).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect([isOver, doubtful.told]).toEqual([false, []]);
  doubtful.silent = 0;
  await expect(moving).resolves.toBeUndefined();
  expect([doubtful.told, resumed, departures.leavingOf(folder)?.postCopy]).toEqual([['target', 'complete'], 1, true]);
}, 10_000);

test('a machine that stays goes nowhere any more, whatever the other daemon calls it', async () => {
  const failure = wireFailure(new HostError('interrupted', 'no'));
  await expect(move(processThat((link) => link.sendJson(FRAME.ERROR, failure)))).rejects.toMatchObject({
    code: 'interrupted',
  });
  expect(existsSync(folder.leaving)).toBe(false);
});

test('a process that closes what it had of a machine that runs elsewhere says so', async () => {
  const run = { ended: NEVER, status: () => Promise.resolve({ isMoved: true }) } as unknown as RunningMachine;
  const settled = departures.ownership.settle({ migration: 'm', ...to, fingerprint }, run, () => undefined);
  await expect(settled).resolves.toBe('target');
});

test('only the daemon that a machine went to is believed whose it is', async () => {
  const another = Promise.withResolvers<string>();
  const asking = departures.ownership.owner({ migration: 'm', ...to, fingerprint: 'another' }, another.resolve);
  asking.catch(() => undefined);
  expect(await another.promise).toContain('is another one than the one whose fingerprint is another');
  departures.close();
  await expect(asking).rejects.toMatchObject({ code: 'interrupted' });
  await expect(departures.ownership.owner({ migration: 'm', ...to, fingerprint }, () => undefined)).resolves.toBe(
    'source',
  );
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

test('what the other daemon could not be told is told by the next one, unless the machine is still here', async () => {
  const here = (): Trust => new Trust(join(path, 'here'));
  for (const migration of ['gone', 'going']) departures.owe({ migration, ...to, fingerprint });
  const next = new Departures({ identity: identityIn(join(path, 'here')), trust: here(), version: '1' });
  writeFileSync(folder.leaving, JSON.stringify({ migration: 'going', ...to, fingerprint }));
  const telling = next.begin(() => [folder]);
  await expect.poll(() => here().owed.map(({ migration }) => migration)).toEqual(['going']);
  expect(forgotten).toEqual(['gone']);
  await next.settled({ migration: 'going', ...to, fingerprint });
  expect([forgotten, here().owed]).toEqual([['gone', 'going'], []]);
  next.close();
  await telling;
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

test('one that keeps its label there goes without pages that follow, or not at all', async () => {
  labelThere = { label: 'shop' };
  const labels: string[] = [];
  const [onStep, onLabel] = [() => undefined, (label: string): void => void labels.push(label)];
  const run = processThat((link) => link.sendJson(FRAME.RESULT, OUTCOME));
  await expect(departures.move(folder, run, to, { postCopy: true, onStep, onLabel })).rejects.toMatchObject({
    code: 'unsupported',
  });
  expect([labels, existsSync(folder.leaving)]).toEqual([[], false]);
  await departures.move(folder, run, to, { onStep, onLabel });
  expect(labels).toEqual(['shop']);
});
