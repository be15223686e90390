/** What the daemon and a machine's process say to each other while it starts; afterwards it is asked through its socket like any other. */

import type { WireFailure } from '../control/operations.ts';

/** To the process, with the socket that it is to listen on. */
export interface StartMessage {
  readonly kind: 'start';
  readonly folder: string;
  readonly disks: readonly string[];
}

export type ProcessMessage =
  /** It runs, and can be asked. */
  | { readonly kind: 'started' }
  /** It does not, and has ended. */
  | { readonly kind: 'failed'; readonly failure: WireFailure };
