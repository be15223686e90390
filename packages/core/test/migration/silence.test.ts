/** A link that falls silent while the machine stands still, without being lost. */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Random } from '../../src/engine/float/testing/vectors.ts';
import type { MigrationLink } from '../../src/hypervisor/migration/ports.ts';
import { MAXIMUM_SILENCE_MS } from '../../src/hypervisor/migration/silence.ts';
import { MigrationSource } from '../../src/hypervisor/migration/source.ts';
import { MigrationTarget } from '../../src/hypervisor/migration/target.ts';
import { pacedMachine } from '../differential/paced-machine.ts';
import { BrokenLink, brokenLinkCodec } from './broken-link.ts';

/** A hundred times as fast as others. */
const SPEED = 100;
const CLOCK = { monotonicNs: () => performance.now() * 1e6 * SPEED, sleep: (ms: number) => sleep(ms / SPEED) };

test.each([
  ['before COMMIT is heard goes on here', 'handing over', 'source'],
  ["when it may have been handed over is the one's that says so", 'owned', 'target'],
] as const)('a machine whose link falls silent %s', async (_what, from, owner) => {
  const [here, there] = new BrokenLink(new Random(3), { kind: 'none', at: 0 }).ends;
  let isSilent = false;
  const hears: MigrationLink = {
    send: (message) => (isSilent ? Promise.resolve() : there.send(message)),
    listen: (onMessage, onLost) => there.listen(onMessage, onLost),
    close: () => there.close(),
  };
  const isCut = (): boolean => isSilent && from === 'handing over';
  const says: MigrationLink = {
    send: (message) => (isCut() ? Promise.resolve() : here.send(message)),
    listen: (onMessage, onLost) => here.listen(onMessage, onLost),
    close: () => undefined,
  };
  const target = new MigrationTarget({
    link: hears,
    codec: brokenLinkCodec(),
    clock: CLOCK,
    make: () => pacedMachine('interpreter'),
    owned: () => Promise.resolve(void (isSilent ||= from === 'owned')),
    run: () => undefined,
  });
  let isPaused = false;
  let asked = 0;
  const source = new MigrationSource({
    machine: await pacedMachine('interpreter'),
    runner: {
      pause: () => Promise.resolve((isPaused = true)),
      resume: () => (isPaused = false),
      runFor: () => Promise.resolve(true),
    },
    clock: CLOCK,
    codec: brokenLinkCodec(),
    link: says,
    about: null,
    downtimeMs: 1e6,
    onProgress: ({ phase }) => void (isSilent ||= phase === from),
    settle() {
      asked++;
      // Who is asked ends what is under way first.
      here.close();
      return target.arrived.then(
        () => 'target',
        () => 'source',
      );
    },
  });
  const sinceNs = CLOCK.monotonicNs();
  const code = await source.run().then(
    () => 'moved',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  );
  expect([code, isPaused, asked]).toEqual(owner === 'target' ? ['moved', true, 1] : ['lost', false, 1]);
  expect((CLOCK.monotonicNs() - sinceNs) / 1e6).toBeGreaterThanOrEqual(MAXIMUM_SILENCE_MS);
});
