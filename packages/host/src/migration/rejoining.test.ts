/** A machine whose pages are still here: how its daemon comes to another link for them. Its process and the other daemon are only pretended. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { duplexPair } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FRAME, FrameLink, jsonIn } from '../control/frames.ts';
import { wireFailure } from '../control/wire.ts';
import type { VMStatus } from '../control/operations.ts';
import { HostError } from '../failure.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import type { RunEnd, RunningMachine } from '../vm-process/running.ts';
import { identityIn } from './identity.ts';
import { type Leaving, readLeaving } from './leaving.ts';
import { answerOf } from './protocol.ts';
import { MAXIMUM_REJOINS, Rejoining } from './rejoining.ts';
import { type Address, type Listening, listenForDaemons, parseAddress } from './tls-link.ts';
import { Trust } from './trust.ts';

let path: string;
let folder: MachineFolder;
let rejoining: Rejoining;
let listening: Listening;
let to: Address;
let leaving: Leaving;
/** What the other daemon does with a link that it is asked for. */
let answer: (link: FrameLink) => Promise<unknown>;
const ending = new AbortController();
beforeEach(async () => {
  path = mkdtempSync(join(tmpdir(), 'ringfence-rejoining-'));
  for (const name of ['here', 'there']) mkdirSync(join(path, name));
  folder = machineFolder(join(path, 'web'));
  mkdirSync(folder.path);
  const [here, there] = [identityIn(join(path, 'here')), identityIn(join(path, 'there'))];
  const [trusting, trusted] = [new Trust(join(path, 'here')), new Trust(join(path, 'there'))];
  trusting.add(there.fingerprint);
  trusted.add(here.fingerprint);
  rejoining = new Rejoining({ identity: here, trust: trusting, ending: ending.signal }, 1);
  const serve = async (link: FrameLink): Promise<void> => {
    expect(jsonIn(await answerOf(link, FRAME.REQUEST))).toMatchObject({ kind: 'resume', migration: 'm' });
    await answer(link);
  };
  listening = await listenForDaemons(there, trusted, parseAddress('127.0.0.1:0'), (link) => void serve(link), (link) => link.destroy()); // prettier-ignore
  to = parseAddress(listening.address);
  leaving = { migration: 'm', ...to, fingerprint: there.fingerprint };
});
afterEach(async () => {
  await listening.close();
  rmSync(path, { recursive: true });
});

/** One that keeps pages until it has given them over a link, or lets them go. */
class KeepingProcess {
  readonly end = Promise.withResolvers<RunEnd>();
  letGo: string | undefined;
  heard = '';
  readonly run: RunningMachine;

  constructor() {
    const run: Partial<RunningMachine> = {
      ended: this.end.promise,
      status: async () => ({ isMoved: this.letGo !== undefined, pagesLeft: 1 }) as VMStatus,
      letGo: async (how) => void (this.letGo = how),
      rejoin: async () => {
        const [ours, theirs] = duplexPair();
        void this.#give(new FrameLink(ours));
        return new FrameLink(theirs);
      },
    };
    this.run = run as RunningMachine;
  }

  async #give(link: FrameLink): Promise<void> {
    await link.send(FRAME.DATA, Buffer.from('pages'));
    const { payload } = (await link.next()) ?? { payload: Buffer.of() };
    this.heard = payload.toString();
    if (this.heard === 'all is here') this.letGo = 'complete';
    await link.end();
  }
}

function follow({ run }: KeepingProcess, steps: string[] = [], givenUp = new AbortController().signal): Promise<void> {
  const over = new AbortController().signal;
  return rejoining.follow({ folder, run, leaving, onStep: (text) => void steps.push(text), givenUp, over });
}

const says = async (link: FrameLink, text: string): Promise<void> => {
  await link.send(FRAME.STARTED);
  await answerOf(link, FRAME.DATA);
  await link.send(FRAME.DATA, Buffer.from(text));
};

test('a link that is lost again is followed by another one, until all pages are there', async () => {
  const process = new KeepingProcess();
  let links = 0;
  answer = async (link) => {
    if (++links < 3) link.destroy();
    else await says(link, 'all is here');
  };
  await follow(process);
  expect([links, process.heard, process.letGo]).toEqual([3, 'all is here', 'complete']);
  expect(readLeaving(folder)).toEqual(leaving);
});

test.each([
  [true, 'complete'],
  [false, 'never'],
])('where the machine is not to be given anything, complete %s, its pages go: %s', async (isComplete, letGo) => {
  const process = new KeepingProcess();
  answer = (link) => link.sendJson(FRAME.RESULT, { isComplete });
  await follow(process);
  expect(process.letGo).toBe(letGo);
});

test('a daemon with another key is given nothing, however much it is trusted', async () => {
  const process = new KeepingProcess();
  const steps: string[] = [];
  const givenUp = new AbortController();
  leaving = { ...leaving, fingerprint: 'f'.repeat(64) };
  let asked = 0;
  answer = async () => asked++;
  const following = follow(process, steps, givenUp.signal);
  await expect
    .poll(() => steps.some((step) => step.includes('is another one than the one whose fingerprint')))
    .toBe(true);
  givenUp.abort();
  await following;
  expect([asked, process.heard, process.letGo]).toEqual([0, '', 'never']);
});

test('it connects so many times, and then again when it is told to, at another address too', async () => {
  const process = new KeepingProcess();
  const steps: string[] = [];
  let refused = 0;
  answer = async (link) => {
    refused++;
    await link.sendJson(FRAME.ERROR, wireFailure(new HostError('untrusted', 'not yours')));
  };
  const { port } = leaving;
  expect(rejoining.wake(folder, to)).toBe(false);
  // Nobody is there.
  leaving = { ...leaving, port: 1 };
  const following = follow(process, steps);
  const inVain = (): boolean => steps.at(-1)?.startsWith(`${MAXIMUM_REJOINS} times in vain`) === true;
  await expect.poll(inVain, { timeout: 20_000, interval: 20 }).toBe(true);
  expect(refused).toBe(0);
  answer = (link) => says(link, 'all is here');
  expect(rejoining.wake(folder, { host: '127.0.0.1', port })).toBe(true);
  await following;
  expect([process.letGo, readLeaving(folder)?.port]).toEqual(['complete', port]);
  expect(rejoining.wake(folder, to)).toBe(false);
}, 30_000);

test('whose process is gone keeps nothing', async () => {
  const process = new KeepingProcess();
  answer = async (link) => {
    process.end.resolve({ kind: 'lost' });
    link.destroy();
  };
  await follow(process);
  expect(process.letGo).toBeUndefined();
});
