/** Random walks through the life of machines, their forks and their moves, against a model that knows nothing of the table of states. */

import { HAPPENINGS, type Operation, type OperationName, OPERATIONS, TRANSITIONS } from '@ringfence/api';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PretendDaemon } from './testing/pretend.ts';
import { PretendWorld, THERE } from './testing/pretend-world.ts';

/** `npm run faults` walks farther. */
const RUNS = Number(process.env['RINGFENCE_STATE_RUNS'] ?? 10);
/** A second where nothing else runs. */
const TIMEOUT_MS = 60_000 + RUNS * 1000;

type Resting = 'stopped' | 'running' | 'paused' | 'gone';
const OF_MACHINES = {
  start: 'vm.start',
  stop: 'vm.stop',
  pause: 'vm.pause',
  resume: 'vm.resume',
  reset: 'vm.reset',
  remove: 'vm.remove',
  rename: 'vm.rename',
  snapshot: 'snapshot.create',
  restore: 'snapshot.restore',
  'remove snapshots': 'snapshot.remove',
  fork: 'vm.fork',
  migrate: 'vm.migrate',
} as const satisfies Record<string, OperationName>;
type Asked = keyof typeof OF_MACHINES;
const ASKED = Object.keys(OF_MACHINES) as Asked[];
const OF_FORKS = ['stop', 'pause', 'resume', 'rename', 'snapshot', 'fork'] as const;
type AskedOfFork = (typeof OF_FORKS)[number];

const FAILING = ['start', 'ready', 'pause', 'resume', 'snapshot', 'fork', 'restore'] as const;
const HAPPENINGS_OF_MACHINES = [
  'exit',
  'reboot',
  'kill the process of a label',
  'restart daemon',
  'refuse to take',
  'kill as it leaves',
  'kill as it has left',
] as const;
const STEPS = {
  ask: ASKED.map((asked) => ({ kind: 'ask', asked }) as const),
  ofFork: [
    ...OF_FORKS.map((asked) => ({ kind: 'ask of fork', asked }) as const),
    ...(['pause', 'resume', 'fork', 'snapshot'] as const).map((what) => ({ kind: 'fail of fork', what }) as const),
    { kind: 'exit of fork' } as const,
  ],
  fail: FAILING.map((what) => ({ kind: 'fail', what }) as const),
  happen: HAPPENINGS_OF_MACHINES.map((kind) => ({ kind }) as const),
};
type Step = (typeof STEPS)[keyof typeof STEPS][number];
/** What ends forks comes less often than what is done with them. */
const ANY_STEP: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...STEPS.ask) },
  { weight: 5, arbitrary: fc.constantFrom(...STEPS.ofFork) },
  { weight: 2, arbitrary: fc.constantFrom(...STEPS.fail) },
  { weight: 2, arbitrary: fc.constantFrom(...STEPS.happen) },
);

/** What there is to be. */
interface Modelled {
  readonly id: string;
  name: string;
  label?: string | undefined;
  /** By which daemon it is kept. */
  at: 0 | 1;
  state: Resting;
  forks: Map<string, 'running' | 'paused'>;
  snapshots: string[];
}

type Said = { readonly code: string } | { readonly done: () => void };
const refused = (code: string): Said => ({ code });

