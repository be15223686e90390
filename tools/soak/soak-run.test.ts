import { expect, test } from 'vitest';
import { vmRssBytes } from './soak-run.ts';

test("a process's resident memory is read from what the kernel says of it", () => {
  expect(vmRssBytes('VmHWM:\t  300 kB\nVmRSS:\t  123 kB\nThreads:\t1\n')).toBe(123 * 1024);
});

test('a kernel that does not say is an error and not 0', () => {
  expect(() => vmRssBytes('Name:\tnode\nState:\tZ (zombie)\n')).toThrow('VmRSS');
});
