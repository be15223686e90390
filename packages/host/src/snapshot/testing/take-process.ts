/** Takes snapshots of a small machine in a folder, one after another, and says how each went: FOLDER, then their names. */

import process from 'node:process';
import { SnapshotError } from '@ringfence/core';
import { SnapshotStore } from '../snapshot-store.ts';
import { smallMachine } from './small-machine.ts';

const [folder = '', ...names] = process.argv.slice(2);
const { request } = await smallMachine(200);
for (const name of names) {
  try {
    await new SnapshotStore(folder).take(name, request());
    process.stdout.write(`${name} is whole\n`);
  } catch (error) {
    process.stdout.write(`${error instanceof SnapshotError ? `${error.code}: ${error.message}` : String(error)}\n`);
  }
}
