/** A virtual machine that comes from another process: the end that it comes to. Everything of it is opened before it is there, but for its ports. */

import type { Socket } from 'node:net';
import { type DiskFigures, MigrationTarget } from '@ringfence/core';
import { FRAME, type FrameLink } from '../control/frames.ts';
import { messagesOn, waitOn } from '../migration/message-link.ts';
import { migrationClock, nodeMigrationCodec } from '../migration/node-codec.ts';
import type { VMParts } from './assemble.ts';
import { asHostError } from './departure.ts';
import type { VM } from './vm.ts';

/** Between two looks for pages that came by themselves. */
const PUMP_MS = 1;

export class ArrivingVM {
  readonly #parts: VMParts;
  readonly #make: () => VM;

  /** `make` gives the virtual machine when its state is there. */
  constructor(parts: VMParts, make: () => VM) {
    this.#parts = parts;
    this.#make = make;
  }

  /**
   * Takes it over a connection; resolves when it has all of its memory, and rejects when it does not come: nothing of it is left then. `owned` keeps that
   * it is here before it runs, `runs` hears of that.
   */
  async take(link: FrameLink, owned: () => void, runs: (vm: VM) => void): Promise<void> {
    const { machine, network, openDisks, options } = this.#parts;
    const { absentDisks: absent = new Map<number, DiskFigures>() } = options;
    let vm: VM | undefined;
    const target = new MigrationTarget({
      link: messagesOn(link),
      codec: nodeMigrationCodec(),
      clock: migrationClock,
      make: () => Promise.resolve(machine),
      disks: () => openDisks.disks.map(({ store }, index) => (store.readOnly || absent.has(index) ? undefined : store)),
      prepare: async () => {
        for (const index of absent.keys()) await openDisks.disks[index]?.takeBack();
        vm = this.#make();
        await network.openPorts();
      },
      owned: () => Promise.resolve(owned()),
      run: () => {
        vm?.start();
        if (vm !== undefined) runs(vm);
        void link.sendJson(FRAME.STARTED, {});
      },
      wait: () => waitOn(link.stream as Socket),
    });
    try {
      await target.arrived;
    } catch (error) {
      // Whoever it belongs to, it does not run here.
      if (vm === undefined) {
        await this.#parts.machine.quiesce();
        await this.#parts.close();
      } else await vm.kill();
      throw asHostError(error);
    }
    const pump = (): void => {
      if (target.pump()) setTimeout(pump, PUMP_MS);
    };
    pump();
    await target.complete.catch((error: unknown) => {
      throw asHostError(error);
    });
  }
}
