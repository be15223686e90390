import { describe, expect, test } from 'vitest';
import { SavedReader, SavedStateError } from '../../base/saved.ts';
import type { Chain } from './chain.ts';
import { VIRTIO_F } from './features.ts';
import { Virtqueue } from './queue.ts';
import { DESC } from './testing/guest-queue.ts';
import type { Descriptor } from './testing/guest-queue.ts';
import { QueueBench, RecordingOwner, setQueue } from './testing/queue-bench.ts';
import { ScatteredMemory } from './testing/scattered-memory.ts';

const ALL = Object.values(VIRTIO_F);
const RAM = 0x8000_0000;
const RAM_END = RAM + 64 * 4096;

function text(bytes: string): Uint8Array {
  return new TextEncoder().encode(bytes);
}

function readAll(chain: Chain): string {
  const bytes = new Uint8Array(chain.readable.bytes);
  chain.readable.copyTo(bytes);
  return new TextDecoder().decode(bytes);
}

function popped(bench: QueueBench): Chain {
  const chain = bench.queue.pop();
  if (chain === undefined) throw new Error(`nothing was popped: ${bench.owner.failures.join('; ')}`);
  return chain;
}

describe('a chain', () => {
  test.each([false, true])('carries its bytes both ways over buffers and pages (indirect: %s)', (indirect) => {
    const bench = new QueueBench(8, ALL);
    bench.allocator.allocate(4090, 4096); // so that buffers cross pages
    const request = bench.guest.submit([text('hello'), text(', '), text('world')], [3, 5000, 2], indirect);
    const chain = popped(bench);
    expect(readAll(chain)).toBe('hello, world');
    expect(chain.writable.bytes).toBe(5005);
    chain.writable.copyFrom(text('0123456789'), 1);
    chain.writable.copyFrom(text('end'), 5002);
    bench.queue.complete(chain, 5005);
    expect(bench.guest.takeUsed()).toEqual([{ head: request.head, written: 5005 }]);
    const answer = bench.guest.answer(request);
    expect(new TextDecoder().decode(answer.subarray(0, 11))).toBe('\u{0}0123456789');
    expect(new TextDecoder().decode(answer.subarray(5002))).toBe('end');
    expect(bench.owner.failures).toEqual([]);
  });

  test('lends the bytes themselves, page by page, until they are released', () => {
    const bench = new QueueBench(8, ALL);
    bench.allocator.allocate(4096 - (bench.allocator.allocate(1, 1) % 4096), 1);
    bench.guest.submit([text('abcdef')], [6000], false);
    const chain = popped(bench);
    const read = chain.readable.lend(2, 3);
    expect(read.views.map((view) => new TextDecoder().decode(view.slice()))).toEqual(['cde']);
    const write = chain.writable.lend(1000, 5000);
    expect(write.views.length).toBeGreaterThan(1);
    for (const view of write.views) view.fill(7);
    expect(bench.memory.loans).toHaveLength(2);
    read.release();
    write.release();
    expect(bench.memory.loans).toEqual([]);
    expect(bench.memory.load8(RAM_END - 1)).toBe(0);
  });

  test('may end in an indirect table, whose own WRITE flag means nothing', () => {
    const bench = new QueueBench(4, ALL);
    const buffer = bench.allocator.allocate(64);
    const table = bench.allocator.allocate(32);
    bench.memory.write(buffer, text('direct indirect'));
    bench.guest.setDescriptor(0, { address: buffer, size: 7, flags: DESC.NEXT, next: 2 });
    bench.guest.setDescriptor(2, { address: table, size: 32, flags: DESC.INDIRECT | DESC.WRITE });
    bench.guest.setDescriptor(0, { address: buffer + 7, size: 8, flags: DESC.NEXT, next: 1 }, table);
    bench.guest.setDescriptor(1, { address: buffer + 32, size: 4, flags: DESC.WRITE }, table);
    bench.guest.offer(0);
    const chain = popped(bench);
    expect(readAll(chain)).toBe('direct indirect');
    expect(chain.writable.bytes).toBe(4);
  });

  test('may hold elements of length zero, wherever they point', () => {
    const bench = new QueueBench(4, ALL);
    const buffer = bench.allocator.allocate(16);
    bench.guest.setDescriptor(0, { address: 0, size: 0, flags: DESC.NEXT, next: 1 });
    bench.guest.setDescriptor(1, { address: buffer, size: 4, flags: DESC.NEXT, next: 2 });
    bench.guest.setDescriptor(2, { address: 2 ** 60, size: 0, flags: DESC.WRITE });
    bench.guest.offer(0);
    const chain = popped(bench);
    expect([chain.readable.bytes, chain.writable.bytes]).toEqual([4, 0]);
    bench.queue.complete(chain, 0);
    expect(bench.guest.takeUsed()).toEqual([{ head: 0, written: 0 }]);
  });

  test('may be exactly as long as its queue', () => {
    const bench = new QueueBench(8, ALL);
    bench.guest.submit(
      Array.from({ length: 8 }, () => text('x')),
      [],
    );
    expect(readAll(popped(bench))).toBe('xxxxxxxx');
    bench.guest.submit(
      Array.from({ length: 8 }, () => text('y')),
      [],
      true,
    );
    expect(readAll(popped(bench))).toBe('yyyyyyyy');
  });
});

