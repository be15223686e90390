/**
 * A command's first output inside a running daemon, in a machine that is started and goes on from a kept boot (docs/snapshots.md): `npm run
 * bench:daemon-start`. Counted from the client's question to the daemon, over its socket, to the first octet that the guest has written, as the client has it;
 * the client runs already, and the machine was made before.
 *
 *     create    until the daemon has answered that the machine is made
 *     start     until it has answered that its guest takes commands
 *     output    from `start` until the first octet of `echo` in it
 *
 * First with the process that waits for the next start, which the daemon makes ready meanwhile; then one start after the other, which find none; then boots.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { RealDaemon } from '../testing/daemon.ts';
import { processorTicks } from '../testing/processor-time.ts';
import { firstOutputMs, say } from './first-output.ts';

/** What is wanted of the median from `start` until the first octet. */
const WANTED_MS = 30;
/** Rounds before what is counted: code is compiled in these. */
const WARM_ROUNDS = 3;
const COLD_ROUNDS = 5;
const BOOT_ROUNDS = 3;
/** Looks at the processor time of the process that is to wait, in hundredths of a second: it has had that much by then. */
const LOOK_MS = 200;
const QUIET_LOOKS = 3;
const LEAST_TICKS = 30;
/** Until a boot is kept. */
const KEEP_MS = 600_000;
/** Between two looks whether it is: what keeps it gives way to others. */
const KEEP_LOOK_MS = 10_000;

const values = scriptOptions(
  'npm run bench:daemon-start --',
  'Until a machine of a running daemon takes commands, and until the first one answers.',
  {
    memory: { default: '512M', word: 'SIZE', says: 'of the machine' },
    network: { default: 'user', choices: ['none', 'user'], says: 'its card' },
    rounds: { default: 20, says: 'rounds of each' },
  },
);
const { memory } = values;
const network = values.network === 'none' ? 'none' : 'user';

interface Round {
  readonly createMs: number;
  readonly startMs: number;
  readonly outputMs: number;
}

await using daemon = new RealDaemon();
await daemon.start();
const sockets = join(daemon.folder, 'run/ringfence');

/** Makes a machine, starts it, has it say something, and removes it; undefined when it booted although it need not have. */
async function round(snapshot = true): Promise<Round | undefined> {
  const createdMs = performance.now();
  await daemon.create('one', { memory, network });
  const startedMs = performance.now();
  await daemon.client.run('vm.start', { vm: 'one', ...(snapshot ? {} : { snapshot }) });
  const startMs = performance.now() - startedMs;
  const outputMs = (await firstOutputMs('one', sockets)) - startedMs;
  const { start } = await daemon.machine('one');
  await daemon.client.run('vm.stop', { vm: 'one', timeoutMs: 0 });
  await daemon.client.run('vm.remove', { vm: 'one' });
  const isAsWanted = start?.from === (snapshot ? 'kept-boot' : 'boot');
  return isAsWanted ? { createMs: startedMs - createdMs, startMs, outputMs } : undefined;
}

/** Resolves when the process waits that the next start can have: it has done something, and does nothing any more. */
async function untilOneWaits(): Promise<void> {
  const ticksOf = (): number => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        if (!words.includes('spare') || !words.some((word) => word.includes(daemon.folder))) continue;
        return processorTicks(Number(pid));
      } catch {
        // It has ended.
      }
    return 0;
  };
  for (let [before, quiet] = [0, 0]; quiet < QUIET_LOOKS; await sleep(LOOK_MS)) {
    const ticks = ticksOf();
    quiet = ticks >= LEAST_TICKS && ticks === before ? quiet + 1 : 0;
    before = ticks;
  }
}

async function rounds(count: number, waits: boolean, snapshot = true): Promise<Round[]> {
  const taken: Round[] = [];
  while (taken.length < count) {
    if (waits) await untilOneWaits();
    const each = await round(snapshot);
    if (each === undefined) throw new Error('a machine booted that was to go on from a kept boot');
    taken.push(each);
  }
  return taken;
}

function told(how: string, taken: readonly Round[], wanted = ''): void {
  say(
    `${how}: created`,
    taken.map(({ createMs }) => createMs),
  );
  say(
    `${how}: takes commands`,
    taken.map(({ startMs }) => startMs),
  );
  say(
    `${how}: a command’s first output`,
    taken.map(({ outputMs }) => outputMs),
    wanted,
  );
}

// What is kept is of one that is there still.
await daemon.create('first', { memory, network });
await daemon.client.run('vm.start', { vm: 'first' });
for (const until = performance.now() + KEEP_MS; (await round()) === undefined; await sleep(KEEP_LOOK_MS))
  if (performance.now() > until) throw new Error('no boot was kept');
await rounds(WARM_ROUNDS, true);
told('a process waits', await rounds(values.rounds, true), `; wanted: ${WANTED_MS} ms`);
told('none waits', await rounds(COLD_ROUNDS, false));
told('it boots', await rounds(BOOT_ROUNDS, false, false));
