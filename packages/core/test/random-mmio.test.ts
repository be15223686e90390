/**
 * A guest that writes and reads junk all over the memory map, virtio devices included, whose queues it lays into RAM full of junk. The host
 * must survive it, the devices' state must still be one that can be saved and restored, and after a reset the machine works.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DRAM_BASE, MEMORY_MAP, highPcieMmioPlacement, virtioMmioPlacement } from '../src/machine/memory-map.ts';
import { PacedClock, bareMachine } from '../src/machine/testing/bare-machine.ts';
import { MemoryTree } from '../src/machine/fuse/testing/memory-tree.ts';
import { MemoryBlockStore } from '../src/storage/memory-block-store.ts';
import { arpFrame } from '../src/net/arp.ts';
import { GUEST, NetworkRig } from '../src/net/testing/network-rig.ts';
import { nodeTurns } from '../src/vm/testing/node-host.ts';

const MEMORY_BYTES = 4 << 20;
/** Behind the program: what it does, one access in three doublewords: size and direction, address, value. */
const ACCESSES = DRAM_BASE + 0x1_0000;
const JUNK = DRAM_BASE + 0x10_0000;
const RUNS = 300;

/** Does all accesses, jumping over those that trap, and ends well. */
const PROGRAM = `
      la    t0, trap
      csrw  mtvec, t0
      li    s0, ${ACCESSES}
next: ld    t0, 0(s0)
      ld    a1, 8(s0)
      ld    a2, 16(s0)
      addi  s0, s0, 24
      slli  t0, t0, 3
      la    t1, table
      add   t1, t1, t0
      jr    t1
table:
      j     end
      nop
      lb    a0, 0(a1)
      j     next
      lh    a0, 0(a1)
      j     next
      lw    a0, 0(a1)
      j     next
      ld    a0, 0(a1)
      j     next
      sb    a2, 0(a1)
      j     next
      sh    a2, 0(a1)
      j     next
      sw    a2, 0(a1)
      j     next
      sd    a2, 0(a1)
      j     next
end:  la    t0, tohost
      li    t1, 1
      sd    t1, 0(t0)
1:    j     1b
      .balign 4
trap: csrr  t2, mepc
      addi  t2, t2, 4
      csrw  mepc, t2
      mret
      .balign 8
tohost: .dword 0
`;

interface Access {
  /** 1 to 4 load 1, 2, 4, 8 bytes; 5 to 8 store them. */
  readonly operation: number;
  readonly address: bigint;
  readonly value: bigint;
}

/** Entropy, console, disk, network card, shared folder. */
const VIRTIO_SLOTS = 5;
const BAR = 4;
/** Where the accesses put the BAR of each virtio device. */
const barOf = (slot: number): number => MEMORY_MAP.pcieMmio.base + slot * 0x1_0000;
const configurationOf = (slot: number): number => MEMORY_MAP.pcieEcam.base + (slot << 15);

const store32 = (address: number, value: number): Access => ({
  operation: 7,
  address: BigInt(address),
  value: BigInt(value),
});

/** Puts the BARs in place and switches memory and bus mastering on. */
const SETTING_UP: readonly Access[] = Array.from({ length: VIRTIO_SLOTS }, (_, index) => index + 1).flatMap((slot) => [
  store32(configurationOf(slot) + 0x10 + 4 * BAR, barOf(slot)),
  store32(configurationOf(slot) + 0x14 + 4 * BAR, 0),
  store32(configurationOf(slot) + 4, 6),
  // Acknowledge, driver; VERSION_1 of the second feature word; features accepted.
  store32(barOf(slot) + 0x14, 3),
  store32(barOf(slot) + 8, 1),
  store32(barOf(slot) + 12, 1),
  { operation: 5, address: BigInt(barOf(slot) + 0x14), value: 11n },
]);

/** Lays queue `queue` over the junk and rings it. */
function ringing(slot: number, queue: number, size: number, at: number): Access[] {
  const bar = barOf(slot);
  return [
    { operation: 6, address: BigInt(bar + 0x16), value: BigInt(queue) },
    { operation: 6, address: BigInt(bar + 0x18), value: BigInt(size) },
    ...[0x20, 0x28, 0x30].map((register, index): Access => ({
      operation: 8,
      address: BigInt(bar + register),
      value: BigInt(JUNK + at + index * 0x1000),
    })),
    { operation: 6, address: BigInt(bar + 0x1c), value: 1n },
    { operation: 5, address: BigInt(bar + 0x14), value: 15n },
    { operation: 7, address: BigInt(bar + 0x3000 + 4 * queue), value: BigInt(queue) },
  ];
}

/** The disk on virtio-mmio, from reset to a ring over the junk. */
function ringingMmio(size: number, at: number): Access[] {
  const { base } = virtioMmioPlacement(0);
  const write = (register: number, value: number): Access => store32(base + register, value);
  return [
    write(0x70, 0),
    write(0x70, 3),
    write(0x24, 1),
    write(0x20, 1),
    write(0x70, 11),
    write(0x30, 0),
    write(0x38, size),
    ...[0x80, 0x90, 0xa0].flatMap((register, index) => [
      write(register, JUNK + at + index * 0x1000),
      write(register + 4, 0),
    ]),
    write(0x44, 1),
    write(0x70, 15),
    write(0x50, 0),
  ];
}