describe('a wrong chain stops the queue and says why:', () => {
  const wrong: Record<
    string,
    { readonly descriptors: readonly Descriptor[]; readonly reason: RegExp; readonly features?: readonly number[] }
  > = {
    'a buffer below RAM': { descriptors: [{ address: 0x1000, size: 4 }], reason: /4 bytes at 0x1000, outside RAM/ },
    'a buffer that reaches over the end of RAM': {
      descriptors: [{ address: RAM_END - 4, size: 5 }],
      reason: /outside RAM/,
    },
    'a buffer that wraps around': { descriptors: [{ address: RAM, size: 0xffff_ffff }], reason: /outside RAM/ },
    'an address beyond 2^53': { descriptors: [{ address: 2 ** 63, size: 1 }], reason: /outside RAM/ },
    'a loop of one': {
      descriptors: [{ address: RAM, size: 1, flags: DESC.NEXT, next: 0 }],
      reason: /longer than its queue of 4, or a loop/,
    },
    'a loop of two': {
      descriptors: [
        { address: RAM, size: 1, flags: DESC.NEXT, next: 1 },
        { address: RAM, size: 1, flags: DESC.NEXT, next: 0 },
      ],
      reason: /a loop/,
    },
    'a next descriptor that does not exist': {
      descriptors: [{ address: RAM, size: 1, flags: DESC.NEXT, next: 4 }],
      reason: /descriptor 4 does not exist in a table of 4/,
    },
    'readable behind writable': {
      descriptors: [
        { address: RAM, size: 1, flags: DESC.NEXT | DESC.WRITE, next: 1 },
        { address: RAM, size: 1 },
      ],
      reason: /device-readable behind a device-writable/,
    },
    'an indirect table when none was agreed on': {
      descriptors: [{ address: RAM, size: 16, flags: DESC.INDIRECT }],
      reason: /not negotiated/,
      features: [VIRTIO_F.VERSION_1],
    },
    'an indirect table that goes on': {
      descriptors: [{ address: RAM, size: 16, flags: DESC.INDIRECT | DESC.NEXT, next: 1 }],
      reason: /has a next one/,
    },
    'an indirect table of a length that is no number of descriptors': {
      descriptors: [{ address: RAM, size: 40, flags: DESC.INDIRECT }],
      reason: /40 bytes, which is not a number of descriptors/,
    },
    'an empty indirect table': { descriptors: [{ address: RAM, size: 0, flags: DESC.INDIRECT }], reason: /0 bytes/ },
    'an indirect table outside RAM': {
      descriptors: [{ address: RAM_END, size: 16, flags: DESC.INDIRECT }],
      reason: /outside RAM/,
    },
    'an indirect table at an odd place with nonsense in it': {
      // It reads the descriptor table itself, shifted: flags and next become addresses.
      descriptors: [{ address: RAM + 1, size: 16, flags: DESC.INDIRECT }],
      reason: /holds a wrong chain/,
    },
  };

  test.each(Object.entries(wrong))('%s', (_, { descriptors, reason, features }) => {
    const bench = new QueueBench(4, features ?? ALL);
    for (const [index, descriptor] of descriptors.entries()) bench.guest.setDescriptor(index, descriptor);
    bench.guest.offer(0);
    const before = bench.memory.snapshot();
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.owner.failures).toEqual([expect.stringMatching(reason)]);
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.owner.failures).toHaveLength(1);
    expect(bench.memory.snapshot()).toEqual(before);
  });

  test('an indirect table within an indirect table', () => {
    const bench = new QueueBench(4, ALL);
    const table = bench.allocator.allocate(16);
    bench.guest.setDescriptor(0, { address: table, size: 16, flags: DESC.INDIRECT });
    bench.guest.setDescriptor(0, { address: table, size: 16, flags: DESC.INDIRECT }, table);
    bench.guest.offer(0);
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.owner.failures[0]).toMatch(/indirect within an indirect table/);
  });

  test('an indirect chain longer than the queue', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.submit(
      Array.from({ length: 5 }, () => text('x')),
      [],
      true,
    );
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.owner.failures[0]).toMatch(/longer than its queue of 4/);
  });

  test('more than 2^32 bytes, every one of them in RAM', () => {
    const memory = new ScatteredMemory(RAM, 4);
    // RAM without an end, of which only the first pages are looked at.
    memory.contains = (address: number) => address >= RAM;
    const owner = new RecordingOwner(memory, ALL);
    const queue = new Virtqueue(0, 2, owner);
    setQueue(queue, { size: 2, descriptors: RAM, available: RAM + 64, used: RAM + 128 });
    queue.enable();
    for (const index of [0, 1]) {
      memory.store64(RAM + 16 * index, RAM);
      memory.store32(RAM + 16 * index + 8, 0xffff_ffff);
      memory.store16(RAM + 16 * index + 12, index === 0 ? DESC.NEXT : 0);
      memory.store16(RAM + 16 * index + 14, 1);
    }
    memory.store16(RAM + 66, 1);
    expect(queue.pop()).toBeUndefined();
    expect(owner.failures[0]).toMatch(/longer than 2\^32 bytes/);
  });

  test('an answer into ROM', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.setDescriptor(0, { address: RAM + 0x1ff8, size: 4 });
    bench.guest.setDescriptor(1, { address: RAM + 0x1ff8, size: 16, flags: DESC.WRITE });
    bench.guest.offer(0);
    bench.guest.offer(1);
    bench.memory.romEnd = RAM + 0x1ffc;
    expect(popped(bench).readable.bytes).toBe(4);
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.owner.failures[0]).toMatch(/descriptor 1 points to 16 bytes at 0x80001ff8, outside RAM/);
  });

  test('a head that does not exist', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.offer(0xffff);
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.owner.failures[0]).toMatch(/descriptor 65535 does not exist/);
  });

  test('an available index that runs further ahead than the queue is long', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.setAvailableIndex(5);
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.owner.failures).toEqual([expect.stringMatching(/ran 5 ahead, more than its size of 4/)]);
  });

  test('an available index that goes back', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.submit([text('x')], []);
    popped(bench);
    bench.guest.setAvailableIndex(0);
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.owner.failures[0]).toMatch(/ran 65535 ahead/);
  });
});

