import { expect, test } from 'vitest';
import { GuestOutput } from './guest-output.ts';

function after(...lines: readonly string[]) {
  const output = new GuestOutput();
  for (const line of lines) output.line(line);
  return { rounds: output.rounds, problem: output.problem };
}

test('rounds are counted', () => {
  expect(after('USERLAND\r', 'ROUND 1 0123456789abcdef\r', '[  9.1] ROUND 2 0123456789abcdef\r')).toEqual({
    rounds: 2,
    problem: undefined,
  });
});

test('a round that comes to something else is told', () => {
  expect(after('ROUND 1 0123456789abcdef', 'ROUND 2 fedcba9876543210', 'ROUND 3 0123456789abcdef').problem).toBe(
    'Round 2 came to fedcba9876543210, and the first one to 0123456789abcdef.',
  );
});

test.each([
  '[ 60.1] rcu: INFO: rcu_sched self-detected stall on CPU',
  '[ 60.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!',
  '[ 60.1] Oops - illegal instruction [#1]',
  '[ 60.1] WARNING: CPU: 0 PID: 1 at mm/page_alloc.c:1',
  '[ 60.1] Out of memory: Killed process 12 (sort)',
  '[ 60.1] Kernel panic - not syncing: Attempted to kill init!',
])('a complaint of the kernel is told: %s', (line) => {
  expect(after(line).problem).toBe(`The guest's kernel complained: ${line}`);
});

test('other lines are nothing', () => {
  expect(after('ROUND x', 'ROUND 3', 'ROUND 1 0123', 'a ROUND 1 0123456789abcdef of applause')).toEqual({
    rounds: 0,
    problem: undefined,
  });
});
