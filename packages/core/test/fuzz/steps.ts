/**
 * What a hostile or broken driver does to a virtio device, as data: steps that fast-check makes at random and makes fewer and smaller when
 * one of them hurt.
 *
 *     registers    accesses of any width at any offset, of the device's registers and of its PCI configuration space
 *     rings        descriptors, available entries and indices that are random, requests that are right but for a few octets
 *     the world    what comes from outside, time that passes, snapshots, resets, turns of the event loop
 */

import * as fc from 'fast-check';
import { RAM_BASE } from '../../src/machine/virtio/testing/rig.ts';

/** Guest memory of the bench: enough for rings after many resets, small enough that random addresses meet each other. */
export const RAM_PAGES = 128;
const RAM_END = RAM_BASE + RAM_PAGES * 4096;
/** Queues that steps name; a device with fewer counts around. */
const QUEUES = 8;
/** The longest buffer of a request that is laid out as a driver would. */
const LONGEST_BUFFER = 3000;

/** Ways in which a descriptor lies: its buffer ends behind memory, has no length or the largest, is nowhere, or it goes around. */
export const WRONGS = ['beyond', 'empty', 'huge', 'nowhere', 'loop'] as const;

export type Step =
  | {
      readonly kind: 'register';
      readonly region: number;
      readonly offset: number;
      readonly size: 1 | 2 | 4;
      readonly value: number | undefined;
    }
  | {
      readonly kind: 'configuration space';
      readonly offset: number;
      readonly size: 1 | 2 | 4;
      readonly value: number | undefined;
    }
  | {
      readonly kind: 'descriptor';
      readonly queue: number;
      readonly index: number;
      readonly address: number;
      readonly size: number;
      readonly flags: number;
      readonly next: number;
    }
  | { readonly kind: 'offer'; readonly queue: number; readonly head: number }
  | { readonly kind: 'available index'; readonly queue: number; readonly index: number }
  | { readonly kind: 'poke'; readonly at: number; readonly bytes: Uint8Array }
  /** A request of the device's own kind, made from these octets, with some of them changed afterwards. */
  | {
      readonly kind: 'request';
      readonly queue: number;
      readonly seed: Uint8Array;
      readonly room: readonly number[];
      readonly indirect: boolean;
      readonly changes: readonly { readonly at: number; readonly value: number }[];
      /** What is wrong with one of its descriptors. */
      readonly wrong: { readonly which: number; readonly how: (typeof WRONGS)[number] } | undefined;
    }
  /** As many descriptors as the queue has, each over all of memory. */
  | { readonly kind: 'endless chain'; readonly queue: number; readonly writable: boolean }
  | { readonly kind: 'notify'; readonly queue: number }
  | { readonly kind: 'outside'; readonly what: number; readonly bytes: Uint8Array }
  | { readonly kind: 'time'; readonly ns: number }
  | { readonly kind: 'turns' }
  | { readonly kind: 'snapshot' }
  | { readonly kind: 'restart'; readonly queueSize: number; readonly without: readonly number[] };

const access = fc.record({
  offset: fc.oneof(
    { weight: 3, arbitrary: fc.nat(0x60) },
    { weight: 1, arbitrary: fc.nat(0x120) },
    { weight: 1, arbitrary: fc.nat(0xfff) },
  ),
  size: fc.constantFrom(1 as const, 2 as const, 4 as const),
  value: fc.option(
    fc.oneof(
      fc.nat(16),
      fc.constantFrom(0x7f, 0xff, 0xffff, 0xffff_ffff, RAM_BASE, RAM_END - 16, 0x1000),
      fc.nat(0xffff_ffff),
    ),
    { nil: undefined },
  ),
});
const aligned = ({ offset, size, value }: { offset: number; size: 1 | 2 | 4; value: number | undefined }) => ({
  offset: offset - (offset % size),
  size,
  value: value === undefined ? undefined : value % 2 ** (8 * size),
});

