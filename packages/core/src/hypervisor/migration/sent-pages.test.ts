import { expect, test } from 'vitest';
import { SentPages } from './sent-pages.ts';

const MiB = 2 ** 20;

function sent(): { pages: SentPages; pass: (ms: number) => void } {
  let nowMs = 0;
  const pages = new SentPages({ monotonicNs: () => nowMs * 1e6, sleep: () => Promise.resolve() });
  return { pages, pass: (ms) => void (nowMs += ms) };
}

test('a link is silent that takes nothing of what is on its way for a second', () => {
  const { pages, pass } = sent();
  expect(pages.isSilent).toBe(false);
  pass(5000);
  pages.sent(MiB, 256);
  pages.sent(MiB, 256);
  expect(pages.isSilent).toBe(false);
  pass(30);
  pages.taken(1);
  pass(900);
  expect(pages.isSilent).toBe(false);
  pass(200);
  expect(pages.isSilent).toBe(true);
  pages.taken(2);
  pass(5000);
  expect(pages.isSilent).toBe(false);
});

test('a slow link is not taken for a silent one', () => {
  const { pages, pass } = sent();
  for (let count = 1; count <= 8; count++) {
    pages.sent(MiB, 256);
    pass(2000);
    pages.taken(count);
  }
  pages.sent(MiB, 256);
  pass(7000);
  expect(pages.isSilent).toBe(false);
  pass(2000);
  expect(pages.isSilent).toBe(true);
});
