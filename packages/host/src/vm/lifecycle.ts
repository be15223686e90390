/** What may be said when a virtual machine is stopped, kept, or has something run in it, and how it ends. */

import type { AgentCommand, RunEnd } from '@ringfence/core';

/** How long a guest may take to shut down before it is ended. */
export const STOP_TIMEOUT_MS = 10_000;

/** How long a guest may take to write what it has not written yet before it is ended. */
export const SYNC_TIMEOUT_MS = 10_000;

/** How a virtual machine ended: by itself, or `killed` from outside. */
export type VMEnd = Exclude<RunEnd, { kind: 'stopped' }> | { readonly kind: 'killed' };

/** Of a command; what is not given is as the machine's own options say. */
export type ProcessOptions = Omit<AgentCommand, 'argv'>;

export interface VMSnapshotOptions {
  /** The name of an earlier snapshot of the same store that this one builds on. */
  readonly parent?: string;
}

export interface StopOptions {
  /** 0 does not ask the guest at all. STOP_TIMEOUT_MS when it is not given. */
  readonly timeoutMs?: number;
}
