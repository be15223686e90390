/**
 * What a system has made on its disk to be known by is the same in all machines that go on from one kept boot (kept-boot.ts): before anybody asks one for
 * something it makes its own. machine-id(5), ssh-keygen(1), systemd-journald.service(8).
 */

import type { GuestAgent } from '@ringfence/core';
import { HostError } from '../failure.ts';
import type { VMParts } from '../vm/assemble.ts';
import { newSeed } from '../random.ts';
import { ofTheNextToo } from '../vm/unless-aborted.ts';
import { ARRIVAL_TIMEOUT_MS, moveCard } from './move-card.ts';
import { runCommand } from './run-command.ts';

/** Tells a guest that is not the only one with its memory who it is. One that goes on from its own snapshot keeps its name unless it is given another. */
export async function identify(
  guest: Pick<GuestAgent, 'identify'>,
  { name, options, start }: Pick<VMParts, 'name' | 'options' | 'start'>,
): Promise<void> {
  const hostname = start.kind === 'restore' ? options.name : name;
  // The agent's client has set the clock before, when it heard how late the guest thinks that it is.
  await ofTheNextToo(() => guest.identify({ ...(hostname === undefined ? {} : { hostname }), seed: newSeed() }));
}

/** The card of a machine that was kept when it had booted had an address of its own. */
export async function moveKeptCard(
  guest: Parameters<typeof moveCard>[0],
  { name, network, start }: Pick<VMParts, 'name' | 'network' | 'start'>,
): Promise<void> {
  if (start.kind === 'resume') await moveCard(guest, name, start.kept.card, network);
}

/** Runs the image's script for that in the guest of a machine, whose random numbers are its own already: when it goes on from such a boot, or was kept. */
export async function renewIdentity(
  guest: Pick<GuestAgent, 'exec'>,
  { name, start, settings: { image } }: Pick<VMParts, 'name' | 'start' | 'settings'>,
): Promise<void> {
  const script = image.renewal;
  if (script === undefined || (start.kind !== 'keep' && start.kind !== 'resume')) return;
  const { code, stderr } = await runCommand(guest, ['sh', '-c', script], { timeoutMs: ARRIVAL_TIMEOUT_MS });
  if (code !== 0)
    throw new HostError(
      'unavailable',
      `the guest of "${name}" did not make an identity of its own`,
      new Error(new TextDecoder().decode(stderr).trim()),
    );
}

/** Whether nothing has to be done in a guest that goes on before its first command, but that it is told who it is. */
export function takesFirst({ start, settings: { shares, image } }: Pick<VMParts, 'start' | 'settings'>): boolean {
  return start.kind === 'resume' && shares.length === 0 && image.renewal === undefined;
}

/**
 * Of a Debian. The journal's service knows the old machine-id as long as it runs: what it writes is found under the new one, too.
 *
 * New SSH host keys are made while the first command runs, as at a boot: the old ones are gone before, and so is who serves with them, or makes them. A key
 * of RSA takes seconds.
 */
export const RENEW_SYSTEM = `
set -e
read -r old </etc/machine-id
IFS=- read -r a b c d e </proc/sys/kernel/random/uuid
new=$a$b$c$d$e
echo "$new" >/etc/machine-id
if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then echo "$new" >/var/lib/dbus/machine-id; fi
[ ! -d "/run/log/journal/$old" ] || ln -s "$old" "/run/log/journal/$new"

[ -x /usr/bin/ssh-keygen ] || exit 0
running=ringfence-ssh-keys.service
wanted=$running
for unit in ssh.socket ssh.service; do
  [ ! -e "/usr/lib/systemd/system/$unit" ] || running="$running $unit"
  for link in "/etc/systemd/system/"*".wants/$unit"; do [ ! -e "$link" ] || wanted="$wanted $unit"; done
done
systemctl stop $running
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
exec systemctl --no-block start $wanted`;
