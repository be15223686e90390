/** Random walks through the life of machines, against a model that knows nothing of the table of states. */

import { HAPPENINGS, type Operation, OPERATIONS, type State, TRANSITIONS } from '@ringfence/api';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PretendDaemon } from './testing/pretend.ts';

/** `npm run faults` walks farther. */
const RUNS = Number(process.env['RINGFENCE_STATE_RUNS'] ?? 15);
/** A second where nothing else runs. */
const TIMEOUT_MS = 60_000 + RUNS * 1000;

type Resting = 'stopped' | 'running' | 'paused' | 'gone';
const ASKED = ['start', 'stop', 'pause', 'resume', 'reset', 'remove', 'rename', 'snapshot', 'restore', 'fork'] as const;
type Asked = (typeof ASKED)[number];
const STEPS = [
  ...ASKED,
  'exit',
  'reboot',
  'restart daemon',
  'fail start',
  'fail ready',
  'fail pause',
  'fail resume',
  'fail snapshot',
  'fail fork',
  'fail restore',
] as const;

/** What becomes of a machine that is at rest; undefined when it is refused. */
function model(state: Resting, asked: Asked): Resting | undefined {
  switch (asked) {
    case 'start':
      return state === 'stopped' ? 'running' : undefined;
    case 'stop':
      return state === 'running' || state === 'paused' ? 'stopped' : undefined;
    case 'pause':
      return state === 'running' ? 'paused' : undefined;
    case 'resume':
      return state === 'paused' ? 'running' : undefined;
    case 'reset':
      return state === 'running' || state === 'paused' ? 'running' : undefined;
    case 'remove':
      return state === 'stopped' ? 'gone' : undefined;
    case 'rename':
      return state;
    case 'snapshot':
      return state === 'running' || state === 'paused' ? state : undefined;
    case 'fork':
      return state === 'running' ? 'running' : undefined;
    case 'restore':
      return state === 'gone' ? undefined : 'running';
  }
}

/** Every change that the table has. */
const CHANGES = new Set(
  [
    ...Object.values(TRANSITIONS).flatMap(({ from, via, to, failed }) => [
      ...from.map((state) => [state, via]),
      [via, to],
      [via, failed],
    ]),
    ...Object.values(HAPPENINGS).flatMap(({ from, to }) => from.map((state) => [state, to])),
  ].map((change) => change.join(' -> ')),
);

function expectKnownChanges(daemon: PretendDaemon): void {
  const unknown = daemon.changes.map((change) => change.join(' -> ')).filter((change) => !CHANGES.has(change));
  expect(unknown).toEqual([]);
}

/** Rejects with a code that is none when one was not to be expected of that operation, as the API describes it. */
async function ask(daemon: PretendDaemon, asked: Asked, count: number): Promise<void> {
  const name =
    asked === 'snapshot' ? 'snapshot.create' : asked === 'restore' ? 'snapshot.restore' : (`vm.${asked}` as const);
  const { errors }: Operation = OPERATIONS[name];
  await done(daemon, asked, count).catch((error: unknown) => {
    const { code } = error as { code?: string };
    if ((errors as readonly (string | undefined)[]).includes(code)) throw error;
    throw Object.assign(new Error(`${name} fails with ${code}`, { cause: error }), { code: `${name}: ${code}` });
  });
}

async function done(daemon: PretendDaemon, asked: Asked, count: number): Promise<void> {
  const { machines } = daemon;
  const [entry] = (await machines.list()).map(({ id }) => id);
  if (entry === undefined) throw Object.assign(new Error('there is none'), { code: 'not-found' });
  if (asked === 'rename') await machines.rename(entry, `vm${count}`);
  else if (asked === 'snapshot') await daemon.done(machines.snapshot(entry, `snapshot${count}`));
  else if (asked === 'restore') await daemon.done(await machines.restore(entry, 'first'));
  else await daemon.done(machines[asked](entry));
}

/** A snapshot to go on from. */
async function takeFirst(daemon: PretendDaemon): Promise<void> {
  await daemon.done(daemon.machines.start('vm'));
  await daemon.done(daemon.machines.snapshot('vm', 'first'));
  await daemon.done(daemon.machines.stop('vm'));
}

