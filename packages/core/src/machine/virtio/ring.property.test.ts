/**
 * Rings as a malicious or broken driver lays them: random words everywhere, and good rings with a few words changed. Whatever they say,
 * the device does not throw, writes nothing outside the buffers it was given and the used ring, and stops when a rule was broken.
 */

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryBlockStore } from '../../storage/memory-block-store.ts';
import { CountingEntropy } from '../testing/doubles.ts';
import { VirtioBlock } from './block.ts';
import { VirtioConsole } from './console.ts';
import { MemoryTree } from '../fuse/testing/memory-tree.ts';
import { VirtioFs } from './fs.ts';
import { VirtioRng } from './rng.ts';
import type { VirtioDevice } from './virtio-device.ts';
import { readChain } from './descriptors.ts';
import { Chain } from './chain.ts';
import { VIRTIO_F } from './features.ts';
import { EchoDevice } from './testing/echo-device.ts';
import { DESC } from './testing/guest-queue.ts';
import { QueueBench } from './testing/queue-bench.ts';
import { RAM_BASE, Rig, TRANSPORTS } from './testing/rig.ts';
import { ScatteredMemory } from './testing/scattered-memory.ts';

const PAGES = 16;
const RAM_END = RAM_BASE + PAGES * 4096;

const address = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: RAM_BASE, max: RAM_END + 64 }) },
  { weight: 2, arbitrary: fc.integer({ min: RAM_BASE, max: RAM_BASE + 512 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, RAM_BASE - 1, RAM_END - 1, RAM_END, 2 ** 53 - 1, 2 ** 63) },
);
const size = fc.oneof(fc.nat(64), fc.nat(5000), fc.constantFrom(0, 16, 32, 48, 0xffff_fff0, 0xffff_ffff));
const flags = fc.oneof(fc.integer({ min: 0, max: 7 }), fc.nat(0xffff));
const descriptor = fc.record({ address, size, flags, next: fc.oneof(fc.nat(9), fc.nat(0xffff)) });

test('a random descriptor table gives a chain that lies in RAM, or a reason', () => {
  fc.assert(
    fc.property(
      fc.array(descriptor, { minLength: 8, maxLength: 8 }),
      fc.nat(9),
      fc.boolean(),
      (table, head, indirect) => {
        const bench = new QueueBench(8, [], PAGES);
        for (const [index, entry] of table.entries()) bench.guest.setDescriptor(index, entry);
        const chain = readChain(bench.memory, { address: bench.guest.descriptors, entries: 8 }, head, indirect);
        if (typeof chain === 'string') return;
        // Every byte of it can be touched; the parts assert that themselves.
        chain.readable.copyTo(new Uint8Array(chain.readable.bytes));
        chain.writable.copyFrom(new Uint8Array(chain.writable.bytes));
        chain.readable.lend(0, chain.readable.bytes).release();
        chain.writable.lend(0, chain.writable.bytes).release();
        expect(bench.memory.loans).toEqual([]);
      },
    ),
    { numRuns: 400 },
  );
});

test('what is read back through any window of a chain is what lies there', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(3000), { minLength: 1, maxLength: 6 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat(9000),
      (sizes, where, most) => {
        const memory = new ScatteredMemory(RAM_BASE, 64);
        const segments = sizes.map((length, index) => ({ address: RAM_BASE + index * 5000 + 11, size: length }));
        const expected: number[] = [];
        for (const [index, segment] of segments.entries()) {
          const bytes = Uint8Array.from({ length: segment.size }, (_, at) => (at * 31 + index) & 0xff);
          memory.write(segment.address, bytes);
          expected.push(...bytes);
        }
        const chain = new Chain(memory, 0, segments, segments);
        const offset = Math.floor(where * chain.readable.bytes);
        const length = Math.min(most, chain.readable.bytes - offset);
        const copy = new Uint8Array(length);
        chain.readable.copyTo(copy, offset);
        const loan = chain.writable.lend(offset, length);
        const lent = loan.views.flatMap((view) => [...view]);
        loan.release();
        expect([...copy]).toEqual(expected.slice(offset, offset + length));
        expect(lent).toEqual([...copy]);
      },
    ),
    { numRuns: 100 },
  );
});

