/** What becomes of published ports when a machine stays. */

import { expect, test } from 'vitest';
import { HostError } from '../failure.ts';
import { openAgain } from './departure.ts';

function network(takenTimes: number): { openPorts(): Promise<void>; asked: number } {
  return {
    asked: 0,
    openPorts() {
      if (this.asked++ < takenTimes) return Promise.reject(new HostError('unavailable', 'port 80 is taken'));
      return Promise.resolve();
    },
  };
}

test('ports that are let go of a little later are opened again', async () => {
  const ports = network(2);
  expect([await openAgain(ports), ports.asked]).toEqual([undefined, 3]);
});

test('ports that stay taken stay closed, and that is said', async () => {
  expect(await openAgain(network(Infinity), 60)).toBe('port 80 is taken');
});
