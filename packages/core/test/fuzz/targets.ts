/** What can be fuzzed, by name: each device over each transport, images of disks, and daemons that send machines. Each target is a property of fast-check. */

import * as fc from 'fast-check';
import { TRANSPORTS } from '../../src/machine/virtio/testing/rig.ts';
import { damagedImages } from './images.ts';
import { memoryAccesses } from './memory.ts';
import { hostileSources } from './migration.ts';
import { play } from './play.ts';
import { steps } from './steps.ts';
import { DEVICES, type DeviceName } from './subjects.ts';

export interface Target {
  readonly name: string;
  /** What `--device` calls it. */
  readonly device: DeviceName | 'qcow2' | 'memory' | 'migration';
  property(): fc.IAsyncProperty<[unknown]>;
}

export const TARGETS: readonly Target[] = [
  ...DEVICES.flatMap((device) =>
    TRANSPORTS.map((transport): Target => ({
      name: `${device} over ${transport}`,
      device,
      property: () => fc.asyncProperty(steps, (one) => play(device, transport, one)) as fc.IAsyncProperty<[unknown]>,
    })),
  ),
  { name: 'guest memory', device: 'memory', property: memoryAccesses },
  { name: 'qcow2', device: 'qcow2', property: damagedImages },
  { name: 'a machine that comes', device: 'migration', property: hostileSources },
];