describe.each(TRANSPORTS)('over %s', (transport) => {
  test('rings of random words never throw; the device serves them or stops', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('descriptor' as const), index: fc.nat(7), entry: descriptor }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('offer' as const), head: fc.oneof(fc.nat(8), fc.nat(0xffff)) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('index' as const), index: fc.nat(0xffff) }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('notify' as const), queue: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, eventIndex) => {
        const rig = new Rig(transport, new EchoDevice(), PAGES);
        const start = { queueSize: 8, without: eventIndex ? [] : [VIRTIO_F.EVENT_IDX] };
        rig.start(start);
        for (const action of steps) {
          const queue = rig.queue(0);
          if (action.kind === 'descriptor') queue.setDescriptor(action.index, action.entry);
          else if (action.kind === 'offer') queue.offer(action.head);
          else if (action.kind === 'index') queue.setAvailableIndex(action.index);
          else if (action.kind === 'notify') rig.guest.notify(action.queue);
          else rig.start(start);
        }
        rig.guest.notify(0);
        // A device that stopped said why; one that did not has an empty ring. It may be the other queue, whose ring an answer has overwritten.
        const stopped = rig.needsReset;
        expect(rig.faults.reports.some((report) => /queue [01] /.test(report)) || !stopped).toBe(true);
        rig.start(start);
        expect(rig.needsReset).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  test('an answer into the ring of another queue stops the device with the name of that queue', () => {
    const rig = new Rig(transport, new EchoDevice(), PAGES).start({ queueSize: 8 });
    const [first, second] = [rig.queue(0), rig.queue(1)];
    first.setDescriptor(0, { address: RAM_BASE + 24, size: 4, flags: DESC.NEXT, next: 1 });
    first.setDescriptor(1, { address: second.available + 2, size: 64, flags: DESC.WRITE });
    first.offer(0);
    rig.guest.notify(0);
    rig.guest.notify(1);
    expect(rig.needsReset).toBe(true);
    expect(rig.faults.reports).toEqual([expect.stringContaining('queue 1 has an available index that ran 64 ahead')]);
  });

  test.each([
    ['the entropy device', () => new VirtioRng(new CountingEntropy())],
    ['the block device', () => new VirtioBlock({ store: new MemoryBlockStore(new Uint8Array(8192)), serial: 'x' })],
    [
      'the file system device',
      () => new VirtioFs({ tag: 'x', tree: new MemoryTree(), readOnly: false, writeback: false }),
    ],
    ['the console device', () => new VirtioConsole([{ name: 'a', console: true }, { name: 'b' }])],
  ] as const)('%s survives random requests in every queue', async (_, make) => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('descriptor' as const),
          queue: fc.nat(5),
          index: fc.nat(7),
          entry: descriptor,
        }),
      },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('offer' as const), queue: fc.nat(5), head: fc.nat(7) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('poke' as const),
          at: fc.nat(4096),
          bytes: fc.uint8Array({ maxLength: 24 }),
        }),
      },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('notify' as const), queue: fc.nat(5) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('snapshot' as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const rig = new Rig<VirtioDevice>(transport, make(), 64);
        rig.start({ queueSize: 8 });
        for (const action of steps) {
          const queue = 'queue' in action ? rig.queues[action.queue % rig.queues.length] : undefined;
          if (action.kind === 'descriptor') queue?.setDescriptor(action.index, action.entry);
          else if (action.kind === 'offer') queue?.offer(action.head);
          else if (action.kind === 'poke') rig.memory.write(RAM_BASE + action.at, action.bytes);
          else if (action.kind === 'notify') rig.guest.notify(action.queue % rig.queues.length);
          else if (action.kind === 'snapshot') {
            await rig.machineDevice.quiesce?.();
            const saved = rig.machineDevice.save();
            rig.machineDevice.restore(saved);
            expect(rig.machineDevice.save()).toEqual(saved);
            rig.machineDevice.resume?.();
          } else {
            rig.guest.setStatus(0);
            await rig.machineDevice.quiesce?.();
            rig.machineDevice.resume?.();
            rig.start({ queueSize: 8 });
          }
        }
        await rig.machineDevice.quiesce?.();
        expect(rig.memory.loans).toEqual([]);
        rig.machineDevice.resume?.();
        rig.guest.setStatus(0);
        await rig.machineDevice.quiesce?.();
        rig.start({ queueSize: 8 });
        expect(rig.needsReset).toBe(false);
      }),
      { numRuns: 80 },
    );
  });

  test('a good ring with one word changed is served or stops the device, and nothing else in memory changes', () => {
    const change = fc.record({ place: fc.nat(16 * 8 - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), fc.boolean(), (changes, indirect) => {
        const rig = new Rig(transport, new EchoDevice(), PAGES);
        rig.start({ queueSize: 8 });
        const queue = rig.queue(0);
        queue.submit([new Uint8Array(40).fill(1)], [20, 30], indirect);
        queue.submit([new Uint8Array(5).fill(2), new Uint8Array(6).fill(3)], [11], indirect);
        for (const { place, bytes } of changes) rig.memory.write(queue.descriptors + place, bytes);
        const mayWrite = writable(rig.memory, queue.descriptors, 8);
        const before = rig.memory.snapshot();
        rig.guest.notify(0);
        const after = rig.memory.snapshot();
        const usedStart = queue.used - RAM_BASE;
        const usedEnd = usedStart + 6 + 8 * 8;
        const wrong = [...after.keys()].filter(
          (at) => after[at] !== before[at] && !(at >= usedStart && at < usedEnd) && !mayWrite.has(at),
        );
        expect(wrong).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

/** Offsets in RAM that some descriptor of the table, or of an indirect table, declares device-writable. */
function writable(memory: ScatteredMemory, table: number, entries: number): Set<number> {
  const offsets = new Set<number>();
  const visit = (at: number, deep: boolean): void => {
    const start = memory.load64(at) ?? 0;
    const length = Math.min(memory.load32(at + 8) ?? 0, 0x1_0000);
    const bits = memory.load16(at + 12) ?? 0;
    if ((bits & DESC.INDIRECT) !== 0 && deep) {
      for (let index = 0; index < length / 16; index++) visit(start + 16 * index, false);
    } else if ((bits & DESC.WRITE) !== 0) {
      for (let index = 0; index < length; index++) offsets.add(start + index - RAM_BASE);
    }
  };
  for (let index = 0; index < entries; index++) visit(table + 16 * index, true);
  return offsets;
}
