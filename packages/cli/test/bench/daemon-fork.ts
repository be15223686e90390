/**
 * A command's first output inside a running daemon, by a fork of a machine that is warm (docs/forks.md): `npm run bench:daemon-fork`. Counted from the
 * client's question to the daemon, over its socket, to the first octet that the fork's guest has written, as the client has it; the client runs already.
 *
 *     fork      until the daemon has answered that the fork is made and takes commands
 *     output    until the first octet of `echo` in it
 */

import { join } from 'node:path';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { RemoteVM } from '@ringfence/host/control';
import { RealDaemon } from '../testing/daemon.ts';
import { firstOutputMs, say } from './first-output.ts';

/** What is wanted of the median until the first octet. */
const WANTED_MS = 30;
/** Rounds before what is counted: code is compiled in these. */
const WARM_ROUNDS = 5;

const values = scriptOptions(
  'npm run bench:daemon-fork --',
  'A command’s first output in a fork, inside a running daemon.',
  {
    memory: { default: '512M', word: 'SIZE', says: 'of the machine' },
    rounds: { default: 20, says: 'forks' },
  },
);

await using daemon = new RealDaemon();
await daemon.start();
await daemon.create('warm', { memory: values.memory });
await daemon.client.run('vm.start', { vm: 'warm' });
await daemon.exec('warm', 'echo', 'warm');
const sockets = join(daemon.folder, 'run/ringfence');

async function round(): Promise<{ readonly forkMs: number; readonly outputMs: number }> {
  const startMs = performance.now();
  const { made: [name = ''] = [] } = await daemon.client.run('vm.fork', { vm: 'warm' });
  const forkMs = performance.now() - startMs;
  const outputMs = (await firstOutputMs(name, sockets)) - startMs;
  await RemoteVM.at(name, sockets).stop({ timeoutMs: 0 });
  return { forkMs, outputMs };
}

for (let warm = 0; warm < WARM_ROUNDS; warm++) await round();
const taken = [];
for (let counted = 0; counted < values.rounds; counted++) taken.push(await round());

say(
  'a fork is made and takes commands',
  taken.map(({ forkMs }) => forkMs),
);
say(
  'a command’s first output in it',
  taken.map(({ outputMs }) => outputMs),
  `; wanted: ${WANTED_MS} ms`,
);