/** What comes of an operation that is asked for of a machine at rest. */
function model(machine: Modelled, asked: Asked, count: number): Said {
  const { state, snapshots, forks } = machine;
  if (state === 'gone') return refused('not-found');
  const becomes = (next: Resting): Said => ({
    done() {
      machine.state = next;
      // They go where its process goes.
      if (!['pause', 'resume'].includes(asked)) forks.clear();
    },
  });
  const only = (from: readonly Resting[], next: Resting): Said =>
    from.includes(state) ? becomes(next) : refused('wrong-state');
  const does = (from: readonly Resting[], done: () => void): Said =>
    from.includes(state) ? { done } : refused('wrong-state');
  switch (asked) {
    case 'start':
      return only(['stopped'], 'running');
    case 'stop':
      return only(['running', 'paused'], 'stopped');
    case 'pause':
      return only(['running'], 'paused');
    case 'resume':
      return only(['paused'], 'running');
    case 'reset':
      return only(['running', 'paused'], 'running');
    case 'remove':
      return only(['stopped'], 'gone');
    case 'rename':
      return { done: () => (machine.name = `vm${count}`) };
    case 'snapshot':
      return does(['running', 'paused'], () => snapshots.push(`s${count}`));
    case 'restore':
      return snapshots.includes('first') ? becomes('running') : refused('not-found');
    case 'remove snapshots':
      return snapshots.length === 0 ? refused('not-found') : { done: () => snapshots.splice(0) };
    case 'fork':
      return does(['running'], () => forks.set(`f${count}`, 'running'));
    case 'migrate':
      if (snapshots.length > 0) return refused('unsupported');
      if (state === 'running' && forks.size > 0) return refused('unsupported');
      return does(['running'], () => {
        machine.at = machine.at === 0 ? 1 : 0;
        // Whom a machine trusts is not for its source to say.
        machine.label = undefined;
      });
  }
}

