import { spawnSync } from 'node:child_process';
import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { type Fault, FAULTS, migrationRounds } from './migration-rounds.ts';
import { faultRounds } from './rounds.ts';
import { changedByteRounds } from './snapshot-rounds.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const canMount = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt']).status === 0;

test('the daemon and machines may be killed at any moment', async () => {
  const said: string[] = [];
  await faultRounds({ rounds: 4, seed: 7, say: (line) => said.push(line) });
  expect(said).toHaveLength(4);
});

test('a snapshot with another byte is refused, and its machine notices nothing', async () => {
  await changedByteRounds({ rounds: 4, seed: 7, say: () => undefined });
});

test.skipIf(!canMount)(
  'a disk that is full in the middle of a snapshot leaves nothing of it, and all else whole',
  () => {
    const { status, stderr } = spawnSync(execPath, [MAIN, '4', '7', 'full'], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  },
);
test('a machine on its way runs in one place, whoever is killed and whatever becomes of the link', async () => {
  const said: string[] = [];
  // What takes its time is among the rounds of `npm run faults`.
  const slow: readonly Fault[] = [
    'the link silent for long',
    'no more memory where it comes to',
    'the link cut for a while',
    'the machine held where it leaves, and the link cut',
  ];
  const faults: readonly Fault[] = [...FAULTS.filter((fault) => !slow.includes(fault)), 'the link cut'];
  await migrationRounds({
    rounds: faults.length,
    seed: 11,
    say: (line) => said.push(line),
    fault: (round) => faults[round - 1] ?? 'nothing',
  });
  expect(said).toHaveLength(faults.length);
});
