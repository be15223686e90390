import { expect, test } from 'vitest';
import { allowedStates, HAPPENINGS, isAllowed, LIVE_STATES, refusal, STATES, STEADY, TRANSITIONS } from './states.ts';

test('every state can be reached, and left', () => {
  const edges = [
    ...Object.values(TRANSITIONS).flatMap(({ from, via, to, failed }) => [
      ...from.map((state) => [state, via]),
      [via, to],
      [via, failed],
    ]),
    ...Object.values(HAPPENINGS).flatMap(({ from, to }) => from.map((state) => [state, to])),
  ];
  const reached = new Set<string>(['creating', 'arriving']);
  for (let grew = true; grew;) {
    const before = reached.size;
    for (const [from = '', to = ''] of edges) if (reached.has(from)) reached.add(to);
    grew = reached.size > before;
  }
  expect([...reached].toSorted()).toEqual([...STATES, 'gone'].toSorted());
  for (const state of STATES) expect(edges.some(([from]) => from === state)).toBe(true);
});

test('work is begun only where the machine is at rest, but that it is stopped wherever it may have a process', () => {
  const resting = ['stopped', 'running', 'paused'];
  for (const [name, { from }] of Object.entries({ ...TRANSITIONS, ...STEADY }))
    if (name !== 'stop') for (const state of from) expect(resting).toContain(state);
  expect(allowedStates('stop')).toEqual(LIVE_STATES);
  expect(LIVE_STATES).not.toContain('stopped');
});

test('a refusal says what the machine is and what it would have to be', () => {
  expect(isAllowed('pause', 'stopped')).toBe(false);
  expect(refusal('pause', 'stopped')).toBe('is stopped, and "pause" is for one that is running');
  expect(refusal('start', 'running')).toBe('is running already');
  expect(allowedStates('reset')).toEqual(['running', 'paused']);
});
