/** `npm run faults [ROUNDS [SEED]]`: kills the daemon and machines at random moments, 100 times when nobody says how often. */

import process from 'node:process';
import { faultRounds } from './rounds.ts';

const [rounds = '100', seed = String(Date.now() % 2 ** 31)] = process.argv.slice(2);
console.log(`${rounds} rounds, seed ${seed}`);
await faultRounds({ rounds: Number(rounds), seed: Number(seed), say: (line) => console.log(line) });
console.log('nothing lost, nothing half-made');
