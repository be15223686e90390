/** Machines that move, in the daemon's books, with another daemon that is only pretended. */

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HostError } from '../failure.ts';
import { Departures, type DeparturesOptions } from '../migration/departures.ts';
import type { Leaving } from '../migration/leaving.ts';
import { identityIn } from '../migration/identity.ts';
import { Ownership } from '../migration/ownership.ts';
import { Trust } from '../migration/trust.ts';
import { PretendDaemon } from './testing/pretend.ts';

const THERE = { host: '127.0.0.1', port: 9, fingerprint: 'none' };

class PretendOwnership extends Ownership {
  /** Whose the other daemon says that a machine is; it does not answer when that is not known. */
  answer: 'source' | 'target' | undefined;
  /** Whether anybody listens there. */
  isThere = true;

  override owner(...asked: Parameters<Ownership['owner']>): Promise<'source' | 'target'> {
    // Who gives it up may have an answer at last.
    if (!this.isThere) return super.owner(...asked).catch((error: unknown) => this.answer ?? Promise.reject(error));
    if (this.answer !== undefined) return Promise.resolve(this.answer);
    return Promise.reject(new HostError('interrupted', 'nobody answers'));
  }
}

/** The other daemon takes every machine at once. */
class PretendDepartures extends Departures {
  override readonly ownership: PretendOwnership;

  constructor(options: DeparturesOptions) {
    super(options);
    this.ownership = new PretendOwnership({ ...options, ending: new AbortController().signal });
  }

  /** Which label a machine keeps there. */
  keeps: string | undefined;

  override async move(...[{ leaving }, run, , options]: Parameters<Departures['move']>): Promise<undefined> {
    if (this.keeps !== undefined) options.onLabel?.(this.keeps);
    writeFileSync(leaving, JSON.stringify({ migration: 'm', ...THERE }));
    await run.kill();
  }

  /** The migrations that the other daemon may forget. */
  readonly over: string[] = [];
  override settled({ migration }: Leaving): Promise<void> {
    this.over.push(migration);
    return Promise.resolve();
  }
}

let state: string;
let departures: PretendDepartures;
let daemon: PretendDaemon;
beforeEach(async () => {
  state = mkdtempSync(join(tmpdir(), 'ringfence-moves-'));
  departures = new PretendDepartures({ identity: identityIn(state), trust: new Trust(state), version: '1' });
  daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40, departures });
  await daemon.create('web');
  await daemon.done(daemon.machines.start('web'));
});
afterEach(async () => {
  await daemon.end();
  rmSync(state, { recursive: true, force: true });
});

const migrate = (): Promise<void> => daemon.done(daemon.machines.moves.migrate('web', THERE, {}));
const all = async (): Promise<[names: string[], stored: number]> => [
  (await daemon.machines.list()).map((each) => `${each.name} ${each.state}`),
  (await daemon.store.machines()).length,
];

/** As the daemon wrote it down when it was killed. */
async function wasMoving(more: Partial<Leaving> = {}): Promise<void> {
  const { stored, folder } = daemon.machines.find('web');
  await daemon.store.putMachine({ ...stored!, state: 'migrating' });
  writeFileSync(folder.leaving, JSON.stringify({ migration: 'm', ...THERE, ...more }));
}

