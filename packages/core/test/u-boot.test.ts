/** Real firmware in M-mode and a real boot loader in S-mode, as Debian ships them. */

import { expect, test } from 'vitest';
import { TIERS, onTier } from '../src/engine/testing/tiers.ts';
import { Machine } from '../src/machine/machine.ts';
import { MachineRunner } from '../src/vm/runner.ts';
import { OPENSBI, U_BOOT, debianFile, missing } from '../src/vm/testing/firmware.ts';
import { Transcript, nodeClock, nodeEntropy, nodeTurns, within } from '../src/vm/testing/node-host.ts';

const absent = missing(OPENSBI, U_BOOT);

test.skipIf(absent !== undefined).each(TIERS)(
  `OpenSBI starts U-Boot, whose prompt answers, on the %s${absent === undefined ? '' : `: ${absent}`}`,
  async (engine) => {
    const serial = new Transcript();
    const machine = await Machine.create({
      memoryBytes: 128 << 20,
      clock: nodeClock,
      entropy: nodeEntropy,
      serialOutput: serial,
      firmware: debianFile(OPENSBI),
      kernel: debianFile(U_BOOT),
      ...onTier(engine),
    });
    const runner = new MachineRunner(machine, nodeTurns);
    const type = (text: string): void => void machine.serial.receive(new TextEncoder().encode(text));
    runner.start();
    try {
      await serial.waitFor(/OpenSBI v\d+\.\d+/);
      await serial.waitFor(/Runtime SBI Version/);
      await serial.waitFor(/\nU-Boot 20\d\d\.\d\d/);
      await serial.waitFor(/Hit any key to stop autoboot/);
      type('\r');
      await serial.waitFor(/=> /);
      type('version\r');
      await serial.waitFor(/version\r\nU-Boot 20\d\d\.\d\d[^\n]*\n[^]*GNU ld[^\n]*\n=> /);
      // It reads the machine through its own drivers: memory through the device tree, the PCI bus through the ECAM.
      type('bdinfo\r');
      await serial.waitFor(/DRAM bank\s+= 0x0+\r\n-> start\s+= 0x0*80000000\r\n-> size\s+= 0x0*8000000\r\n[^]*=> /);
      type('pci\r');
      await serial.waitFor(/0x1af4\s+0x1044[^]*=> /);
      type('poweroff\r');
      expect(await within(runner.ended, 30_000, 'poweroff')).toEqual({ kind: 'poweroff' });
    } finally {
      await runner.stop();
    }
  },
);
