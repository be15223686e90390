import { describe, expect, test } from 'vitest';
import { HostError } from '../failure.ts';
import type { VM } from '../vm/vm.ts';
import { MAXIMUM_ENDED_NAMES, servedWithForks } from './forks.ts';

test('names of forks that have ended are told from the machine’s own, the last ones of them', async () => {
  const ended = Promise.resolve({ kind: 'poweroff' });
  const fork = (name: string): unknown => ({ name, ended, ready: () => Promise.resolve(), served: {} });
  const vm = { fork: ({ names }: { readonly names: readonly string[] }) => Promise.resolve(names.map(fork)) };
  const forks = servedWithForks(() => Promise.resolve(vm as unknown as VM), { id: 'id', folder: '/machine' });
  const names = Array.from({ length: MAXIMUM_ENDED_NAMES + 10 }, (_, index) => `fork-${index}`);
  await forks.served('own').fork({ count: names.length, names: [...names] });
  await ended;
  expect(() => forks.served(names.at(-1))).toThrow('"fork-4105" has ended');
  expect(() => forks.served(names[10])).toThrow('has ended');
  expect(() => forks.served(names[9])).not.toThrow();
});

/** A machine without a guest whose forks can be forked, and renamed as a VM is. */
class PretendVM {
  name: string;
  isPaused = false;
  isKilled = false;
  readonly ended: Promise<unknown>;
  end!: () => void;
  readonly served = {};

  constructor(name: string) {
    this.name = name;
    this.ended = new Promise<void>((resolve) => (this.end = resolve));
  }

  ready(): Promise<void> {
    return Promise.resolve();
  }

  status(): { readonly name: string; readonly state: string } {
    return { name: this.name, state: this.isPaused ? 'paused' : 'running' };
  }

  rename(name: string): void {
    this.name = name;
  }

  kill(): Promise<void> {
    this.isKilled = true;
    this.end();
    return Promise.resolve();
  }

  fork({ names }: { readonly names: readonly string[] }): Promise<PretendVM[]> {
    const born = names.map((name) => new PretendVM(name));
    made.push(...born);
    return Promise.resolve(born);
  }
}
let made: PretendVM[];

describe('forks of a machine', () => {
  const begun = (): ReturnType<typeof servedWithForks> => {
    made = [];
    return servedWithForks(() => Promise.resolve(new PretendVM('own') as unknown as VM), { id: 'id', folder: '/m' });
  };

  test('are told with how they are, where they do not simply run, and each with whose it is', async () => {
    const forks = begun();
    await forks.served('own').fork({ count: 2, names: ['one', 'two'] });
    made[1]!.isPaused = true;
    expect(await forks.served('own').status()).toMatchObject({
      id: 'id',
      forks: ['one', 'two'],
      forkStates: { two: { state: 'paused' } },
    });
    expect(await forks.served('two').status()).toEqual({ name: 'two', state: 'paused', forkOf: 'id' });
  });

  test('have forks, which live on when they end', async () => {
    const forks = begun();
    await forks.served('own').fork({ count: 1, names: ['one'] });
    await forks.served('one').fork({ count: 1, names: ['three'] });
    made[0]!.end();
    await made[0]!.ended;
    expect([forks.names, forks.knows('one')]).toEqual([['three'], 'ended']);
  });

  test('are found by another name when they are renamed, and by the one before no more', async () => {
    const forks = begun();
    await forks.served('own').fork({ count: 2, names: ['one', 'two'] });
    forks.served('one').rename?.('uno');
    expect(forks.names.toSorted()).toEqual(['two', 'uno']);
    expect(() => forks.served('one')).toThrow('has ended');
    expect(await forks.served('uno').status()).toMatchObject({ name: 'uno' });
    expect(() => forks.served('uno').rename?.('two')).toThrow(HostError);
    // Its name is another's from now on.
    forks.served('two').rename?.('one');
    expect(forks.knows('one')).toBe('lives');
    made[0]!.end();
    await made[0]!.ended;
    expect(forks.knows('uno')).toBe('ended');
  });

  test('that come to be when their machine has ended are none', async () => {
    const forks = begun();
    const asked = forks.served('own').fork({ count: 1, names: ['late'] });
    await Promise.all([forks.end(), expect(asked).rejects.toMatchObject({ code: 'ended' })]);
    expect(made[0]!.isKilled).toBe(true);
  });
});
