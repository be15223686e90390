/** What can be done in a guest, wherever its machine runs: in this process through its agent, in another one through its socket. */

import type { GuestAgent } from '@ringfence/core';

export type GuestCalls = Pick<GuestAgent, 'exec' | 'stat' | 'copyOut' | 'copyIn'>;

/** A terminal that somebody looks at: bytes both ways. */
export interface ConsoleViewer {
  /** To the guest; resolves when it has room for more. */
  write(bytes: Uint8Array): Promise<void>;
  /** From the guest, as long as it runs and nobody closes this. To be iterated once. */
  readonly output: AsyncIterable<Uint8Array>;
  close(): void;
}
