/** What a machine's process makes of its folder, whether it is its own or one that it shares: the machine's options, how it goes on, and how it ended. */

import { writeFileSync } from 'node:fs';
import type { MachineEndReport } from '../control/operations.ts';
import { HostError } from '../failure.ts';
import { loadBootFiles, loadDescription } from '../machine-folder/boot-files.ts';
import { type MachineConfig, memoryBytesOf } from '../machine-folder/config.ts';
import { fileIn, type MachineFolder } from '../machine-folder/layout.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import { SnapshotStore } from '../snapshot/snapshot-store.ts';
import type { VMOptions } from '../vm/options.ts';
import type { VMDomain } from '../vm/vm-domain.ts';
import { VM } from '../vm/vm.ts';
import type { ConsoleLog } from './console-log.ts';
import type { MachineMake, MachineShape, StartMessage } from './messages.ts';

/** Of a machine whose vm.yaml says `config`. `domain` is that which it shares with others, or its pool of its own. */
export async function optionsOf(
  config: MachineConfig,
  folder: MachineFolder,
  { disks, isArriving, snapshot, kept }: Pick<StartMessage, 'disks' | 'isArriving' | 'snapshot' | 'kept'>,
  log: ConsoleLog,
  domain: VMDomain | undefined,
): Promise<VMOptions> {
  const [network] = config.networks ?? [];
  const boots = !isArriving && snapshot === undefined;
  const { reservation, limit, shares } = config.overcommit ?? {};
  return {
    ...shapeOf(config),
    name: config.name,
    ...(isArriving || kept !== undefined ? { booted: await loadDescription(folder) } : {}),
    ...(boots ? { boot: () => loadBootFiles(folder) } : {}),
    ...(boots && kept !== undefined ? { keptPlace: kept } : {}),
    instanceId: config.id,
    ...(config.cpu === undefined ? {} : { cpu: config.cpu }),
    ...(config.label === undefined ? { ownsProcess: true } : { sharesProcess: true }),
    ...(domain === undefined ? {} : { domain, label: domain.label }),
    ...(domain?.hasPool === true ? { balloon: true } : {}),
    ...(reservation === undefined ? {} : { memoryReservation: reservation }),
    ...(limit === undefined ? {} : { memoryLimit: limit }),
    ...(shares === undefined ? {} : { memoryShares: shares }),
    disks,
    temporaryFolder: folder.disks,
    ...(network === undefined ? {} : { mac: network.mac, publish: network.publish ?? [] }),
    ...(config.env === undefined ? {} : { env: config.env }),
    ...(config.user === undefined ? {} : { user: config.user }),
    ...(config.workdir === undefined ? {} : { workdir: config.workdir }),
    reachable: false,
    onSerial: (bytes) => log.write(bytes),
  };
}

/** What shapes a machine, whosever it is. */
export function shapeOf(config: MachineConfig): MachineShape {
  const [network] = config.networks ?? [];
  return {
    image: config.image,
    cpus: config.cpus,
    memory: memoryBytesOf(config),
    network: network === undefined ? 'none' : network.mode,
    ...(config.engine === undefined ? {} : { engine: config.engine }),
    ...(config.kernelArguments === undefined ? {} : { kernelArguments: config.kernelArguments }),
  };
}

/** Of one that goes on from a kept boot and is nobody's yet. */
export function parkedOptions({ shape, kept }: MachineMake): VMOptions {
  return { ...shape, ownsProcess: true, keptPlace: kept, boot: neverBoots };
}

/** Of one that goes on from a kept boot or is not there. */
export function neverBoots(): Promise<never> {
  return Promise.reject(new HostError('unavailable', 'the kept boot cannot be used'));
}

/** Of a machine that comes: disks whose files another process has until then. */
export function absentOf(absentDisks: StartMessage['absentDisks']): NonNullable<VMOptions['absentDisks']> {
  return new Map(
    Object.entries(absentDisks).map(([index, { sizeBytes, discardBytes }]) => [
      Number(index),
      { sizeBytes, discardGranularityBytes: discardBytes },
    ]),
  );
}

/** One that goes on from a snapshot of its own; it does not run yet. */
export function restoredOf(snapshot: string, options: VMOptions, folder: MachineFolder): Promise<VM> {
  const {
    image: _image,
    boot: _boot,
    cpus: _cpus,
    memory: _memory,
    network: _network,
    balloon: _balloon,
    ...rest
  } = options;
  // Who asked for it has looked at all of its bytes.
  return VM.createRestored(new SnapshotStore(folder.snapshots), snapshot, rest, { verify: false });
}

/** Whether those disks, of a restored machine, are the machine's by what its vm.yaml says now: a daemon that was killed may have got so far. */
export async function isCommitted(folder: MachineFolder, disks: readonly string[]): Promise<boolean> {
  const config = await readMachine(folder);
  const isSame = (config.disks ?? []).every(({ file }, index) =>
    disks[index]?.startsWith(`${fileIn(folder, file).replaceAll(',', ',,')},`),
  );
  return isSame && disks.length > 0;
}

/** For the daemon that comes, when nobody was there to hear of it. */
export function writeEnd(path: string, report: MachineEndReport): void {
  try {
    writeFileSync(path, `${JSON.stringify({ ...report, at: new Date().toISOString() })}\n`, { mode: 0o600 });
  } catch {
    // Then nobody knows; a full disk stops no machine from ending.
  }
}
