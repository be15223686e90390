/** What the blocks of a capture hold; that other programs read it is tested with tshark (packages/cli/test/network.test.ts). */

import { expect, test } from 'vitest';
import { type Frame, type FrameEndpoint, type FramePort, plainFrame } from '../base/frames.ts';
import { FrameCapture } from './capture.ts';
import { isSound } from './checksum.ts';
import { VirtualSwitch } from './switch.ts';

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
  let isSent = true;
  let endpoint: FrameEndpoint | undefined;
  const network: FramePort = {
    attach: (given) => void (endpoint = given),
    transmit: (frame) => isSent && sent.push(frame) > 0,
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
  if (endpoint === undefined) throw new Error('nothing was plugged in');
  return { file, sent, capture, endpoint, refuse: () => (isTaken = isSent = false) };
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
  const { file, sent, capture, endpoint } = rig();
  const frame = plainFrame(Uint8Array.from({ length: 61 }, (_, index) => index));
  expect([capture.transmit(frame), endpoint.deliver(frame)]).toEqual([true, true]);
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
  const { file, endpoint, refuse } = rig();
  refuse();
  expect(endpoint.deliver(plainFrame(new Uint8Array(60)))).toBe(false);
  expect(file).toHaveLength(2);
});

test('a frame that the network refuses was not sent', () => {
  const { file, capture, refuse } = rig();
  refuse();
  expect(capture.transmit(plainFrame(new Uint8Array(60)))).toBe(false);
  expect(file).toHaveLength(2);
});

test('a frame stands before its answer', () => {
  const file: Uint8Array[] = [];
  const network = new VirtualSwitch();
  const port = network.plug('web');
  const capture = new FrameCapture(port, {
    sink: { write: (bytes) => void file.push(bytes) },
    nowUs: () => 0,
    hasRoom: () => true,
    name: 'eth0',
  });
  const end = { takesChecksums: true, takesSegments: () => true };
  capture.attach({ ...end, deliver: () => true });
  const other = network.plug('db');
  other.attach({ ...end, deliver: () => other.transmit(plainFrame(new Uint8Array(60).fill(0xff))) });
  capture.transmit(plainFrame(new Uint8Array(61).fill(0xff)));
  expect(blocks(file.slice(2)).map(({ view }) => view.getUint32(20, true))).toEqual([61, 60]);
});

test('a card that cannot wait loses no more than without a capture', () => {
  const network = new VirtualSwitch();
  const parts = { sink: { write: () => undefined }, nowUs: () => 0, hasRoom: () => true, name: 'eth0' };
  const capture = new FrameCapture(network.plug('web'), parts);
  const end = { takesChecksums: true, takesSegments: () => true };
  capture.attach({ ...end, deliver: () => true });
  const other = network.plug('db');
  const got: Frame[] = [];
  let hasRoom = false;
  other.attach({ ...end, deliver: (frame) => hasRoom && got.push(frame) > 0 });
  const bytes = Uint8Array.from({ length: 60 }, (_, index) => (index < 12 ? 2 * (1 + Math.floor(index / 6)) : 0));
  other.transmit(
    plainFrame(Uint8Array.from([...bytes.subarray(6, 12), ...bytes.subarray(0, 6), ...bytes.subarray(12)])),
  );
  for (let count = 0; count < 10; count++) expect(capture.transmit(plainFrame(bytes))).toBe(true);
  hasRoom = true;
  other.roomAgain();
  expect(got).toHaveLength(10);
});

test('what the file cannot take is left out, counted, and goes through all the same', () => {
  const { file, sent, capture } = rig(() => false);
  capture.transmit(plainFrame(new Uint8Array(60)));
  capture.finish();
  expect([file.length, sent.length, capture.dropped]).toEqual([3, 1, 1]);
  expect(blocks(file)[2]?.view.getUint32(36, true)).toBe(1);
});

test('takes what the card takes', () => {
  const { endpoint } = rig();
  expect([endpoint.takesChecksums, endpoint.takesSegments('tcp4'), endpoint.takesSegments('tcp6')]).toEqual([
    true,
    true,
    false,
  ]);
});
