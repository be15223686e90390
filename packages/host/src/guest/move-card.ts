/** A guest that was restored or copied has its card's address, and its own, in its memory still: it is told those that it has here. */

import { AgentError, type GuestAgent } from '@ringfence/core';
import { HostError } from '../failure.ts';
import type { MachineNetwork } from '../network/machine-network.ts';
import { runCommand } from './run-command.ts';

/** How long a guest may take to become another one. */
export const ARRIVAL_TIMEOUT_MS = 30_000;

/** What the guest knows. */
export interface KnownCard {
  readonly mac: Uint8Array | undefined;
  readonly address: string | undefined;
}

/** Gives a guest's network card the address that it has here, where it had another one before. */
export async function moveCard(
  guest: Pick<GuestAgent, 'exec' | 'changeCard'>,
  name: string,
  was: KnownCard,
  network: Pick<MachineNetwork, 'cards' | 'settings' | 'settled'>,
): Promise<void> {
  await moved(guest, name, was, network);
  // When it went on it has told its network the address that it had before.
  network.settled?.();
}

async function moved(
  guest: Pick<GuestAgent, 'exec' | 'changeCard'>,
  name: string,
  was: KnownCard,
  { cards: [card], settings }: Pick<MachineNetwork, 'cards' | 'settings'>,
): Promise<void> {
  if (!was.mac || !card || !settings) return;
  const hasMoved = settings.address !== was.address;
  if (!hasMoved && Buffer.compare(was.mac, card.mac) === 0) return;
  if (!hasMoved && (await isChanged(guest, was.mac, card.mac))) return;
  const words = [macText(was.mac), macText(card.mac)];
  const script = hasMoved
    ? [MOVE_CARD, 'move-card', ...words, settings.address, settings.netmask, settings.gateway]
    : [RENAME_CARD, 'rename-card', ...words];
  const { code, stderr } = await runCommand(guest, ['sh', '-c', ...script], { timeoutMs: ARRIVAL_TIMEOUT_MS });
  if (code !== 0)
    throw new HostError(
      'unavailable',
      `the guest of "${name}" did not take its address on the network`,
      new Error(new TextDecoder().decode(stderr).trim()),
    );
}

/** Whether the agent has done it, which starts no process; those of older images cannot. */
async function isChanged(guest: Pick<GuestAgent, 'changeCard'>, from: Uint8Array, to: Uint8Array): Promise<boolean> {
  try {
    await guest.changeCard(from, to, { timeoutMs: ARRIVAL_TIMEOUT_MS });
    return true;
  } catch (error) {
    if (error instanceof AgentError && error.code === 'unsupported') return false;
    throw error;
  }
}

/**
 * (hardware address, the new one): of the card that has the first, while it is up, which virtio's may (Linux, IFF_LIVE_ADDR_CHANGE); its addresses and
 * routes stay. No process is started but the shell, which becomes the other program.
 */
const RENAME_CARD = `
for card in /sys/class/net/*; do
  [ -e "$card/device" ] && read -r now <"$card/address" && [ "$now" = "$1" ] || continue
  command -v ip >/dev/null && exec ip link set dev "\${card##*/}" address "$2"
  exec ifconfig "\${card##*/}" hw ether "$2"
done`;

/** (hardware address, the new one, address, netmask, gateway): of the card that has the first. */
const MOVE_CARD = `
set -e
for card in /sys/class/net/*; do
  [ "$(cat "$card/address")" = "$1" ] || continue
  card=\${card##*/}
  if command -v ip >/dev/null; then
    ip link set dev "$card" down
    ip link set dev "$card" address "$2"
    ip -4 addr flush dev "$card"
    ip addr add "$3/$4" dev "$card"
    ip link set dev "$card" up
    ip route replace default via "$5" dev "$card"
  else
    ifconfig "$card" down
    ifconfig "$card" hw ether "$2"
    ifconfig "$card" "$3" netmask "$4" up
    route add default gw "$5" dev "$card"
  fi
done`;

export function macText(mac: Uint8Array): string {
  return [...mac].map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}
