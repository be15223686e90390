/** What is another machine's of a folder that is taken in, such as a copy: it gets its own. */

import type { MachineView } from '@ringfence/api';
import type { MachineConfig } from '../machine-folder/config.ts';
import { randomMac } from '../network/random-mac.ts';
import type { Entry } from './entry.ts';

/** Changes for the folder's vm.yaml, which says `config`, so that it is that of `entry` beside the machines there are. */
export function newIdentity(
  entry: Entry,
  config: MachineConfig,
  machines: readonly MachineView[],
): (readonly [readonly (string | number)[], unknown])[] {
  const others = machines.filter(({ id }) => id !== entry.id);
  const taken = new Set(others.flatMap(({ networks }) => networks.map(({ mac }) => mac.toLowerCase())));
  const changes: [readonly (string | number)[], unknown][] = [];
  if (entry.id !== config.id) changes.push([['id'], entry.id]);
  if (entry.name !== config.name) changes.push([['name'], entry.name]);
  for (const [index, { mac }] of (config.networks ?? []).entries())
    if (taken.has(mac.toLowerCase())) changes.push([['networks', index, 'mac'], randomMac().toString()]);
  return changes;
}
