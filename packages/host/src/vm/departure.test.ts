/** What becomes of published ports and lent disks when a machine stays. */

import { expect, test } from 'vitest';
import { HostError } from '../failure.ts';
import { hasAgain, openAgain } from './departure.ts';

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

test('a disk that the other side lets go of later is had again, and one that it keeps is named', async () => {
  const told: string[] = [];
  let asked = 0;
  const disk = (takenTimes: number): { takeBack(): Promise<void> } => ({
    takeBack() {
      if (asked++ < takenTimes) return Promise.reject(new HostError('wrong-state', 'Disk "data" is in use'));
      return Promise.resolve();
    },
  });
  await hasAgain(disk(2), (reason) => void told.push(reason));
  expect([asked, told]).toEqual([3, ['Disk "data" is in use']]);
  await expect(hasAgain(disk(Infinity), () => undefined, 60)).rejects.toMatchObject({
    message: 'a disk that was lent to the other daemon is not back: Disk "data" is in use',
  });
});
