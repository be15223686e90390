/** A machine as people are shown it. */

import type { MachineView } from '@ringfence/api';
import { memoryBytesOf } from '../machine-folder/config.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import type { Entry } from './entry.ts';
import { failureOf } from './failures.ts';

export async function viewOf(entry: Entry): Promise<MachineView> {
  const { id, name, folder, createdAt, startedAt, run, end } = entry;
  const { state } = entry.life;
  const view = {
    id,
    name,
    state: state === 'gone' ? 'removing' : state,
    folder: folder.path,
    createdAt,
    ...(startedAt === undefined || run === undefined ? {} : { startedAt }),
    ...(run === undefined ? {} : { pid: run.pid }),
    ...(end === undefined ? {} : { end }),
  };
  try {
    const config = await readMachine(folder);
    return {
      ...view,
      image: config.image,
      suite: config.suite,
      cpus: config.cpus,
      memoryBytes: memoryBytesOf(config),
      disks: (config.disks ?? []).map(({ file, readonly: readOnly = false }) => ({ file, readOnly })),
      networks: (config.networks ?? []).map(({ mode, mac, publish = [] }) => ({ mode, mac, publish })),
    };
  } catch (error) {
    const nothing = { image: '', suite: '', cpus: 0, memoryBytes: 0, disks: [], networks: [] };
    return { ...view, ...nothing, ...(state === 'creating' ? {} : { problem: failureOf(error).message }) };
  }
}
