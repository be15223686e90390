/** A machine that is stopped where it leaves, when it has been handed over and that is not heard there yet. */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Between } from './testing/between.ts';
import { RealDaemon } from './testing/daemon.ts';

/** A trip back takes so long: between COMMIT, which arrives at once, and RUNNING. */
const LATE_MS = 400;

/** From which part of its memory on: half of that is sent. */
const LATE_FROM = 0.3;

/** One that was stopped then, and whether the daemon that it has come to can be reached. */
async function stopped(
  isReached: boolean,
): Promise<{ stop: string; move: string; here: string[]; there: string[]; says: string }> {
  await using one = new RealDaemon({ listens: true });
  await using two = new RealDaemon({ listens: true });
  await Promise.all([one.start(), two.start()]);
  await one.trust(two);
  await two.trust(one);
  await one.create('web');
  await one.client.run('vm.start', { vm: 'web' });
  await one.exec('web', 'sh', '-c', 'echo kept >/tmp/kept');
  await using link = await Between.open(two.listens);
  const [{ guestResidentBytes } = { guestResidentBytes: 0 }] = await one.client.ask('vm.usage', {});
  // Only the end is wanted so late: all of it would take a minute.
  const lateFromBytes = LATE_FROM * guestResidentBytes;
  link.answerLate(LATE_MS, lateFromBytes);
  const said = (error: unknown): string =>
    error instanceof Error && 'code' in error ? String(error.code) : String(error);
  const moving = one.client
    .run('vm.migrate', { vm: 'web', target: link.address, downtimeMs: 1000 })
    .then(() => 'moved', said);
  const states = async (daemon: RealDaemon): Promise<string[]> =>
    (await daemon.client.ask('vm.list', {})).map(({ state }) => state);
  while ((await states(two))[0] !== 'running') await sleep(5);
  expect(link.carriedBytes).toBeGreaterThan(lateFromBytes);
  if (isReached) link.answerLate(0);
  else link.close();
  const stop = await one.client.run('vm.stop', { vm: 'web' }).then(() => 'stopped', said);
  const move = await moving;
  const end = isReached ? undefined : (await one.machine('web')).end;
  const result = {
    stop,
    move,
    here: await states(one),
    there: await states(two),
    says: await two.exec('web', 'cat', '/tmp/kept'),
  };
  expect(end === undefined ? '' : JSON.stringify(end)).toMatch(
    isReached ? /^$/ : /it may run at 127\.0\.0\.1:\d+, which did not answer/,
  );
  return result;
}

test("a machine that is stopped where it leaves, after COMMIT, is the one's that has it", async () => {
  expect(await stopped(true)).toEqual({ stop: 'ended', move: 'moved', here: [], there: ['running'], says: 'kept' });
});

test('and is stopped here, which says where it may run, when that one is not reached', async () => {
  expect(await stopped(false)).toEqual({
    stop: 'stopped',
    move: 'aborted',
    here: ['stopped'],
    there: ['running'],
    says: 'kept',
  });
});
