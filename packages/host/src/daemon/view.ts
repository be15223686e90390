/** A machine as people are shown it. */

import type { MachineView, UsageView } from '@ringfence/api';
import { memoryBytesOf } from '../machine-folder/config.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import type { Entry } from './entry.ts';
import { failureOf } from './failures.ts';
import type { Processors } from './processors.ts';

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
      ...(config.cpu === undefined ? {} : { cpu: config.cpu }),
      memoryBytes: memoryBytesOf(config),
      ...(config.overcommit === undefined ? {} : { overcommit: config.overcommit }),
      disks: (config.disks ?? []).map(({ file, readonly: readOnly = false }) => ({ file, readOnly })),
      networks: (config.networks ?? []).map(({ mode, mac, publish = [] }) => ({ mode, mac, publish })),
    };
  } catch (error) {
    const nothing = { image: '', suite: '', cpus: 0, memoryBytes: 0, disks: [], networks: [] };
    return { ...view, ...nothing, ...(state === 'creating' ? {} : { problem: failureOf(error).message }) };
  }
}

/** As `viewOf`, with what only its process knows. */
export async function inspectionOf(entry: Entry): Promise<MachineView> {
  const forks = (await entry.run?.forks().catch(() => [])) ?? [];
  return { ...(await viewOf(entry)), ...(forks.length === 0 ? {} : { forks: [...forks] }) };
}

/** What it takes of this computer; undefined when it does not run. */
export async function usageOf(entry: Entry, processors: Processors): Promise<UsageView | undefined> {
  const { id, name, run } = entry;
  const { state } = entry.life;
  if (run === undefined || state === 'gone') return undefined;
  const at = new Date().toISOString();
  const usage = await run.usage().catch(() => undefined);
  const config = await readMachine(entry.folder).catch(() => undefined);
  const memoryBytes = config === undefined ? 0 : memoryBytesOf(config);
  return usage && { id, name, state, at, ...usage, memoryBytes, cpu: processors.view(entry) };
}
