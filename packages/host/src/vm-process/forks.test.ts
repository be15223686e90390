import { expect, test } from 'vitest';
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