describe('a machine that moves', () => {
  test('is gone here, with its folder', async () => {
    const { folder } = daemon.machines.find('web');
    await migrate();
    expect([await all(), existsSync(folder.path)]).toEqual([[[], 0], false]);
    expect(departures.over).toEqual(['m']);
    // By the next daemon, too, where this one could not.
    expect(new Trust(state).owed).toMatchObject([{ migration: 'm' }]);
  });

  test('takes the folder of its label with it when it is the last one, and says whether it keeps that label', async () => {
    const notes = async (): Promise<readonly string[] | undefined> => {
      await daemon.done(await daemon.machines.create({ name: 'db', network: 'none', label: 'shop' }));
      await daemon.done(daemon.machines.start('db'));
      const begun = daemon.machines.moves.migrate('db', THERE, {});
      await daemon.done(begun);
      return daemon.operations.get(begun.id).notes;
    };
    expect(await notes()).toEqual(['it has no label there, and a process of its own']);
    expect([existsSync(join(daemon.folder, 'machines', '@shop')), departures.over]).toEqual([false, ['m']]);
    departures.keeps = 'shop';
    expect(await notes()).toEqual(['it has the label "shop" there, too, and the process of those that have it']);
  });

  test('leaves a folder that the daemon has not made as it was', async () => {
    const copy = join(daemon.folder, 'copy');
    await daemon.done(daemon.machines.stop('web'));
    const { folder } = daemon.machines.find('web');
    await daemon.done(daemon.machines.remove('web', true));
    renameSync(folder.path, copy);
    await daemon.done(await daemon.machines.register(copy));
    await daemon.done(daemon.machines.start('web'));
    await migrate();
    expect([await all(), existsSync(join(copy, 'vm.yaml')), existsSync(join(copy, 'leaving.json'))]).toEqual([
      [[], 0],
      true,
      false,
    ]);
  });

  test('stays when it has snapshots, damaged ones too, and they stay with it', async () => {
    const { folder } = daemon.machines.find('web');
    await daemon.done(daemon.machines.snapshot('web', 'first'));
    expect(migrate).toThrow('has snapshots, which do not move yet');
    expect([await all(), (await daemon.machines.listSnapshots('web')).length]).toEqual([[['web running'], 1], 1]);
    await daemon.done(daemon.machines.removeSnapshot('web', 'first'));
    mkdirSync(join(folder.snapshots, 'damaged'));
    expect(migrate).toThrow('has snapshots');
  });
});

