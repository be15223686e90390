import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { FRAME, FrameLink } from '../control/frames.ts';
import { answerOf, sayWorking } from './protocol.ts';

test('who works on an answer is heard of until it is there, and is not taken for it', async () => {
  const [one, other] = duplexPair();
  const [here, there] = [new FrameLink(one), new FrameLink(other)];
  let said = 0;
  one.on('data', () => said++);
  const working = sayWorking(there, 5);
  const answer = answerOf(here, FRAME.STARTED);
  await expect.poll(() => said).toBeGreaterThan(2);
  working[Symbol.dispose]();
  await there.send(FRAME.STARTED);
  expect((await answer).kind).toBe(FRAME.STARTED);
});
