/** Goes on from a snapshot, and says when the machine runs and when its guest has answered: FOLDER and NAME. */

import process from 'node:process';
import { SnapshotStore, VM } from '@ringfence/host';

export async function restoreAndAsk([folder = '', name = '']: readonly string[]): Promise<void> {
  const vm = await VM.createRestored(new SnapshotStore(folder), name, { reachable: false });
  vm.start();
  process.stdout.write('runs\n');
  await vm.exec(['true']);
  process.stdout.write('answers\n');
  await vm.kill();
  process.exit(0);
}
