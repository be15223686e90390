/** The network card that a guest knows which was kept in a snapshot: what the snapshot says of it. */

import type { SnapshotManifest } from '@ringfence/core';
import type { KnownCard } from '../guest/move-card.ts';
import type { MachineNetwork } from '../network/machine-network.ts';

/** As it is kept; null of a machine that has none. */
export function cardOf({
  cards: [card],
  settings,
}: Pick<MachineNetwork, 'cards' | 'settings'>): { mac: string; address: string | null } | null {
  if (card === undefined) return null;
  return { mac: Buffer.from(card.mac).toString('hex'), address: settings?.address ?? null };
}

/** Nothing of it is known of a snapshot that does not say it. */
export function knownCard(manifest: Pick<SnapshotManifest, 'about'> | undefined): KnownCard {
  const card = manifest?.about['card'];
  const { mac, address }: Record<string, unknown> = typeof card === 'object' && card !== null ? { ...card } : {};
  return {
    mac: typeof mac === 'string' ? Buffer.from(mac, 'hex') : undefined,
    address: typeof address === 'string' ? address : undefined,
  };
}
