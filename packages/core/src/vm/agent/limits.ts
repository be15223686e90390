/** How much, and how long, between the host and a guest's agent. */

import { KiB, MiB } from '../../base/numbers.ts';

/** How long the guest may take to answer. */
export const AGENT_TIMEOUT_MS = 30_000;
/** How long file systems stand still at most. */
export const FREEZE_TIMEOUT_MS = 60_000;
/** A larger file is not read as a whole. */
export const MAXIMUM_READ_BYTES = 64 * MiB;
/** Bytes of a stream out of the guest that the host takes before somebody reads them. */
export const HOST_WINDOW_BYTES = 256 * KiB;
