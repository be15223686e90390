/** Mounts the folders of this computer in a guest. */

import { HostError } from '../failure.ts';
import type { ShareWords } from '../share/share-words.ts';
import { shareTag } from '../vm/assemble.ts';
import type { GuestCalls } from './calls.ts';
import { runCommand } from './run-command.ts';

export async function mountShares(agent: GuestCalls, shares: readonly ShareWords[]): Promise<void> {
  for (const [index, { host, guest, readOnly }] of shares.entries()) {
    const script = 'mkdir -p "$3" && exec mount -t virtiofs -o "$1" "$2" "$3"';
    const words = [readOnly ? 'ro' : 'rw', shareTag(index), guest];
    const { code, stderr } = await runCommand(agent, ['sh', '-c', script, 'mount', ...words]);
    if (code !== 0)
      throw new HostError(
        'unavailable',
        `the folder "${host}" could not be mounted at "${guest}" in the guest`,
        new Error(new TextDecoder().decode(stderr).trim()),
      );
  }
}