const places = [
  virtioMmioPlacement(0),
  ...Object.values(MEMORY_MAP),
  highPcieMmioPlacement(MEMORY_BYTES),
  ...Array.from({ length: VIRTIO_SLOTS + 1 }, (_, slot) => ({ base: configurationOf(slot), sizeBytes: 0x100 })),
  ...Array.from({ length: VIRTIO_SLOTS }, (_, index) => ({ base: barOf(index + 1), sizeBytes: 0x40 })),
  { base: JUNK, sizeBytes: 0x1_0000 },
  { base: 0, sizeBytes: Number.MAX_SAFE_INTEGER },
];

const junkAccess = fc
  .record({
    operation: fc.integer({ min: 1, max: 8 }),
    place: fc.constantFrom(...places),
    offset: fc.oneof(fc.integer({ min: 0, max: 0xff }), fc.nat(), fc.maxSafeNat()),
    isAligned: fc.boolean(),
    value: fc.oneof(
      fc.bigInt({ min: 0n, max: 255n }),
      fc.bigInt({ min: BigInt(JUNK), max: BigInt(JUNK + 0x1_0000) }),
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    ),
  })
  .map(({ operation, place, offset, isAligned, value }): Access => {
    const address = BigInt(place.base) + BigInt(offset % place.sizeBytes);
    return { operation, address: isAligned ? address & ~7n : address, value };
  });

const junkRing = fc
  .tuple(
    fc.integer({ min: 1, max: VIRTIO_SLOTS }),
    fc.integer({ min: 0, max: 5 }),
    fc.constantFrom(1, 2, 8, 16, 3, 0x8000),
    fc.integer({ min: 0, max: 7 }),
  )
  .map(([slot, queue, size, at]) => ringing(slot, queue, size, at * 0x2000));

const junkMmioRing = fc
  .tuple(fc.constantFrom(1, 2, 8, 16, 3, 0x8000), fc.integer({ min: 0, max: 7 }))
  .map(([size, at]) => ringingMmio(size, at * 0x2000));

const accesses = fc
  .array(
    fc.oneof(
      junkAccess.map((access) => [access]),
      junkRing,
      junkMmioRing,
    ),
    { minLength: 20, maxLength: 300, size: 'max' },
  )
  .map((all) => all.flat());

function bytesOf(all: readonly Access[]): Uint8Array {
  const bytes = new Uint8Array((all.length + 1) * 24);
  const view = new DataView(bytes.buffer);
  for (const [index, { operation, address, value }] of all.entries()) {
    view.setBigUint64(index * 24, BigInt(operation), true);
    view.setBigUint64(index * 24 + 8, BigInt.asUintN(64, address), true);
    view.setBigUint64(index * 24 + 16, value, true);
  }
  return bytes;
}

test('no access to any device, and no junk in any queue, harms the host or what is saved', async () => {
  const clock = new PacedClock();
  const rig = new NetworkRig();
  const place = rig.network.plug('junk');
  if (place === undefined) throw new Error('the network is full');
  const bare = await bareMachine(PROGRAM, {
    clock,
    memoryBytes: MEMORY_BYTES,
    disk: new MemoryBlockStore(new Uint8Array(1 << 20)),
    mmioDisk: new MemoryBlockStore(new Uint8Array(1 << 20)),
    consolePorts: [{ name: 'console', console: true }, { name: 'port' }],
    networkCards: [{ mac: place.mac.bytes, port: place.port }],
    shares: [{ tag: 'share', tree: new MemoryTree() }],
  });
  const { machine } = bare;
  let endedWell = 0;
  await fc.assert(
    fc.asyncProperty(
      accesses,
      fc.uint8Array({ minLength: 0x2000, maxLength: 0x2000, size: 'max' }),
      async (junk, memory) => {
        clock.paceNs = 1000;
        machine.reset();
        machine.ram.write(ACCESSES, bytesOf([...SETTING_UP, ...junk]));
        // Addresses in descriptors lie in RAM often enough to be followed.
        for (let at = 0; at < 0x1_0000; at += memory.length) machine.ram.write(JUNK + at, memory);
        for (let at = 0; at < 0x1_0000; at += 64)
          machine.ram.write(
            JUNK + at,
            new Uint8Array(
              BigUint64Array.of(
                BigInt(JUNK + (memory[at % memory.length] ?? 0) * 64),
                BigInt(memory[(at + 1) % memory.length] ?? 0),
              ).buffer,
            ),
          );
        machine.resume();
        for (let turn = 0; turn < 20; turn++) {
          // Frames come in while it does all that.
          rig.card.send(arpFrame(rig.card.mac, GUEST, place.address, undefined));
          if (machine.run(1).kind === 'ended') break;
          await new Promise<void>((resolve) => nodeTurns.soon(resolve));
        }
        if (machine.ending?.kind === 'poweroff') endedWell++;
        await machine.quiesce();
        expect(machine.ram.loans).toBe(0);
        clock.paceNs = 0; // time is part of what is saved
        const state = machine.save();
        machine.restore(state);
        expect(machine.save()).toEqual(state);
      },
    ),
    { numRuns: RUNS, seed: 20_261_124, endOnFailure: true },
  );
  // Most programs get to their end: the test tests what it says.
  expect(endedWell).toBeGreaterThan(RUNS / 2);
  expect(bare.faults.reports.length).toBeGreaterThan(0);
});
