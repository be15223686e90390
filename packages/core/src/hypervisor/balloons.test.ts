import { describe, expect, test } from 'vitest';
import type { Machine } from '../machine/machine.ts';
import type { BalloonStatistics } from '../machine/virtio/balloon.ts';
import { Balloons, balloonOf } from './balloons.ts';
import { PoolMember } from './pool-member.ts';

const MIB = 2 ** 20;
const MEMORY = 192 * MIB;
const FEW = { missingBytes: 100 * MIB, hasMuch: false };

/** A machine whose guest gives at once what it is asked for, and says what it has available when `answers`. */
class Guest {
  available: number;
  target = 0;
  lastStatistics: BalloonStatistics = {};
  answers = true;
  readonly member: PoolMember;

  constructor(available: number) {
    this.available = available;
    const state = (): object => ({ targetBytes: this.target, actualBytes: this.target, reportedBytes: 0 });
    const last = (): BalloonStatistics => this.lastStatistics;
    const balloon = {
      get state() {
        return state();
      },
      get lastStatistics() {
        return last();
      },
      setTarget: (bytes: number) => {
        this.available -= bytes - this.target;
        this.target = bytes;
      },
      statistics: () => {
        if (this.answers) this.lastStatistics = { availableBytes: this.available, totalBytes: MEMORY };
        return Promise.resolve(this.lastStatistics);
      },
    };
    const machine = { balloon, memoryBytes: MEMORY };
    this.member = new PoolMember(machine as unknown as Machine, {});
  }
}

describe('a balloon', () => {
  test('grows as far as its guest has memory that it does not need, and no further', () => {
    const guest = new Guest(98 * MIB);
    const balloons = new Balloons();
    for (let tick = 0; tick < 100; tick++) balloons.move([guest.member], FEW);
    expect(guest.available).toBeGreaterThanOrEqual(0.15 * MEMORY);
    expect(balloonOf(guest.member)).toBeGreaterThan(48 * MIB);
  });

  test('does not grow by what a guest said once, and has given since', () => {
    const guest = new Guest(98 * MIB);
    const balloons = new Balloons();
    balloons.move([guest.member], FEW);
    guest.answers = false;
    for (let tick = 0; tick < 100; tick++) balloons.move([guest.member], FEW);
    // However long it says nothing new.
    expect(guest.available).toBeGreaterThanOrEqual(0.15 * MEMORY);
    guest.answers = true;
    guest.available += 64 * MIB;
    for (let tick = 0; tick < 100; tick++) balloons.move([guest.member], FEW);
    expect(balloonOf(guest.member)).toBeGreaterThan(100 * MIB);
  });

  test('shrinks when its guest has little left', () => {
    const guest = new Guest(98 * MIB);
    const balloons = new Balloons();
    for (let tick = 0; tick < 100; tick++) balloons.move([guest.member], FEW);
    guest.available = 4 * MIB;
    for (let tick = 0; tick < 20; tick++) balloons.move([guest.member], { missingBytes: 0, hasMuch: false });
    expect(guest.available).toBeGreaterThanOrEqual(0.5 * 0.15 * MEMORY);
  });
});
