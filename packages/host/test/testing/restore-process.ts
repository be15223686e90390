/** Restores a virtual machine in a process of its own, asks its guest, and prints the answer: FOLDER, NAME, engine, and the command. */

import process from 'node:process';
import { SnapshotStore, VM } from '../../src/index.ts';

const [folder = '', name = '', engine = 'jit', ...command] = process.argv.slice(2);
const vm = await VM.restore(new SnapshotStore(folder), name, {
  engine: engine === 'interpreter' ? engine : 'jit',
  reachable: false,
});
const { stdout, stderr } = await vm.exec(command);
process.stdout.write(stdout + stderr);
await vm.kill();
process.exit(0);