function modelOfFork({ forks, snapshots }: Modelled, fork: string, asked: AskedOfFork, count: number): Said {
  const state = forks.get(fork);
  const becomes = (from: string, next: 'running' | 'paused'): Said =>
    state === from ? { done: () => forks.set(fork, next) } : refused('wrong-state');
  switch (asked) {
    case 'stop':
      return { done: () => forks.delete(fork) };
    case 'pause':
      return becomes('running', 'paused');
    case 'resume':
      return becomes('paused', 'running');
    case 'rename':
      return {
        done() {
          forks.delete(fork);
          forks.set(`f${count}`, state ?? 'running');
        },
      };
    case 'snapshot':
      return { done: () => snapshots.push(`s${count}`) };
    case 'fork':
      return state === 'running' ? { done: () => forks.set(`f${count}`, 'running') } : refused('wrong-state');
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

/** The code of what does not work; that of an operation which the API does not describe with it is none. */
async function codeOf(name: OperationName, work: () => Promise<unknown>): Promise<string | undefined> {
  const { errors }: Operation = OPERATIONS[name];
  try {
    await work();
    return undefined;
  } catch (error) {
    const { code } = error as { code?: string };
    return (errors as readonly (string | undefined)[]).includes(code) ? code : `${name} fails with ${String(error)}`;
  }
}

/** Asks for something of a machine, by its name or id, or of a fork. */
async function ask(daemon: PretendDaemon, key: string, asked: Asked, count: number): Promise<void> {
  const { machines } = daemon;
  if (asked === 'rename') await machines.rename(key, /^f\d+$/.test(key) ? `f${count}` : `vm${count}`);
  else if (asked === 'snapshot') await daemon.done(machines.snapshot(key, `s${count}`));
  else if (asked === 'restore') await daemon.done(await machines.restore(key, 'first'));
  else if (asked === 'fork') await daemon.done(machines.fork(key, [`f${count}`]));
  else if (asked === 'migrate') await daemon.done(machines.moves.migrate(key, THERE, {}));
  else if (asked === 'remove snapshots') {
    const all = await machines.listSnapshots(key);
    for (const { name } of all.length === 0 ? [{ name: 'none' }] : all)
      await daemon.done(machines.removeSnapshot(key, name));
  } else await daemon.done(machines[asked](key));
}

async function rested(...daemons: readonly PretendDaemon[]): Promise<void> {
  for (let times = 0; times < 2; times++) {
    for (const { operations } of daemons) await operations.settled(5000);
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  }
}

/**
 * One machine, and one of two that have a label, run, with a snapshot to go on from and a fork; the other one of the label is stopped; and one that may move
 * runs.
 */
async function begun({ daemons: [daemon] }: PretendWorld): Promise<Modelled[]> {
  const all: Modelled[] = [];
  for (const [name, label] of [['web'], ['one', 'shop'], ['two', 'shop'], ['mover']] as const) {
    const more = label === undefined ? {} : { label };
    await daemon.done(await daemon.machines.create({ name, network: 'none', ...more }));
    const { id } = daemon.machines.find(name);
    const machine: Modelled = { id, name, ...more, at: 0, state: 'stopped', forks: new Map(), snapshots: [] };
    all.push(machine);
    if (name === 'two') continue;
    await daemon.done(daemon.machines.start(id));
    machine.state = 'running';
    if (name === 'mover') continue;
    await daemon.done(daemon.machines.snapshot(id, 'first'));
    machine.snapshots.push('first');
    const fork = `f${1000 + all.length}`;
    await daemon.done(daemon.machines.fork(id, [fork]));
    machine.forks.set(fork, 'running');
  }
  return all;
}

async function walk(
  world: PretendWorld,
  machines: readonly Modelled[],
  step: Step,
  which: number,
  count: number,
): Promise<void> {
  const withForks = machines.filter((each) => each.forks.size > 0);
  const some = step.kind.endsWith('of fork') && withForks.length > 0 ? withForks : machines;
  const machine = some[which % some.length]!;
  const { id, at, state, forks } = machine;
  const daemon = world.daemons[at];
  const run = daemon.processes.runs.get(id);
  const fork = [...forks.keys()].at(count % Math.max(1, forks.size));
  const stops = (each: Modelled): void => {
    if (each.state === 'running' || each.state === 'paused') each.state = 'stopped';
    each.forks.clear();
  };
  switch (step.kind) {
    case 'ask':
      return asks(OF_MACHINES[step.asked], model(machine, step.asked, count), () => ask(daemon, id, step.asked, count));
    case 'ask of fork':
      if (fork === undefined) return;
      return asks(OF_MACHINES[step.asked], modelOfFork(machine, fork, step.asked, count), () =>
        ask(daemon, fork, step.asked, count),
      );
    case 'fail': {
      const asked = step.what === 'ready' ? 'start' : step.what;
      const said = model(machine, asked, count);
      await fails(daemon, step.what, OF_MACHINES[asked], said, () => ask(daemon, id, asked, count));
      // What it was doing before was given up for the snapshot.
      if (step.what === 'restore' && 'done' in said) stops(machine);
      return;
    }
    case 'fail of fork':
      if (fork === undefined) return;
      return fails(daemon, step.what, OF_MACHINES[step.what], modelOfFork(machine, fork, step.what, count), () =>
        ask(daemon, fork, step.what, count),
      );
    case 'exit':
      run?.end({ kind: 'poweroff' });
      return stops(machine);
    case 'reboot':
      run?.end({ kind: 'reboot' });
      // One that stands still cannot restart itself.
      if (state === 'running') return forks.clear();
      return stops(machine);
    case 'exit of fork':
      if (fork === undefined) return;
      run?.knownForks.get(fork)?.end('poweroff');
      forks.delete(fork);
      return;
    case 'kill the process of a label':
      for (const each of machines.filter(({ label }) => label !== undefined)) {
        daemon.processes.runs.get(each.id)?.end({ kind: 'lost' });
        stops(each);
      }
      return;
    case 'restart daemon':
      return daemon.again();
    case 'refuse to take': {
      const said = model(machine, 'migrate', count);
      if ('code' in said) return;
      world.refuseNext(at);
      expect(await codeOf('vm.migrate', () => ask(daemon, id, 'migrate', count))).toBe('unavailable');
      return;
    }
    case 'kill as it leaves':
    case 'kill as it has left': {
      const said = model(machine, 'migrate', count);
      if ('code' in said) return;
      const isThere = step.kind === 'kill as it has left';
      await world.killedAsItLeaves(at, id, isThere);
      if (isThere) said.done();
    }
  }
}

async function asks(name: OperationName, said: Said, work: () => Promise<unknown>): Promise<void> {
  expect(await codeOf(name, work)).toBe('code' in said ? said.code : undefined);
  if ('done' in said) said.done();
}

async function fails(
  { processes }: PretendDaemon,
  what: NonNullable<PretendDaemon['processes']['failing']>,
  name: OperationName,
  said: Said,
  work: () => Promise<unknown>,
): Promise<void> {
  processes.failing = what;
  expect(await codeOf(name, work)).toBe('code' in said ? said.code : 'unavailable');
  processes.failing = undefined;
}

/** Both daemons have what the model has, in their books as in what they tell, and no process runs beside. */
async function expectAll({ daemons }: PretendWorld, machines: readonly Modelled[], step: Step): Promise<void> {
  await rested(...daemons);
  for (const [at, daemon] of daemons.entries()) {
    const here = machines.filter((each) => each.at === at && each.state !== 'gone');
    const wanted = here.map(({ name, state, forks }) => [
      name,
      state,
      ...[...forks].map((fork) => fork.join(' ')).toSorted(),
    ]);
    const found = (await daemon.machines.list()).map(({ name, state, forks = [] }) => [
      name,
      state,
      ...forks.map((fork) => `${fork.name} ${fork.state}`),
    ]);
    expect([step, ...found.map(String).toSorted()]).toEqual([step, ...wanted.map(String).toSorted()]);
    expect([...daemon.processes.runs.keys()].toSorted()).toEqual(
      here.flatMap(({ id, state }) => (state === 'stopped' ? [] : [id])).toSorted(),
    );
    const stored = (await daemon.store.machines()).map(({ name, state }) => `${name} ${state}`);
    expect(stored.toSorted()).toEqual(here.map(({ name, state }) => `${name} ${state}`).toSorted());
    expectKnownChanges(daemon);
    expect(daemon.failures).toEqual([]);
  }
}

test(
  'one step after the other, machines are where the model is, with labels, forks and moves, also after their daemon was killed',
  async () => {
    const step = fc.tuple(ANY_STEP, fc.nat(3));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), async (steps) => {
        const world = await PretendWorld.begin();
        try {
          const machines = await begun(world);
          for (const [count, [what, which]] of steps.entries()) {
            await walk(world, machines, what, which, count);
            await expectAll(world, machines, what);
          }
        } finally {
          await world.end();
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
    const asked = ASKED.filter((each) => !['remove', 'migrate', 'remove snapshots'].includes(each));
    const step = fc.tuple(fc.constantFrom(...asked, 'exit'), fc.nat(6), fc.boolean());
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 30 }), async (steps) => {
        const daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40 });
        daemon.processes.turns = 3;
        try {
          await daemon.done(await daemon.machines.create({ name: 'vm', network: 'none', label: 'shop' }));
          const { id } = daemon.machines.find('vm');
          await daemon.done(daemon.machines.start(id));
          await daemon.done(daemon.machines.snapshot(id, 'first'));
          await daemon.done(daemon.machines.fork(id, ['f']));
          const under: Promise<string | undefined>[] = [];
          for (const [count, [what, turns, isOfFork]] of steps.entries()) {
            const [run] = daemon.processes.runs.values();
            const fork = isOfFork ? [...(run?.knownForks.keys() ?? [])].at(0) : undefined;
            if (what === 'exit') run?.end({ kind: 'poweroff' });
            else if (fork === undefined || (OF_FORKS as readonly string[]).includes(what))
              under.push(codeOf(OF_MACHINES[what], () => ask(daemon, fork ?? id, what, count)));
            for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
          }
          const known = [undefined, 'wrong-state', 'ended', 'aborted', 'name-taken', 'not-found'];
          expect((await Promise.all(under)).filter((code) => !known.includes(code))).toEqual([]);
          await rested(daemon);
          const [machine] = await daemon.machines.list();
          expect(['stopped', 'running', 'paused']).toContain(machine?.state);
          expect(daemon.processes.runs.size).toBe(machine?.state === 'stopped' ? 0 : 1);
          const [run] = daemon.processes.runs.values();
          const really = [...(run?.knownForks.values() ?? [])].map(({ name, state }) => ({ name, state }));
          expect(machine?.forks ?? []).toEqual(really.toSorted((a, b) => (a.name < b.name ? -1 : 1)));
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
