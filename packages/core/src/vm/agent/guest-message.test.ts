import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type GuestMessage, GuestMessageDecoder, ProtocolViolation } from './guest-message.ts';
import { FRAME, HELLO_MAGIC } from './protocol.ts';
import { frame, words } from './testing/scripted-agent.ts';
import { WireWriter } from './wire.ts';

const HELLO = frame(
  FRAME.HELLO,
  0,
  0,
  new WireWriter().bytes(new TextEncoder().encode(HELLO_MAGIC)).bytes(new Uint8Array(20)).take(),
);

const valid = fc.oneof(
  fc.nat(9).map((channel) => frame(FRAME.PING, 0, channel)),
  fc
    .tuple(fc.nat(9), fc.uint8Array({ maxLength: 300, size: 'max' }))
    .map(([channel, bytes]) => frame(FRAME.DATA, 1, channel, bytes)),
  fc.nat(9).map((channel) => frame(FRAME.EXITED, 0, channel, words(0, 3))),
  fc.nat(9).map((channel) => frame(FRAME.WINDOW, 0, channel, words(5))),
);

function messages(bytes: Uint8Array, cuts: readonly number[]): GuestMessage[] {
  const decoder = new GuestMessageDecoder();
  const all: GuestMessage[] = [];
  let from = 0;
  for (const cut of [...cuts.map((part) => part % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]) {
    decoder.push(bytes.subarray(from, cut), (message) => all.push(message));
    from = cut;
  }
  return all;
}

describe('messages of a guest', () => {
  test('are the same however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(valid, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 10 }), (frames, cuts) => {
        const writer = new WireWriter().bytes(HELLO);
        for (const each of frames) writer.bytes(each);
        const bytes = writer.take();
        const whole = messages(bytes, []);
        expect(whole).toHaveLength(1 + frames.length);
        expect(messages(bytes, cuts)).toEqual(whole);
      }),
      { numRuns: 200 },
    );
  });

  test('are refused or understood, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (noise, isGreeted) => {
        const bytes = isGreeted ? new WireWriter().bytes(HELLO).bytes(noise).take() : noise;
        try {
          for (const message of messages(bytes, [])) expect(message.kind).toBeTypeOf('string');
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolViolation);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('that are short hold no more memory than they need', () => {
    const [, data] = messages(
      new WireWriter()
        .bytes(HELLO)
        .bytes(frame(FRAME.DATA, 1, 1, words(1)))
        .bytes(frame(FRAME.PING, 0, 1))
        .take(),
      [],
    );
    expect(data?.kind === 'data' && data.bytes.buffer.byteLength).toBe(4);
  });
});