describe('enabling a queue', () => {
  const places = { size: 8, descriptors: RAM, available: RAM + 0x1000, used: RAM + 0x2000 };
  const attempt = (change: Partial<typeof places>): { readonly queue: Virtqueue; readonly owner: RecordingOwner } => {
    const owner = new RecordingOwner(new ScatteredMemory(RAM, 64), ALL);
    const queue = new Virtqueue(3, 64, owner);
    setQueue(queue, { ...places, ...change });
    queue.enable();
    return { queue, owner };
  };

  test('takes every power of two up to the maximum', () => {
    for (const size of [1, 2, 64]) expect(attempt({ size }).queue.enabled).toBe(true);
  });

  test.each([
    [{ size: 0 }, 'cannot have 0 entries'],
    [{ size: 48 }, 'cannot have 48 entries'],
    [{ size: 128 }, 'cannot have 128 entries (a power of two, at most 64)'],
    [{ size: 0x8000_0000 }, 'cannot have'],
    [{ descriptors: RAM + 8 }, 'has its descriptor table at 0x80000008, which is not a multiple of 16'],
    [{ available: RAM + 1 }, 'not a multiple of 2'],
    [{ used: RAM + 2 }, 'not a multiple of 4'],
    [{ descriptors: RAM_END - 64 }, 'has its descriptor table at 0x8003ffc0, outside RAM'],
    [{ available: 0 }, 'has its available ring at 0x0, outside RAM'],
    [{ used: RAM_END - 66 - 2 }, 'has its used ring at 0x8003ffbc, outside RAM'],
    [{ used: 2 ** 60 }, 'outside RAM'],
  ])('with %j fails the device and leaves it disabled', (change, reason) => {
    const { queue, owner } = attempt(change);
    expect(queue.enabled).toBe(false);
    expect(owner.failures).toHaveLength(1);
    expect(owner.failures[0]).toMatch(/^queue 3 /);
    expect(owner.failures[0]).toContain(reason);
  });

  test('with a used ring in ROM fails the device', () => {
    const memory = new ScatteredMemory(RAM, 64);
    memory.romEnd = places.used + 1;
    const owner = new RecordingOwner(memory, ALL);
    const queue = new Virtqueue(0, 8, owner);
    setQueue(queue, places);
    queue.enable();
    expect(queue.enabled).toBe(false);
    expect(owner.failures[0]).toContain('has its used ring at 0x80002000, outside RAM');
  });

  test('twice is once, and an enabled queue keeps its registers', () => {
    const { queue, owner } = attempt({});
    setQueue(queue, { size: 1, descriptors: 0, available: 0, used: 0 });
    queue.enable();
    expect([queue.size, queue.area(0), owner.failures]).toEqual([8, RAM, []]);
  });

  test('a queue that is not enabled gives nothing, whatever its ring says', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.submit([text('x')], []);
    bench.queue.reset();
    expect(bench.queue.pop()).toBeUndefined();
    expect([bench.queue.size, bench.queue.enabled, bench.owner.failures]).toEqual([4, false, []]);
  });
});

