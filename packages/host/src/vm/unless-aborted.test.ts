import { AgentError, type AgentErrorCode } from '@ringfence/core';
import { expect, test } from 'vitest';
import { ofTheNextToo } from './unless-aborted.ts';

/** An agent that fails so often, and answers how often it was asked. */
const failing = (times: number, code: AgentErrorCode): (() => Promise<number>) => {
  let asked = 0;
  return () => (++asked > times ? Promise.resolve(asked) : Promise.reject(new AgentError(code, 'It failed.')));
};

test('what an agent that ended has not done is asked of the next, and of no third', async () => {
  expect(await ofTheNextToo(failing(0, 'lost'))).toBe(1);
  expect(await ofTheNextToo(failing(1, 'lost'))).toBe(2);
  await expect(ofTheNextToo(failing(2, 'lost'))).rejects.toThrow('It failed.');
  await expect(ofTheNextToo(failing(1, 'refused'))).rejects.toThrow('It failed.');
});
