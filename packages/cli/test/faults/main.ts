/**
 * `npm run faults [ROUNDS [SEED [WHICH]]]`: what goes wrong at random moments, 100 times each when nobody says how often.
 *
 *     kills     the daemon and machines are killed while something is done
 *     sharing   the same, with machines that share the process of their label
 *     full      the disk is full while a snapshot is taken or gone on from; in a mount namespace of its own
 *     bytes     a byte of a snapshot is another
 *     writing   as migration, of a guest that writes to 64 to 200 MiB of its memory; and post-copy, where pages follow when it runs there
 *     labels    as migration, of a guest that has a trust label at both ends
 *     migration the daemons or the machine are killed, or what is between is cut, slow or not trusted, while a machine moves
 */

import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { migrationRounds } from './migration-rounds.ts';
import { faultRounds, sharingRounds } from './rounds.ts';
import { changedByteRounds, fullDiskRounds, type Rounds } from './snapshot-rounds.ts';

const [rounds = '100', seed = String(Date.now() % 2 ** 31), ...which] = process.argv.slice(2);
const IN_NAMESPACE = 'full-in-namespace';
const KINDS = {
  kills: (options: Rounds) => faultRounds(options),
  sharing: sharingRounds,
  full: () => {
    const words = [process.execPath, fileURLToPath(import.meta.url), rounds, seed, IN_NAMESPACE];
    const { status } = spawnSync('unshare', ['-rm', ...words], { stdio: 'inherit' });
    return status === 0 ? Promise.resolve() : Promise.reject(new Error('rounds on a full disk failed'));
  },
  bytes: changedByteRounds,
  migration: migrationRounds,
  labels: (given: Rounds) => migrationRounds({ ...given, label: `kept-${given.seed}` }),
  writing: (given: Rounds) => migrationRounds({ ...given, memory: memoryOf(given) }),
  'post-copy': (given: Rounds) => migrationRounds({ ...given, memory: memoryOf(given), postCopy: true }),
} as const;

/** MiB that a guest writes to. */
function memoryOf(given: Rounds): number {
  return 64 + (given.seed % 137);
}

const options = { rounds: Number(rounds), seed: Number(seed), say: (line: string) => console.log(line) };
if (which[0] === IN_NAMESPACE) await fullDiskRounds(options);
else {
  const kinds = Object.keys(KINDS).filter(
    (kind) => which.length === 0 || which.includes(kind),
  ) as (keyof typeof KINDS)[];
  for (const kind of kinds) {
    console.log(`${kind}: ${rounds} rounds, seed ${seed}`);
    await KINDS[kind](options);
  }
  console.log('nothing lost, nothing half-made');
}