describe('interrupting the driver', () => {
  const complete = (bench: QueueBench): number => {
    const before = bench.owner.interrupts;
    bench.guest.submit([], [1]);
    bench.queue.complete(popped(bench), 0);
    return bench.owner.interrupts - before;
  };

  test('without EVENT_IDX follows the NO_INTERRUPT flag', () => {
    const bench = new QueueBench(4, [VIRTIO_F.VERSION_1]);
    bench.guest.setUsedEvent(77);
    expect(complete(bench)).toBe(1);
    bench.guest.setAvailableFlags(1);
    expect(complete(bench)).toBe(0);
    bench.guest.setAvailableFlags(0);
    expect(complete(bench)).toBe(1);
  });

  test('with EVENT_IDX happens at the entry that used_event names and at no other', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.setAvailableFlags(1); // has no meaning now
    bench.guest.setUsedEvent(0);
    expect(complete(bench)).toBe(1);
    expect(complete(bench)).toBe(0);
    bench.guest.setUsedEvent(3);
    expect(complete(bench)).toBe(0);
    expect(complete(bench)).toBe(1);
    expect(complete(bench)).toBe(0);
  });

  test('with EVENT_IDX goes on over the end of the 16-bit index', () => {
    const bench = new QueueBench(4, ALL);
    start(bench, 0xfffe);
    bench.guest.setUsedEvent(0xffff);
    expect([complete(bench), complete(bench)]).toEqual([0, 1]);
    bench.guest.setUsedEvent(0);
    expect([complete(bench), complete(bench)]).toEqual([1, 0]);
    expect(bench.guest.takeUsed()).toHaveLength(4);
  });
});

