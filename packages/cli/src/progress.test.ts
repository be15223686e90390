import { expect, test } from 'vitest';
import { ProgressDisplay, progressLine } from './progress.ts';

const MiB = 2 ** 20;
const download = (bytesDone: number, bytesTotal?: number) =>
  ({ kind: 'download', item: 'linux', bytesDone, bytesTotal }) as const;

function display(isTerminal: boolean) {
  const screen = { isTerminal, columns: 80, text: '', write: (text: string) => void (screen.text += text) };
  const clock = { nowMs: 0 };
  return { screen, clock, shown: new ProgressDisplay(screen, () => clock.nowMs) };
}

test('a line has a bar where the whole is known', () => {
  expect(progressLine(download(10 * MiB, 40 * MiB), 100)).toBe(
    '[######..................] Fetching linux, 10 MiB of 40 MiB',
  );
  expect(progressLine(download(10 * MiB), 100)).toBe('Fetching linux, 10 MiB');
  expect(progressLine({ kind: 'unpack', item: 'x', bytesDone: 0, bytesTotal: 0 }, 100)).toBe('Unpacking x, 0 B of 0 B');
  expect(progressLine(download(10 * MiB, 40 * MiB), 10)).toHaveLength(10);
});

test('a terminal is redrawn ten times a second and left clean', () => {
  const { screen, clock, shown } = display(true);
  shown.show(download(0, MiB));
  clock.nowMs = 50;
  shown.show(download(1024, MiB));
  expect(screen.text.split('Fetching')).toHaveLength(2);
  clock.nowMs = 100;
  shown.show(download(2048, MiB));
  expect(screen.text.split('Fetching')).toHaveLength(3);
  shown.end();
  expect(screen.text.endsWith('\r\u001b[K')).toBe(true);
});

test('where there is no terminal each thing is said once', () => {
  const { screen, shown } = display(false);
  shown.show({ kind: 'waiting' });
  for (const done of [0, 1024, MiB]) shown.show(download(done, MiB));
  shown.show({ kind: 'unpack', item: 'linux', bytesDone: 0, bytesTotal: MiB });
  shown.end();
  expect(screen.text).toBe(
    'Another ringfence is pulling this image; waiting for it\nFetching linux (1 MiB)\nUnpacking linux (1 MiB)\n',
  );
});
