/** A process that waits for pages is given one link after the other over the connection that it has. */

import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { FRAME, FrameLink } from '../control/frames.ts';
import { carry } from './carry.ts';
import { FollowingLink } from './following-link.ts';

function linked(): [FrameLink, FrameLink] {
  const [one, other] = duplexPair();
  return [new FrameLink(one), new FrameLink(other)];
}

interface Followed {
  readonly follows: FollowingLink;
  /** The process's end of its connection, and the other daemon's of the first link. */
  readonly process: FrameLink;
  readonly first: FrameLink;
}

function followed(): Followed {
  const [[process, ours], [first, near]] = [linked(), linked()];
  const follows = new FollowingLink(ours, near);
  follows.begin();
  void carry(ours, follows, (frame) => follows.hear(frame));
  return { follows, process, first };
}

const kindOf = async (link: FrameLink): Promise<unknown> => (await link.next())?.kind;
const textOf = async (link: FrameLink): Promise<unknown> => (await link.next())?.payload.toString();
const say = (link: FrameLink, text: string): Promise<void> => link.send(FRAME.DATA, Buffer.from(text));

test('what is said over a lost link goes nowhere, and the next one is answered for first', async () => {
  const { follows, process, first } = followed();
  await say(first, 'a page');
  expect(await textOf(process)).toBe('a page');
  await say(process, 'more');
  expect(await textOf(first)).toBe('more');
  first.destroy();
  expect(await kindOf(process)).toBe(FRAME.INPUT_END);
  const [next, near] = linked();
  await say(process, 'to the lost one');
  const over = follows.join(near);
  expect(await kindOf(process)).toBe(FRAME.STARTED);
  await say(process, 'still to the lost one');
  await process.send(FRAME.EVENT);
  expect(await kindOf(next)).toBe(FRAME.STARTED);
  await say(next, 'another page');
  expect(await textOf(process)).toBe('another page');
  await say(process, 'to the next one');
  expect(await textOf(next)).toBe('to the next one');
  // It says that it hears nothing more.
  await process.send(FRAME.INPUT_END);
  expect(await next.next()).toBeUndefined();
  next.destroy();
  await over;
  expect(await kindOf(process)).toBe(FRAME.INPUT_END);
});

test('a link that comes while there is one takes its place, and one that goes before it is taken is none', async () => {
  const { follows, process, first } = followed();
  const [[second, near], [third, nearer]] = [linked(), linked()];
  const joins = [follows.join(near), follows.join(nearer)].map((join) => join.catch(() => 'none'));
  expect(await first.next()).toBeUndefined();
  expect(await joins[0]).toBe('none');
  expect(await second.next()).toBeUndefined();
  // The end of the first, the second with its end, and the third.
  expect([await kindOf(process), await kindOf(process), await kindOf(process), await kindOf(process)]).toEqual([
    FRAME.INPUT_END,
    FRAME.STARTED,
    FRAME.INPUT_END,
    FRAME.STARTED,
  ]);
  await process.send(FRAME.EVENT);
  await say(process, 'over the second');
  await process.send(FRAME.EVENT);
  expect(await kindOf(third)).toBe(FRAME.STARTED);
  await say(process, 'over the third');
  expect(await textOf(third)).toBe('over the third');
  third.destroy();
});
