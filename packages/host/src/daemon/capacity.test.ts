import { totalmem } from 'node:os';
import process from 'node:process';
import { afterEach, expect, test, vi } from 'vitest';
import { checkCapacity, hostProcessors } from './capacity.ts';

afterEach(() => vi.restoreAllMocks());

test('machines may have all that there is, and no more', () => {
  vi.spyOn(process, 'constrainedMemory').mockReturnValue(0);
  expect(() => checkCapacity(undefined, undefined)).not.toThrow();
  expect(() => checkCapacity(hostProcessors(), totalmem())).not.toThrow();
  expect(() => checkCapacity(hostProcessors() + 1, undefined)).toThrow(
    `machines cannot have ${hostProcessors() + 1} % of a processor together: there are ${hostProcessors()} % here`,
  );
  expect(() => checkCapacity(undefined, 2 ** 50)).toThrow(
    /^machines cannot have 1024 TiB of memory together: there are [\d.]+ [MGT]iB here$/,
  );
});

test('what a container or a service may have of the memory is what there is', () => {
  vi.spyOn(process, 'constrainedMemory').mockReturnValue(2 ** 30);
  expect(() => checkCapacity(undefined, 2 ** 30)).not.toThrow();
  expect(() => checkCapacity(undefined, 2 ** 30 + 1)).toThrow('there are 1 GiB here');
});
