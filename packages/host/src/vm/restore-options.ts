/** What a snapshot says of its virtual machine, and the options that make another one like it. */

import { SnapshotError, type SnapshotManifest } from '@ringfence/core';
import { HostError } from '../failure.ts';
import type { VMOptions, VMSettings } from './options.ts';

/** What makes snapshots, for people. */
export const RINGFENCE = 'ringfence';

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
  | 'disks'
  | 'network'
  | 'balloon'
  | 'kernelArguments'
  | 'keptBoot'
>;

/** What is kept with a snapshot. */
export function aboutMachine(settings: VMSettings, { suite, balloon = false }: VMOptions): SnapshotManifest['about'] {
  const { imageName, network, shares } = settings;
  return {
    image: imageName,
    suite: suite ?? null,
    network: network.net,
    shares: shares.map(({ guest, readOnly }) => ({ guest, readOnly })),
    balloon,
  };
}

/** The options of a machine like the one of the snapshot; throws a SnapshotError or a HostError. */
export function optionsOfSnapshot(
  name: string,
  { about, machine }: SnapshotManifest,
  options: VMRestoreOptions,
): VMOptions {
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
  };
}
