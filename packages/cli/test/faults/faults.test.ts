import { expect, test } from 'vitest';
import { faultRounds } from './rounds.ts';

test('the daemon and machines may be killed at any moment', async () => {
  const said: string[] = [];
  await faultRounds({ rounds: 4, seed: 7, say: (line) => said.push(line) });
  expect(said).toHaveLength(4);
});
