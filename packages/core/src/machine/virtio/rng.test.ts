import { describe, expect, test } from 'vitest';
import { CountingEntropy } from '../testing/doubles.ts';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import { Rig, TRANSPORTS } from './testing/rig.ts';
import { MAXIMUM_ENTROPY_BYTES, VirtioRng } from './rng.ts';

describe.each(TRANSPORTS)('the entropy device over %s', (transport) => {
  const make = (): Rig<VirtioRng> => new Rig(transport, new VirtioRng(new CountingEntropy()));

  test('fills every buffer of a request', () => {
    const rig = make().start();
    const request = rig.queue(0).submit([], [3, 5]);
    rig.guest.notify(0);
    expect(rig.queue(0).takeUsed()).toEqual([{ head: request.head, written: 8 }]);
    expect([...rig.queue(0).answer(request)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test('never gives the same bytes twice', () => {
    const rig = make().start();
    const requests = [1, 2].map(() => rig.queue(0).submit([], [4]));
    rig.guest.notify(0);
    expect(requests.map((request) => [...rig.queue(0).answer(request)])).toEqual([
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ]);
  });

  test('gives a large request its share and says how much that was', () => {
    const rig = make().start();
    const request = rig.queue(0).submit([], [100_000]);
    rig.guest.notify(0);
    expect(rig.queue(0).takeUsed()).toEqual([{ head: request.head, written: MAXIMUM_ENTROPY_BYTES }]);
    const answer = rig.queue(0).answer(request);
    expect(answer[MAXIMUM_ENTROPY_BYTES - 1]).toBe(MAXIMUM_ENTROPY_BYTES & 0xff);
    expect(answer.subarray(MAXIMUM_ENTROPY_BYTES).every((byte) => byte === 0)).toBe(true);
  });

  test('a request without room is answered with nothing and counted', () => {
    const rig = make().start();
    rig.queue(0).submit([Uint8Array.of(1)], []);
    rig.guest.notify(0);
    expect(rig.queue(0).takeUsed()).toEqual([{ head: 0, written: 0 }]);
    expect(rig.faults.reports).toEqual([expect.stringContaining('asked for no entropy')]);
    expect(rig.needsReset).toBe(false);
  });

  deviceLifecycle(`the entropy device over ${transport}`, {
    make: () => {
      const { machineDevice } = make();
      machineDevice.reset();
      return machineDevice;
    },
    disturb: (device) => {
      const rig = Rig.of(device);
      rig.findDevice();
      rig.start();
      rig.queue(0).submit([], [4]);
      rig.guest.notify(0);
    },
  });
});