const address = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: RAM_BASE, max: RAM_END + 64 }) },
  { weight: 3, arbitrary: fc.integer({ min: RAM_BASE, max: RAM_BASE + 2048 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(0, RAM_BASE - 1, RAM_BASE, RAM_END - 1, RAM_END, 2 ** 32 - 1, 2 ** 53 - 1, 2 ** 63),
  },
);
const length = fc.oneof(
  fc.nat(64),
  fc.nat(5000),
  fc.constantFrom(0, 1, 16, 512, 4096, RAM_END - RAM_BASE, 0x7fff_ffff, 0xffff_ffff),
);
const queue = fc.nat(QUEUES - 1);
const octet = fc.oneof(fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff), fc.nat(255));

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: access.map((one): Step => ({ kind: 'register', region: (one.offset * 7) % 5, ...aligned(one) })),
    },
    { weight: 1, arbitrary: access.map((one): Step => ({ kind: 'configuration space', ...aligned(one) })) },
    {
      weight: 5,
      arbitrary: fc
        .record({
          queue,
          index: fc.nat(9),
          address,
          size: length,
          flags: fc.oneof({ weight: 3, arbitrary: fc.nat(7) }, fc.nat(0xffff)),
          next: fc.oneof({ weight: 3, arbitrary: fc.nat(9) }, fc.nat(0xffff)),
        })
        .map((one): Step => ({ kind: 'descriptor', ...one })),
    },
    {
      weight: 4,
      arbitrary: fc
        .record({ queue, head: fc.oneof({ weight: 5, arbitrary: fc.nat(8) }, fc.nat(0xffff)) })
        .map((one): Step => ({ kind: 'offer', ...one })),
    },
    {
      weight: 1,
      arbitrary: fc.record({ queue, index: fc.nat(0xffff) }).map((one): Step => ({ kind: 'available index', ...one })),
    },
    {
      weight: 2,
      arbitrary: fc
        .record({ at: fc.nat(8192), bytes: fc.uint8Array({ minLength: 1, maxLength: 24 }) })
        .map((one): Step => ({ kind: 'poke', ...one })),
    },
    {
      weight: 10,
      arbitrary: fc
        .record({
          queue,
          seed: fc.uint8Array({ minLength: 4, maxLength: 80 }),
          room: fc.array(fc.oneof(fc.nat(200), fc.nat(LONGEST_BUFFER)), { maxLength: 3 }),
          indirect: fc.boolean(),
          wrong: fc.option(fc.record({ which: fc.nat(4), how: fc.constantFrom(...WRONGS) }), {
            nil: undefined,
            freq: 2,
          }),
          changes: fc.array(fc.record({ at: fc.nat(LONGEST_BUFFER), value: octet }), { maxLength: 3 }),
        })
        .map((one): Step => ({ kind: 'request', ...one })),
    },
    {
      weight: 1,
      arbitrary: fc.record({ queue, writable: fc.boolean() }).map((one): Step => ({ kind: 'endless chain', ...one })),
    },
    { weight: 8, arbitrary: queue.map((which): Step => ({ kind: 'notify', queue: which })) },
    {
      weight: 4,
      arbitrary: fc
        .record({ what: fc.nat(15), bytes: fc.uint8Array({ maxLength: 300 }) })
        .map((one): Step => ({ kind: 'outside', ...one })),
    },
    { weight: 1, arbitrary: fc.nat(5_000_000).map((ns): Step => ({ kind: 'time', ns })) },
    { weight: 3, arbitrary: fc.constant<Step>({ kind: 'turns' }) },
    { weight: 1, arbitrary: fc.constant<Step>({ kind: 'snapshot' }) },
    {
      weight: 2,
      arbitrary: fc
        .record({ queueSize: fc.constantFrom(1, 2, 8, 64), without: fc.uniqueArray(fc.nat(40), { maxLength: 6 }) })
        .map((one): Step => ({ kind: 'restart', ...one })),
    },
  ),
  { maxLength: 60, size: 'medium' },
);
