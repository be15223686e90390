/**
 * Whose harts are where harts are executed. Generated code knows that place by constants (hartBase), and its TLBs, code and functions are there for
 * all guests of the domain; a guest whose harts do not run has their state in a few KiB of its own.
 *
 *     guest A  ── state of its harts ──> where it rests
 *     guest B  ── from where it rested ──> the place of harts ──> contexts that no TLB entry has: A's entries never match
 *
 * So a guest that does nothing costs no TLB, and going from one to the other costs copying its harts' state and filling the TLBs again.
 */

import { assert } from '../base/assert.ts';
import type { Domain } from './domain.ts';
import type { EngineSurroundings } from './engine.ts';
import type { Guest, Region } from './guest.ts';
import type { Hart } from './hart.ts';
import type { InterpreterExports } from './interpreter.ts';
import { HART, LINK, hartBase } from './layout.ts';
import { PRIVILEGE } from './state.ts';

/** Bytes that a hart's state takes where it rests. */
export const RESTING_BYTES = Math.ceil(LINK.END / 64) * 64;

/** A guest with its harts and the machine around them. */
export interface Occupant {
  readonly guest: Guest;
  readonly surroundings: EngineSurroundings;
  readonly harts: Hart[];
  /** Where the states of its harts rest; the domain's first guest gets a place when another one comes. */
  restsAt: number;
}

export class Residents {
  readonly #domain: Domain;
  readonly #code: InterpreterExports;
  #resident: Occupant;
  /** Guest code is on the stack. */
  isRunning = false;

  constructor(domain: Domain, code: InterpreterExports, first: Occupant) {
    this.#domain = domain;
    this.#code = code;
    this.#resident = first;
  }

  get resident(): Occupant {
    return this.#resident;
  }

  /** Has the harts of `next` where harts are executed. */
  enter(next: Occupant): void {
    const before = this.#resident;
    if (next === before) return;
    assert(!this.isRunning, 'a guest makes room for another one between its slices');
    assert(this.#domain.words === undefined, 'the harts that other threads execute stay where they are');
    const isQuick = isAlwaysSupervisor(before) && isAlwaysSupervisor(next);
    for (const hart of before.harts) {
      hart.put32('borrowed', 0);
      hart.move(before.restsAt + hart.id * RESTING_BYTES);
    }
    before.guest.isResident = false;
    this.#resident = next;
    next.guest.isResident = true;
    if (!isAlike(before.guest.regions, next.guest.regions)) this.#domain.writeRegions(next.guest);
    for (const hart of next.harts) {
      const contexts = this.#domain.i32[(hartBase(hart.id) + HART.nextContext) >>> 2] ?? 0;
      hart.move(hartBase(hart.id));
      hart.put32('nextContext', contexts);
      if (isQuick) this.#code.tlbRenew(hart.base);
      else hart.refresh();
    }
  }

  /** All that TLBs know of `guest` is void. */
  flush(guest: Guest): void {
    if (this.#resident.guest === guest) this.flushResident();
  }

  /** All that TLBs know is void, and so is a reserved cell: another page may get its frame. */
  flushResident(): void {
    for (const hart of this.#resident.harts) {
      hart.put32('reservation', 0);
      hart.refresh();
    }
  }
}

/**
 * Whether nothing of the guest's executes in M-mode, whose entries in the TLBs have the same context for all. Who once comes there under our own
 * SBI stays there: its mtvec leads nowhere.
 */
function isAlwaysSupervisor({ harts }: Occupant): boolean {
  return harts.every((hart) => hart.get32('ownSbi') === 1 && hart.privilege !== PRIVILEGE.M);
}

function isAlike(one: readonly Region[], other: readonly Region[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ base, sizeBytes }, index) => base === other[index]?.base && sizeBytes === other[index].sizeBytes)
  );
}
