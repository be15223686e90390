import { expect, test } from 'vitest';
import { earlierOf, readEarlier } from './earlier.ts';

const now = { processor: 'Xeon', kernelVersion: '6.12', commandLine: 'quiet', memoryMib: 512 };
const wanted = { userland: true, results: ['sort64MB'] };
const side = {
  userlandSeconds: [2],
  programs: { sort64MB: { seconds: [1], check: 'a', mips: [], instructions: [] } },
  memory: { programs: { results: ['sort64MB'], peakResidentBytes: [5], guestBytes: [] } },
};
const report = {
  qemu: '7.2',
  host: { processor: 'Xeon', cores: 2 },
  image: { kernelVersion: '6.12', commandLine: 'quiet', memoryMib: 512, suite: 'stable' },
  sides: { qemu: side, native: { userlandSeconds: [], programs: {}, memory: {} }, interpreter: side },
};
const read = (changed: object = {}) => earlierOf(JSON.stringify({ ...report, ...changed }), 'old.json', now, wanted);

test("an earlier run's figures of QEMU and of the machine itself come back", () => {
  expect(read()).toEqual({ qemuVersion: '7.2', qemu: side, native: report.sides.native });
});

test.each([
  ['no JSON', '{'],
  ['another file', '{"name":"ringfence"}'],
  ['a list', '[]'],
  [
    'figures that are none',
    JSON.stringify({ ...report, sides: { ...report.sides, qemu: { ...side, userlandSeconds: ['2'] } } }),
  ],
  [
    'a program without figures',
    JSON.stringify({ ...report, sides: { ...report.sides, qemu: { ...side, programs: { a: { seconds: [] } } } } }),
  ],
  [
    'memory without figures',
    JSON.stringify({ ...report, sides: { ...report.sides, qemu: { ...side, memory: { a: {} } } } }),
  ],
])('%s is not taken for a report', (_, text) => {
  expect(() => earlierOf(text, 'old.json', now, wanted)).toThrow('old.json is not a file that this benchmark wrote.');
});

test('figures of another machine or image are refused', () => {
  expect(() => read({ host: { processor: 'EPYC' } })).toThrow(
    'The figures in old.json are of other circumstances: processor was EPYC, now it is Xeon.',
  );
  expect(() => read({ image: { ...report.image, kernelVersion: '6.11' } })).toThrow(
    'kernelVersion was 6.11, now it is 6.12',
  );
});

test('what was not measured then is named', () => {
  const qemu = { ...side, userlandSeconds: [], programs: {} };
  expect(() => read({ sides: { ...report.sides, qemu } })).toThrow(
    'old.json has no figure of QEMU for userland, sort64MB.',
  );
});

test('a file that cannot be read is a sentence', async () => {
  await expect(readEarlier('/nowhere/old.json', now, wanted)).rejects.toThrow(
    'The figures of an earlier run cannot be read: ENOENT',
  );
});