async function rested(daemon: PretendDaemon): Promise<void> {
  await daemon.operations.settled(5000);
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  await daemon.operations.settled(5000);
}

test(
  'one step after the other, the daemon is where the model is, also after it was killed',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...STEPS), { minLength: 1, maxLength: 25 }), async (steps) => {
        const daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40 });
        try {
          let state: Resting = 'gone';
          await daemon.create('vm');
          await takeFirst(daemon);
          state = 'stopped';
          for (const [count, step] of steps.entries()) {
            const [run] = daemon.processes.runs.values();
            if (step === 'exit') {
              run?.end({ kind: 'poweroff' });
              if (run !== undefined) state = 'stopped';
            } else if (step === 'reboot') {
              run?.end({ kind: 'reboot' });
              // One that stands still cannot restart itself.
              if (run !== undefined) state = state === 'running' ? 'running' : 'stopped';
            } else if (step === 'restart daemon') await daemon.again();
            else if (step.startsWith('fail ')) {
              const what = step.slice('fail '.length) as NonNullable<typeof daemon.processes.failing>;
              const asked: Asked = what === 'ready' ? 'start' : what;
              daemon.processes.failing = what;
              const allowed: boolean = model(state, asked) !== undefined;
              await expect(ask(daemon, asked, count)).rejects.toMatchObject({
                code: allowed ? 'unavailable' : state === 'gone' ? 'not-found' : 'wrong-state',
              });
              daemon.processes.failing = undefined;
              // What it was doing before was given up for the snapshot.
              if (allowed && what === 'restore') state = 'stopped';
            } else {
              const asked = step as Asked;
              const next = model(state, asked);
              if (state === 'gone')
                await expect(ask(daemon, asked, count)).rejects.toMatchObject({ code: 'not-found' });
              else if (next === undefined)
                await expect(ask(daemon, asked, count)).rejects.toMatchObject({ code: 'wrong-state' });
              else {
                await ask(daemon, asked, count);
                state = next;
              }
            }
            await rested(daemon);
            const found = (await daemon.machines.list()).map((each): State => each.state);
            expect([step, ...found]).toEqual(state === 'gone' ? [step] : [step, state]);
            expect(daemon.processes.runs.size).toBe(state === 'running' || state === 'paused' ? 1 : 0);
            expect((await daemon.store.machines()).map((each) => each.state)).toEqual(found);
          }
          expectKnownChanges(daemon);
          expect(daemon.failures).toEqual([]);
        } finally {
          await daemon.end();
        }
      }),
      { numRuns: RUNS },
    );
  },
  TIMEOUT_MS,
);

test(
  'whatever is asked at the same time, no state is reached that is not in the table, and what runs is known',
  async () => {
    const step = fc.tuple(fc.constantFrom(...ASKED.filter((each) => each !== 'remove'), 'exit'), fc.nat(6));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 30 }), async (steps) => {
        const daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40 });
        daemon.processes.turns = 3;
        try {
          await daemon.create('vm');
          await takeFirst(daemon);
          const asked: Promise<unknown>[] = [];
          for (const [count, [what, turns]] of steps.entries()) {
            if (what === 'exit') daemon.processes.runs.values().next().value?.end({ kind: 'poweroff' });
            else
              asked.push(
                ask(daemon, what as Asked, count).catch((error: unknown) => (error as { code?: string }).code),
              );
            for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
          }
          const codes = await Promise.all(asked);
          const known = [undefined, 'wrong-state', 'ended', 'aborted', 'name-taken'];
          expect(codes.filter((code) => !known.includes(code as string))).toEqual([]);
          await rested(daemon);
          const [machine] = await daemon.machines.list();
          expect(['stopped', 'running', 'paused']).toContain(machine?.state);
          expect(daemon.processes.runs.size).toBe(machine?.state === 'stopped' ? 0 : 1);
          expectKnownChanges(daemon);
          expect(daemon.failures).toEqual([]);
        } finally {
          await daemon.end();
        }
      }),
      { numRuns: RUNS },
    );
  },
  TIMEOUT_MS,
);
