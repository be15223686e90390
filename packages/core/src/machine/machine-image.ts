/**
 * A machine as it was at one point: memory, harts, devices. Machines that go on from there begin with its frames, shared with it and with each other;
 * it holds them until it is released.
 */

import { assert } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { Saved } from '../base/saved.ts';
import { DomainFullError } from '../engine/frames.ts';
import type { Engine } from '../engine/engine.ts';
import type { Guest } from '../engine/guest.ts';

/** What a machine has to find free in its domain at its start, in pages: it lets a guest begin, and says early that a domain is full. */
const HEADROOM_PAGES = 512;

/** Throws a DomainFullError when there is no room for `count` more guests that are like `guest`. */
export function requireRoom({ domain, pages }: Guest, count: number): void {
  const each = Math.ceil((4 * pages) / PAGE_SIZE) + HEADROOM_PAGES;
  const { available } = domain.frames;
  if (count * each <= available) return;
  const mib = (wanted: number): string => `${Math.ceil((wanted * PAGE_SIZE) / 1024 ** 2)} MiB`;
  throw new DomainFullError(
    `${count} more ${count === 1 ? 'machine needs' : 'machines need'} ${mib(count * each)} of a memory domain that has ${mib(available)} left`,
  );
}

export class MachineImage {
  readonly engine: Engine;
  readonly state: Saved;
  /** For how long the machine was there, by its clock. */
  readonly elapsedNs: number;
  readonly #guest: Guest;
  #isReleased = false;

  /** Of the machine with that guest, whose state is `state`; throws a DomainFullError when there is no room for it. */
  constructor(engine: Engine, guest: Guest, state: Saved, elapsedNs: number) {
    this.engine = engine;
    this.state = state;
    this.elapsedNs = elapsedNs;
    this.#guest = guest.domain.addGuest(guest.regions, 0).guest;
    guest.shareWith(this.#guest);
    engine.flush(guest);
  }

  /** Gives its memory to `guest`, which has none. */
  shareWith(guest: Guest): void {
    assert(!this.#isReleased, 'an image that was released has no memory');
    this.#guest.shareWith(guest);
  }

  /** Whether a machine of these options has as much memory. */
  isOf({ memoryBytes }: { readonly memoryBytes: number }): boolean {
    return this.regions[0]?.sizeBytes === memoryBytes;
  }

  /** Where guests like the one it was made of have their memory. */
  get regions(): Guest['regions'] {
    return this.#guest.regions;
  }

  /** Gives back what nobody else has. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#guest.domain.removeGuest(this.#guest, 0);
  }
}