describe('asking the driver for notifications', () => {
  test('with EVENT_IDX names the next entry when the ring is empty', () => {
    const bench = new QueueBench(4, ALL);
    for (let time = 0; time < 3; time++) bench.guest.submit([], [1]);
    popped(bench);
    expect(bench.guest.availEvent()).toBe(0);
    popped(bench);
    popped(bench);
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.guest.availEvent()).toBe(3);
  });

  test('takes what the driver added before it could see the request', () => {
    const bench = new QueueBench(4, ALL);
    const { memory } = bench;
    // The driver adds an entry exactly when the device stores avail_event.
    const store16 = memory.store16.bind(memory);
    memory.store16 = (address: number, value: number): boolean => {
      memory.store16 = store16;
      const done = store16(address, value);
      bench.guest.submit([text('late')], []);
      return done;
    };
    expect(readAll(popped(bench))).toBe('late');
  });

  test('without EVENT_IDX writes nothing into the used ring', () => {
    const bench = new QueueBench(4, [VIRTIO_F.VERSION_1]);
    const before = bench.memory.snapshot();
    expect(bench.queue.pop()).toBeUndefined();
    expect(bench.memory.snapshot()).toEqual(before);
  });
});

describe('chains that are under way', () => {
  test('may be completed in any order', () => {
    const bench = new QueueBench(8, ALL);
    const heads = [1, 2, 3].map(() => bench.guest.submit([], [4]).head);
    const chains = [1, 2, 3].map(() => popped(bench));
    for (const index of [2, 0, 1]) bench.queue.complete(chains[index] as Chain, index);
    expect(bench.guest.takeUsed()).toEqual([2, 0, 1].map((index) => ({ head: heads[index], written: index })));
  });

  test('are forgotten by a reset: completing them touches nothing', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.submit([], [4]);
    const chain = popped(bench);
    bench.queue.reset();
    setQueue(bench.queue, bench.guest);
    bench.queue.enable();
    const before = bench.memory.snapshot();
    expect(bench.queue.awaits(chain)).toBe(false);
    bench.queue.complete(chain, 4);
    bench.queue.undo(chain);
    expect(bench.memory.snapshot()).toEqual(before);
    expect([bench.owner.interrupts, bench.queue.position]).toEqual([0, 0]);
  });

  test('are completed once', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.submit([], [4]);
    const chain = popped(bench);
    bench.queue.complete(chain, 1);
    bench.queue.complete(chain, 1);
    expect(bench.guest.takeUsed()).toHaveLength(1);
  });

  test('are not completed on a device that failed', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.submit([], [4]);
    const chain = popped(bench);
    bench.owner.fail('for a test');
    bench.queue.forget();
    expect(bench.queue.awaits(chain)).toBe(false);
    bench.queue.complete(chain, 1);
    expect(bench.guest.takeUsed()).toEqual([]);
  });

  test('can be put back and are popped again', () => {
    const bench = new QueueBench(4, ALL);
    bench.guest.submit([text('again')], []);
    bench.queue.undo(popped(bench));
    expect(bench.queue.outstanding).toBe(0);
    expect(readAll(popped(bench))).toBe('again');
  });
});

/** Puts both ends of a bench at `index` of a queue's life. */
function start(bench: QueueBench, index: number): void {
  const saved = { ...(bench.queue.save() as object), position: index, usedIndex: index };
  bench.queue.restorer(new SavedReader(saved, 'queue'))();
  bench.guest.setPosition(index);
  bench.memory.store16(bench.guest.used + 2, index);
}

describe('a saved queue', () => {
  test('goes on where it was', () => {
    const bench = new QueueBench(4, ALL);
    for (const word of ['one', 'two', 'three']) bench.guest.submit([text(word)], [1]);
    bench.queue.complete(popped(bench), 1);
    const heir = new Virtqueue(0, 4, bench.owner);
    heir.restorer(new SavedReader(structuredClone(bench.queue.save()), 'queue'))();
    const chain = heir.pop();
    expect(chain && readAll(chain)).toBe('two');
    if (chain) heir.complete(chain, 0);
    expect(bench.guest.takeUsed().map(({ written }) => written)).toEqual([1, 0]);
  });

  test('is refused when it claims rings that cannot be', () => {
    const bench = new QueueBench(4, ALL);
    const saved = bench.queue.save() as { readonly areas: number[]; readonly size: number };
    for (const wrong of [
      { ...saved, size: 3 },
      { ...saved, size: 8 },
      { ...saved, areas: [0, 0, 0, 0, 0, 0] },
      { ...saved, areas: [] },
    ]) {
      expect(() => bench.queue.restorer(new SavedReader(wrong, 'queue'))).toThrow(SavedStateError);
    }
    expect(bench.queue.enabled).toBe(true);
  });
});
