/**
 * How long harts could not run although they had something to do: because others had their turn on the same thread, or because the host had
 * other work for its processor. Kept in the guest's memory, where it asked for it (SBI 2.0, chapter 16):
 *
 *     0 u32 sequence, odd while it is written    8 u64 stolen nanoseconds    16 u8 not 0 while the hart is kept from running
 */

import { defined } from '../base/assert.ts';
import type { Clock } from '../base/ports.ts';
import type { GuestMemory } from './device.ts';
import type { MachineHart } from './hart.ts';

const SEQUENCE = 0;
const STEAL = 8;
const PREEMPTED = 16;
/** Nanoseconds of execution between two looks at the host's processor time. */
const LOOK_NS = 20_000_000;

interface Account {
  readonly hart: MachineHart;
  /** Since when it is ready and has not run. */
  sinceNs: number | undefined;
  isPreempted: boolean;
}

export class StealTime {
  readonly #accounts: readonly Account[];
  readonly #memory: GuestMemory;
  readonly #clock: Clock;
  #running: Account | undefined;
  /** Execution since the host's processor time was looked at, and what that was. */
  #executedNs = 0;
  #processorNs: number | undefined;

  /** For the harts of one thread. */
  constructor(harts: readonly MachineHart[], memory: GuestMemory, clock: Clock) {
    this.#accounts = harts.map((hart) => ({ hart, sinceNs: undefined, isPreempted: false }));
    this.#memory = memory;
    this.#clock = clock;
  }

  /** The hart at `index` runs from here on; others that are ready wait for it. */
  begin(index: number, nowNs: number): void {
    const account = defined(this.#accounts[index], 'a hart');
    if (this.#accounts.length > 1) {
      for (const each of this.#accounts)
        if (each !== account && each.sinceNs === undefined && each.hart.runState === 'running') each.sinceNs = nowNs;
      const before = this.#running;
      if (before && before !== account && before.sinceNs !== undefined) this.#write(before, 0, true);
    }
    const stolen = account.sinceNs === undefined ? 0 : nowNs - account.sinceNs;
    account.sinceNs = undefined;
    if (stolen > 0 || account.isPreempted) this.#write(account, stolen, false);
    this.#running = account;
  }

  /** It ran for `ns`, of which it waited `idleNs` for a device. */
  end(index: number, ns: number, idleNs = 0): void {
    if (!this.#clock.threadNs) return;
    this.#executedNs += Math.max(0, ns - idleNs);
    this.#processorNs ??= this.#clock.threadNs();
    if (this.#executedNs < LOOK_NS) return;
    const now = this.#clock.threadNs();
    const stolen = this.#executedNs - (now - this.#processorNs);
    this.#processorNs = now;
    this.#executedNs = 0;
    if (stolen > 0) this.#write(defined(this.#accounts[index], 'a hart'), stolen, false);
  }

  #write(account: Account, stolenNs: number, isPreempted: boolean): void {
    account.isPreempted = isPreempted;
    const steal = account.hart.addSteal(stolenNs);
    const at = account.hart.stealMemory;
    if (at === undefined) return;
    const memory = this.#memory;
    const sequence = memory.load32(at + SEQUENCE) ?? 0;
    memory.store32(at + SEQUENCE, (sequence | 1) >>> 0);
    // Only the hart itself reads it, and it does not run: any order will do.
    memory.store32(at + STEAL, Number(steal & 0xffff_ffffn));
    memory.store32(at + STEAL + 4, Number(steal >> 32n));
    memory.store8(at + PREEMPTED, isPreempted ? 1 : 0);
    memory.store32(at + SEQUENCE, ((sequence | 1) + 1) >>> 0);
  }
}
