/** What the blocks of a capture hold; that other programs read it is tested with tshark (packages/cli/test/network.test.ts). */

import { expect, test } from 'vitest';
import { type Frame, plainFrame } from '../base/frames.ts';
import { FrameCapture } from './capture.ts';
import { isSound } from './checksum.ts';

/** Blocks by type, length and body. */
function blocks(file: readonly Uint8Array[]): { type: number; view: DataView }[] {
  return file.map((bytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    expect([view.getUint32(4, true), view.getUint32(bytes.length - 4, true)]).toEqual([bytes.length, bytes.length]);
    expect(bytes.length % 4).toBe(0);
    return { type: view.getUint32(0, true), view };
  });
}

function rig(hasRoom = () => true) {
  const file: Uint8Array[] = [];
  const sent: Frame[] = [];
  let isTaken = true;
  const network = {
    attach: () => undefined,
    transmit: (frame: Frame) => sent.push(frame) > 0,
    transmitted: () => undefined,
    roomAgain: () => undefined,
  };
  const capture = new FrameCapture(network, {
    sink: { write: (bytes) => void file.push(bytes) },
    nowUs: () => 5 * 2 ** 32 + 7,
    hasRoom,
    name: 'eth0',
  });
  capture.attach({
    takesChecksums: true,
    takesSegments: (segmentation) => segmentation === 'tcp4',
    deliver: () => isTaken,
  });
  return { file, sent, capture, refuse: () => (isTaken = false) };
}

test('begins with its section and its cable, and ends with what it lacks', () => {
  const { file, capture } = rig();
  capture.finish();
  const [section, cable, statistics] = blocks(file);
  expect([section?.type, section?.view.getUint32(8, true)]).toEqual([0x0a0d_0d0a, 0x1a2b_3c4d]);
  expect([cable?.type, cable?.view.getUint16(8, true)]).toEqual([1, 1]);
  expect(statistics?.type).toBe(5);
});

test('writes frames with their time and direction, and lets them through', () => {
  const { file, sent, capture } = rig();
  const frame = plainFrame(Uint8Array.from({ length: 61 }, (_, index) => index));
  expect([capture.transmit(frame), capture.deliver(frame)]).toEqual([true, true]);
  expect(sent).toEqual([frame]);
  const packets = blocks(file).slice(2);
  expect(
    packets.map(({ type, view }) => [
      type,
      view.getUint32(12, true),
      view.getUint32(16, true),
      view.getUint32(20, true),
    ]),
  ).toEqual([
    [6, 5, 7, 61],
    [6, 5, 7, 61],
  ]);
  // epb_flags: sent by the card, received by the card.
  expect(packets.map(({ view }) => view.getUint32(28 + 64 + 4, true))).toEqual([2, 1]);
  expect(new Uint8Array(packets[0]?.view.buffer ?? new ArrayBuffer(0), 28, 61)).toEqual(frame.bytes);
});

test('a checksum that is left to do is done in the copy alone', () => {
  const { file, capture } = rig();
  const bytes = Uint8Array.from({ length: 60 }, (_, index) => index);
  const before = bytes.slice();
  capture.transmit({ bytes, checksumStart: 34, checksumOffset: 6, segmentation: 'none', segmentBytes: 0 });
  expect(bytes).toEqual(before);
  const copy = new Uint8Array(blocks(file)[2]?.view.buffer ?? new ArrayBuffer(0), 28 + 34, 26);
  // The field held a part of the sum, so that everything together comes out right.
  expect(isSound(copy, (34 + 6) * 256 + 34 + 7)).toBe(true);
});

test('a frame that the card refuses is not there yet', () => {
  const { file, capture, refuse } = rig();
  refuse();
  expect(capture.deliver(plainFrame(new Uint8Array(60)))).toBe(false);
  expect(file).toHaveLength(2);
});

test('what the file cannot take is left out, counted, and goes through all the same', () => {
  const { file, sent, capture } = rig(() => false);
  capture.transmit(plainFrame(new Uint8Array(60)));
  capture.finish();
  expect([file.length, sent.length, capture.dropped]).toEqual([3, 1, 1]);
  expect(blocks(file)[2]?.view.getUint32(36, true)).toBe(1);
});

test('takes what the card takes', () => {
  const { capture } = rig();
  expect([capture.takesChecksums, capture.takesSegments('tcp4'), capture.takesSegments('tcp6')]).toEqual([
    true,
    true,
    false,
  ]);
});
