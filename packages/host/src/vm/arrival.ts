/** A virtual machine that comes from another process: the end that it comes to. Everything of it is opened before it is there, but for its ports. */

import { setImmediate as turn } from 'node:timers/promises';
import { type DiskFigures, MigrationTarget, warmUp } from '@ringfence/core';
import { FRAME, type FrameLink } from '../control/frames.ts';
import { ThreadedCompiler } from '../machine/region-compiler.ts';
import type { Mailbox } from '../migration/mailbox.ts';
import { MessageLink } from '../migration/message-link.ts';
import { migrationClock, nodeMigrationCodec } from '../migration/node-codec.ts';
import type { VMParts } from './assemble.ts';
import { asHostError } from './departure.ts';
import type { VM } from './vm.ts';

/** Between two looks for pages that came by themselves. */
const PUMP_MS = 1;

export class ArrivingVM {
  readonly #parts: VMParts;
  readonly #make: () => VM;
  #warm: Promise<void> | undefined;

  /** `make` gives the virtual machine when its state is there. */
  constructor(parts: VMParts, make: () => VM, isWarm: boolean) {
    this.#parts = parts;
    this.#make = make;
    if (isWarm) this.#warm = Promise.resolve();
  }

  /** Has this process compile of itself what it needs first, before somebody waits for the machine: nothing comes before that is done. */
  warmUp(): Promise<void> {
    return (this.#warm ??= warmUp(this.#parts.machine, () => turn()));
  }

  /** It does not come: nothing of it is left. Whoever takes it does this by himself. */
  async abandon(): Promise<void> {
    await this.#warm?.catch(() => undefined);
    await this.#parts.machine.quiesce();
    await this.#parts.close();
  }

  /**
   * Takes it over a connection; resolves when it has all of its memory, and rejects when it does not come: nothing of it is left then. `owned` keeps that
   * it is here before it runs, `runs` hears of that. When this daemon is gone, pages that are missing come by the `mailbox`. To a process that others share none may
   * follow.
   */
  async take(
    link: FrameLink,
    owned: () => void | Promise<void>,
    runs: (vm: VM) => void,
    mailbox?: Mailbox,
  ): Promise<void> {
    const { machine, network, openDisks, options, machineOptions } = this.#parts;
    const compiler = machineOptions.compiler instanceof ThreadedCompiler ? machineOptions.compiler : undefined;
    const { absentDisks: absent = new Map<number, DiskFigures>() } = options;
    const messages = new MessageLink(link);
    let vm: VM | undefined;
    const target = new MigrationTarget({
      link: messages,
      codec: nodeMigrationCodec(),
      clock: migrationClock,
      make: async () => {
        await this.warmUp();
        return machine;
      },
      disks: () => openDisks.disks.map(({ store }, index) => (store.readOnly || absent.has(index) ? undefined : store)),
      prepare: async () => {
        for (const index of absent.keys()) await openDisks.disks[index]?.takeBack();
        const whole = target.complete.catch((error: unknown) => Promise.reject(asHostError(error)));
        whole.catch(() => undefined);
        this.#parts.whole = whole;
        vm = this.#make();
        await network.openPorts();
      },
      owned: async () => owned(),
      run: () => {
        // A page that the guest waits for comes through several processes, which need the processors.
        if (target.isPartial) compiler?.hold();
        vm?.start();
        if (vm !== undefined) runs(vm);
        void link.sendJson(FRAME.STARTED, {});
      },
      ...(options.sharesProcess === true ? {} : { wait: () => messages.wait(mailbox) }),
    });
    try {
      await target.arrived;
    } catch (error) {
      // Whoever it belongs to, it does not run here.
      if (vm === undefined) await this.abandon();
      else await vm.kill();
      throw asHostError(error);
    }
    const pump = (): void => {
      if (target.pump()) setTimeout(pump, PUMP_MS);
    };
    pump();
    try {
      await target.complete;
      mailbox?.allHere();
      messages.whole();
      mailbox?.close();
    } catch (error) {
      throw asHostError(error);
    } finally {
      compiler?.release();
    }
  }
}
