/** A machine as people are shown it. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineView, UsageView } from '@ringfence/api';
import { memoryBytesOf } from '../machine-folder/config.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import type { Entry } from './entry.ts';
import { failureOf } from './failures.ts';
import { type Forks, type KnownFork, stateOf } from './forks.ts';
import type { Processors } from './processors.ts';

export async function viewOf(entry: Entry, forks: Forks): Promise<MachineView> {
  const { id, name, folder, createdAt, startedAt, began, run, end } = entry;
  const { state } = entry.life;
  const own = forks.of(entry);
  const view = {
    id,
    name,
    state: state === 'gone' ? 'removing' : state,
    folder: folder.path,
    createdAt,
    ...(startedAt === undefined || run === undefined ? {} : { startedAt }),
    ...(run === undefined ? {} : { pid: run.pid }),
    ...(own.length === 0 ? {} : { forks: own }),
    ...(run === undefined || began === undefined ? {} : { start: began }),
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
      ...(config.label === undefined ? {} : { label: config.label }),
      disks: (config.disks ?? []).map(({ file, readonly: readOnly = false }) => ({ file, readOnly })),
      networks: (config.networks ?? []).map(({ mode, mac, publish = [] }) => ({ mode, mac, publish })),
    };
  } catch (error) {
    const nothing = { image: '', suite: '', cpus: 0, memoryBytes: 0, disks: [], networks: [] };
    return { ...view, ...nothing, ...(state === 'creating' ? {} : { problem: failureOf(error).message }) };
  }
}

/** As `viewOf`, when its process was asked for forks that nobody has heard of. */
export async function inspectionOf(entry: Entry, forks: Forks): Promise<MachineView> {
  await entry.run?.forks().catch(() => undefined);
  return viewOf(entry, forks);
}

/** A fork: what is its own, and else its machine's. */
export async function forkViewOf({ entry, fork, life }: KnownFork, forks: Forks): Promise<MachineView> {
  const { forks: _forks, end: _end, networks: _networks, start: _start, ...view } = await viewOf(entry, forks);
  const { name, state } = { name: fork.name, state: stateOf(life) };
  const status = await fork.status().catch(() => undefined);
  const networks = (status?.macs ?? []).map((mac) => ({ mode: status?.network ?? '', mac, publish: [] }));
  const startedAt = status === undefined ? {} : { startedAt: status.startedAt };
  return { ...view, ...startedAt, name, state, forkOf: entry.name, networks };
}

/** How long a process may take to say what it takes, where all are asked at once: one that stands still is no reason not to hear of the others. */
const USAGE_TIMEOUT_MS = 2000;

/** What it takes of this computer; undefined when it does not run, or does not answer. */
export async function usageOf(entry: Entry, processors: Processors): Promise<UsageView | undefined> {
  const { id, name, run } = entry;
  const { state } = entry.life;
  if (run === undefined || state === 'gone') return undefined;
  const at = new Date().toISOString();
  const late = new AbortController();
  const usage = await Promise.race([
    run.usage().catch(() => undefined),
    sleep(USAGE_TIMEOUT_MS, undefined, { signal: late.signal, ref: false }).catch(() => undefined),
  ]);
  late.abort();
  const config = await readMachine(entry.folder).catch(() => undefined);
  const memoryBytes = config === undefined ? 0 : memoryBytesOf(config);
  const label = config?.label === undefined ? {} : { label: config.label };
  return usage && { id, name, state, at, ...label, ...usage, memoryBytes, cpu: processors.view(entry) };
}