describe('a daemon that was killed while a machine moved', () => {
  test('lets one that it still has go on, although nobody has asked its guest yet', async () => {
    const { id, folder } = daemon.machines.find('web');
    daemon.processes.runs.get(id)!.state = 'booting';
    await wasMoving();
    await daemon.again();
    await daemon.operations.settled(5000);
    expect([await all(), daemon.processes.runs.has(id), existsSync(folder.leaving)]).toEqual([
      [['web running'], 1],
      true,
      false,
    ]);
  });

  test.each(['its process says that it runs there', 'the other daemon has it', 'its folder is gone already'])(
    'has it no more when %s',
    async (how) => {
      const { id, folder } = daemon.machines.find('web');
      await wasMoving();
      daemon.processes.runs.delete(id);
      if (how.startsWith('its process'))
        writeFileSync(folder.end, JSON.stringify({ kind: 'moved', at: new Date().toISOString() }));
      else if (how.startsWith('the other')) departures.ownership.answer = 'target';
      else renameSync(folder.path, join(folder.path, '..', `.gone-${id}`));
      await daemon.again();
      await daemon.operations.settled(5000);
      expect([await all(), existsSync(folder.path), existsSync(join(folder.path, '..', `.gone-${id}`))]).toEqual([
        [[], 0],
        false,
        false,
      ]);
    },
  );

  test('asks on while the other one is silent, and gives the machine up to who stops it', async () => {
    const { id, folder } = daemon.machines.find('web');
    await wasMoving();
    daemon.processes.runs.delete(id);
    departures.ownership.isThere = false;
    await daemon.again();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await all()).toEqual([['web migrating'], 1]);
    expect(() => daemon.machines.start('web')).toThrow('is migrating');
    await daemon.done(daemon.machines.stop('web'));
    expect([await all(), existsSync(folder.leaving)]).toEqual([[['web stopped'], 1], false]);
    expect(daemon.machines.find('web').end).toMatchObject({
      kind: 'stopped',
      detail: 'it may run at 127.0.0.1:9, which did not answer',
    });
    await daemon.done(daemon.machines.start('web'));
  });

  test.each([
    ['target', 'when the other daemon has it'],
    ['moved', 'when its process says so after all'],
  ])('says that a machine is there that is stopped here while its process is in doubt: %s, %s', async (how) => {
    const { id, folder } = daemon.machines.find('web');
    await wasMoving();
    const run = daemon.processes.runs.get(id)!;
    let isMoved = false;
    const status = await run.status();
    run.status = async () => ({ ...status, isInDoubt: !isMoved, isMoved });
    run.settle = async (owner) => void (owner === 'target' && run.end({ kind: 'moved' }));
    departures.ownership.isThere = false;
    await daemon.again();
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (how === 'target') departures.ownership.answer = 'target';
    else {
      isMoved = true;
      setTimeout(() => run.end({ kind: 'moved' }), 50);
    }
    await expect(daemon.done(daemon.machines.stop('web'))).rejects.toMatchObject({ code: 'ended' });
    await daemon.operations.settled(5000);
    expect([await all(), existsSync(folder.path), departures.over]).toEqual([[[], 0], false, ['m']]);
  });

  test('that is there and has pages here, when the daemon was killed, goes when they have followed', async () => {
    const { id, folder } = daemon.machines.find('web');
    await wasMoving();
    const run = daemon.processes.runs.get(id)!;
    const status = await run.status();
    run.status = async () => ({ ...status, state: 'paused', isChanging: true, pagesLeft: 5 });
    const follow = vi.spyOn(departures.rejoining, 'follow').mockImplementation(async () => run.end({ kind: 'moved' }));
    await daemon.again();
    await daemon.operations.settled(5000);
    expect([await all(), existsSync(folder.path), departures.over]).toEqual([[[], 0], false, ['m']]);
    expect(follow.mock.calls).toMatchObject([[{ leaving: { migration: 'm', ...THERE } }]]);
  });

  test('ends a process that was silent, wakes, and would stand in doubt for ever', async () => {
    const { id } = daemon.machines.find('web');
    await wasMoving({ postCopy: false });
    const run = daemon.processes.runs.get(id)!;
    run.status = () => Promise.reject(new HostError('timeout', 'it does not answer'));
    departures.ownership.answer = 'target';
    await daemon.again();
    await daemon.operations.settled(8000);
    expect([await all(), daemon.processes.runs.has(id)]).toEqual([[[], 0], false]);
  }, 10_000);

  test.each([true, undefined])(
    'does not end a process that is silent and may keep pages that are missing there, until it answers: %s',
    async (postCopy) => {
      const { id } = daemon.machines.find('web');
      await wasMoving(postCopy === undefined ? {} : { postCopy });
      const run = daemon.processes.runs.get(id)!;
      const status = await run.status();
      let isSilent = true;
      run.status = () =>
        isSilent
          ? Promise.reject(new HostError('timeout', 'it does not answer'))
          : Promise.resolve({ ...status, state: 'paused', pagesLeft: 5 });
      departures.ownership.answer = 'target';
      const follow = vi
        .spyOn(departures.rejoining, 'follow')
        .mockImplementation(async () => run.end({ kind: 'moved' }));
      await daemon.again();
      // Longer than a process has to end that keeps nothing.
      await daemon.operations.settled(7000);
      expect([await all(), daemon.processes.runs.has(id), follow.mock.calls.length]).toEqual([
        [['web migrating'], 1],
        true,
        0,
      ]);
      isSilent = false;
      await daemon.operations.settled(5000);
      expect([await all(), follow.mock.calls.length]).toEqual([[[], 0], 1]);
    },
    20_000,
  );

  test('does not end a process that keeps pages where it cannot be read for whom', async () => {
    const { id, folder } = daemon.machines.find('web');
    await wasMoving();
    const run = daemon.processes.runs.get(id)!;
    const status = await run.status();
    run.status = async () => ({ ...status, state: 'paused', pagesLeft: 5 });
    const follow = vi.spyOn(departures.rejoining, 'follow').mockImplementation(async () => run.end({ kind: 'moved' }));
    writeFileSync(folder.leaving, '{}');
    await daemon.again();
    await daemon.operations.settled(1000);
    expect([await all(), follow.mock.calls.length]).toEqual([[['web migrating'], 1], 0]);
    await wasMoving();
    await daemon.operations.settled(5000);
    expect([await all(), follow.mock.calls.length]).toEqual([[[], 0], 1]);
  });

  test('keeps written down where one was going that is given up, until its process is ended', async () => {
    const { id, folder } = daemon.machines.find('web');
    await wasMoving();
    const run = daemon.processes.runs.get(id)!;
    run.status = () => Promise.reject(new HostError('timeout', 'it does not answer'));
    run.stop = () => Promise.reject(new HostError('timeout', 'it does not answer'));
    let wasWritten: boolean | undefined;
    run.kill = async () => {
      wasWritten = existsSync(folder.leaving);
      run.end({ kind: 'lost' });
    };
    departures.ownership.isThere = false;
    await daemon.again();
    await daemon.done(daemon.machines.stop('web'));
    expect([wasWritten, existsSync(folder.leaving), daemon.state('web')]).toEqual([true, false, 'stopped']);
    expect(daemon.machines.find('web').end?.detail).toBe('it may run at 127.0.0.1:9, which did not answer');
  });

  test('lets nothing be done with one where it cannot be read where it was going, until it can, or is stopped', async () => {
    const { id, folder } = daemon.machines.find('web');
    await wasMoving();
    daemon.processes.runs.delete(id);
    // As an older version wrote it.
    writeFileSync(folder.leaving, JSON.stringify({ migration: 'm', host: '127.0.0.1', port: 9 }));
    await daemon.again();
    expect(await all()).toEqual([['web migrating'], 1]);
    expect(() => daemon.machines.start('web')).toThrow('is migrating');
    await daemon.done(daemon.machines.stop('web'));
    expect(daemon.machines.find('web').end?.detail).toContain('it may run elsewhere, and it cannot be read in');

    await wasMoving();
    rmSync(folder.leaving);
    // ELOOP, for as long as it is so.
    symlinkSync(folder.leaving, folder.leaving);
    departures.ownership.answer = 'target';
    await daemon.again();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await all()).toEqual([['web migrating'], 1]);
    rmSync(folder.leaving);
    await wasMoving();
    await daemon.operations.settled(5000);
    expect([await all(), existsSync(folder.path)]).toEqual([[[], 0], false]);
  });

  test('lets one go on whose process says that it does, wherever it was going', async () => {
    const { folder } = daemon.machines.find('web');
    await wasMoving();
    writeFileSync(folder.leaving, '{}');
    await daemon.again();
    await daemon.operations.settled(5000);
    expect([await all(), existsSync(folder.leaving)]).toEqual([[['web running'], 1], false]);
  });

  test('leaves one alone that may have come, where that cannot be read', async () => {
    const { id, folder, stored } = daemon.machines.find('web');
    await daemon.store.putMachine({ ...stored!, state: 'arriving' });
    daemon.processes.runs.delete(id);
    mkdirSync(folder.run, { recursive: true });
    symlinkSync(folder.arrived, folder.arrived);
    await daemon.again();
    expect([await all(), existsSync(folder.yaml)]).toEqual([[[], 1], true]);
    rmSync(folder.arrived);
    writeFileSync(folder.arrived, JSON.stringify({ migration: 'm' }));
    await daemon.again();
    expect(await all()).toEqual([['web stopped'], 1]);
  });

  test('asks again in its next life when nobody says whose it is', async () => {
    const { id, folder } = daemon.machines.find('web');
    await wasMoving();
    daemon.processes.runs.delete(id);
    await daemon.again();
    await daemon.operations.settled(5000);
    expect([existsSync(folder.leaving), daemon.state('web')]).toEqual([true, 'stopped']);
    departures.ownership.answer = 'target';
    await daemon.again();
    await daemon.operations.settled(5000);
    expect([await all(), existsSync(folder.path)]).toEqual([[[], 0], false]);
  });
});
