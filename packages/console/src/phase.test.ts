import { expect, test } from 'vitest';
import { phaseText, speedText, type Phase } from './phase.ts';

test.each<[Phase, string]>([
  [{ kind: 'fetching', bytesDone: 12 * 2 ** 20, bytesTotal: 38_273_024 }, 'Fetching the image, 12 MiB of 36.5 MiB'],
  [{ kind: 'running', bootMs: 3349 }, 'Running; the shell was there after 3.3 s'],
  [{ kind: 'ended', end: { kind: 'exit', code: 0 } }, 'Ended: the shell has exited'],
  [{ kind: 'ended', end: { kind: 'exit', code: 7 } }, 'Ended: the shell has exited with code 7'],
  [{ kind: 'ended', end: { kind: 'failure', code: 3 } }, 'Ended: the machine failed with code 3'],
])('%j reads as a person says it', (phase, text) => expect(phaseText(phase)).toBe(text));

test('speed is counted between two looks', () => {
  const before = { instructions: 1_000_000, atMs: 100 };
  expect(speedText(before, { instructions: 101_000_000, atMs: 600 })).toBe('200 MIPS');
  expect(speedText(before, { instructions: 2_000_000, atMs: 600 })).toBe('2.0 MIPS');
  expect(speedText(before, before)).toBeUndefined();
});
