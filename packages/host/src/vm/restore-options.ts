/** What a snapshot says of its virtual machine, and the options that make another one like it. */

import { randomBytes } from 'node:crypto';
import { type MachineRunner, SnapshotError, type SnapshotManifest } from '@ringfence/core';
import { moveCard } from '../guest/move-card.ts';
import { nodeClock } from '../machine/ports.ts';
import { HostError } from '../failure.ts';
import type { MachineNetwork } from '../network/machine-network.ts';
import { diskOptions } from '../snapshot/disk-points.ts';
import type { OpenStoredSnapshot, SnapshotStore, StoredRequest } from '../snapshot/snapshot-store.ts';
import type { VMParts } from './assemble.ts';
import { cardOf, knownCard } from './known-card.ts';
import type { VMOptions } from './options.ts';

/** What makes snapshots, for people. */
const RINGFENCE = 'ringfence';

/** Of a machine that goes on from a snapshot: what is not of its make. */
export type VMRestoreOptions = Omit<
  VMOptions,
  | 'image'
  | 'suite'
  | 'packages'
  | 'userData'
  | 'metaData'
  | 'networkConfig'
  | 'cpus'
  | 'memory'
  | 'network'
  | 'balloon'
  | 'kernelArguments'
  | 'keptBoot'
>;

/** What is kept with a snapshot. */
function aboutMachine({ settings, options, suite, consoleProgram, network: net }: VMParts): SnapshotManifest['about'] {
  const { imageName, network, shares } = settings;
  return {
    image: imageName,
    suite: options.suite ?? null,
    ofSuite: suite,
    consoleProgram: consoleProgram === undefined ? null : [...consoleProgram],
    network: network.net,
    card: cardOf(net),
    shares: shares.map(({ guest, readOnly }) => ({ guest, readOnly })),
    balloon: options.balloon ?? false,
  };
}

/** Asks a store for a snapshot of a machine, with the one that it builds on open meanwhile. */
export async function withSnapshotRequest<T>(
  parts: VMParts,
  runner: MachineRunner,
  store: SnapshotStore,
  parent: string | undefined,
  ask: (request: StoredRequest) => Promise<T>,
): Promise<T> {
  const from = parent === undefined ? undefined : store.open(parent, { verify: false });
  try {
    return await ask({
      machine: parts.machine,
      runner,
      clock: nodeClock,
      id: randomBytes(16).toString('hex'),
      createdBy: RINGFENCE,
      createdAt: new Date().toISOString(),
      about: aboutMachine(parts),
      parent: from,
      disks: parts.openDisks.disks,
    });
  } finally {
    from?.close();
  }
}

/** The options of a machine like the one of the snapshot; throws a SnapshotError or a HostError. */
export function optionsOfSnapshot(
  { name, folder, manifest }: Pick<OpenStoredSnapshot, 'name' | 'folder' | 'manifest'>,
  options: VMRestoreOptions,
): VMOptions {
  const { about, machine } = manifest;
  const { image, suite, network, shares, balloon } = about;
  if (typeof image !== 'string' || typeof network !== 'string' || !Array.isArray(shares))
    throw new SnapshotError('other-machine', `the snapshot "${name}" does not say what virtual machine it is of`);
  const given = options.shares ?? [];
  if (given.length !== shares.length)
    throw new HostError(
      'bad-argument',
      `the snapshot "${name}" is of a virtual machine with ${shares.length} shared folders, and ${given.length} are given`,
    );
  return {
    ...options,
    image,
    ...(typeof suite === 'string' ? { suite } : {}),
    cpus: machine.harts,
    memory: machine.memoryBytes,
    network,
    balloon: balloon === true,
    disks: options.disks ?? diskOptions(manifest, folder),
  };
}

/** What an image says of its machines, as the snapshot has it. */
export function imageOfSnapshot({ about }: SnapshotManifest): Pick<VMParts, 'suite' | 'consoleProgram'> {
  const { ofSuite, consoleProgram } = about;
  const isProgram = Array.isArray(consoleProgram) && consoleProgram.every((word) => typeof word === 'string');
  return {
    suite: typeof ofSuite === 'string' ? ofSuite : '',
    consoleProgram: isProgram ? consoleProgram : undefined,
  };
}

/** Tells the guest of a machine that goes on from the snapshot which card it has here. */
export function moveRestoredCard(
  guest: Parameters<typeof moveCard>[0],
  name: string,
  manifest: SnapshotManifest,
  network: MachineNetwork,
): Promise<void> {
  return moveCard(guest, name, knownCard(manifest), network);
}
