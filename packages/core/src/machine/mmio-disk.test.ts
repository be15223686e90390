/** A disk on virtio-mmio, driven as xv6 drives it: slot 0, one queue, one interrupt of the PLIC. */

import { expect, test } from 'vitest';
import { MemoryBlockStore } from '../storage/memory-block-store.ts';
import { bareMachine } from './testing/bare-machine.ts';

/** Reads sector 1, waits for the interrupt, and leaves what it saw at labels. */
const PROGRAM = `
      li    s0, 0x10001000
      la    s1, seen
      lw    t0, 0(s0)            # MagicValue, Version, DeviceID, VendorID
      sw    t0, 0(s1)
      lw    t0, 4(s0)
      sw    t0, 4(s1)
      lw    t0, 8(s0)
      sw    t0, 8(s1)
      lw    t0, 12(s0)
      sw    t0, 12(s1)
      li    t1, 0x10002000
      lw    t0, 8(t1)            # DeviceID of the next slot
      sw    t0, 16(s1)
      li    t0, 3
      sw    t0, 0x70(s0)
      li    t0, 1
      sw    t0, 0x24(s0)
      sw    t0, 0x20(s0)         # VIRTIO_F_VERSION_1
      li    t0, 11
      sw    t0, 0x70(s0)
      sw    zero, 0x30(s0)
      li    t0, 8
      sw    t0, 0x38(s0)
      la    t0, descriptors
      sw    t0, 0x80(s0)
      sw    zero, 0x84(s0)
      la    t1, available
      sw    t1, 0x90(s0)
      sw    zero, 0x94(s0)
      la    t2, used
      sw    t2, 0xa0(s0)
      sw    zero, 0xa4(s0)
      li    t3, 1
      sw    t3, 0x44(s0)
      li    t3, 15
      sw    t3, 0x70(s0)
      la    t3, header           # descriptor 0: header
      sd    t3, 0(t0)
      li    t4, 0x0001000100000010
      sd    t4, 8(t0)
      la    t3, data             # descriptor 1: data, written by the device
      sd    t3, 16(t0)
      li    t4, 0x0002000300000200
      sd    t4, 24(t0)
      la    t3, status           # descriptor 2: status
      sd    t3, 32(t0)
      li    t4, 0x0000000200000001
      sd    t4, 40(t0)
      li    t3, 1
      sh    t3, 2(t1)            # one chain, whose head is 0
      li    t4, 0xc000004        # PLIC: priority and enable of source 1 for M-mode of hart 0
      sw    t3, 0(t4)
      li    t4, 0xc002000
      li    t3, 2
      sw    t3, 0(t4)
      li    t3, 0x800
      csrw  mie, t3
      sw    zero, 0x50(s0)       # QueueNotify
      wfi
      li    t4, 0xc200004
      lw    t3, 0(t4)            # claim
      sw    t3, 20(s1)
      lw    t3, 0x60(s0)         # InterruptStatus
      sw    t3, 24(s1)
      sw    t3, 0x64(s0)
      lhu   t3, 2(t2)            # used index
      sw    t3, 28(s1)
      la    t0, tohost
      li    t1, 1
      sd    t1, 0(t0)
1:    j     1b
      .balign 16
descriptors:
      .dword 0
      .dword 0
      .dword 0
      .dword 0
      .dword 0
      .dword 0
available: .dword 0
      .dword 0
      .dword 0
used: .dword 0
      .dword 0
      .dword 0
      .dword 0
      .dword 0
      .dword 0
      .dword 0
      .dword 0
      .dword 0
header: .dword 0
      .dword 1
status: .dword 255
seen: .dword 0
      .dword 0
      .dword 0
      .dword 0
tohost: .dword 0
data: .dword 0
`;

test('a disk that cannot reach guest memory when it has its data ends the machine with that, not the process', async () => {
  const { machine } = await bareMachine(PROGRAM, { mmioDisk: new MemoryBlockStore(new Uint8Array(4096)) });
  let woken = false;
  machine.onWake = () => (woken = true);
  expect(machine.run(1000).kind).toBe('idle');
  machine.ram.write = () => {
    throw new Error('the paging file gives other bytes');
  };
  for (let turn = 0; turn < 100 && !woken; turn++) await Promise.resolve();
  expect(woken).toBe(true);
  await machine.quiesce();
  expect(() => machine.run(1000)).toThrow('the paging file gives other bytes');
  expect(() => machine.save()).toThrow('the paging file gives other bytes');
});

test('a disk on virtio-mmio is where xv6 looks for it, and says by its interrupt that it is done', async () => {
  const disk = new Uint8Array(4096);
  disk.set(new TextEncoder().encode('sector 1'), 512);
  const bare = await bareMachine(PROGRAM, { mmioDisk: new MemoryBlockStore(disk) });
  const { machine } = bare;
  let woken = false;
  machine.onWake = () => {
    woken = true;
  };
  expect(machine.run(1000).kind).toBe('idle');
  for (let turn = 0; turn < 100 && !woken; turn++) await Promise.resolve();
  expect(woken).toBe(true);
  expect(machine.run(1000)).toEqual({ kind: 'ended', ending: { kind: 'poweroff' } });
  const seen = new Uint32Array(8);
  machine.ram.read(Number(bare.symbols.get('seen')), new Uint8Array(seen.buffer));
  expect([...seen]).toEqual([0x7472_6976, 2, 2, 0x554d_4551, 0, 1, 1, 1]);
  expect(bare.dword('status')).toBe(0n);
  expect(bare.dword('data')).toBe(new DataView(disk.buffer).getBigUint64(512, true));
  expect(bare.faults.reports).toEqual([]);
});
