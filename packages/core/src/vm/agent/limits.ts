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
/** Bytes of a stream into the guest that its agent may offer to take at once. */
export const MAXIMUM_GUEST_WINDOW_BYTES = MiB;
/** Bytes for an agent that does not take them; then it counts as lost. */
export const MAXIMUM_OUTBOX_BYTES = 32 * MiB;
/** The guest's clock may be wrong by that without being set: a busy guest reads its messages no sooner. */
export const CLOCK_TOLERANCE_NS = 200_000_000n;
/** How often the host looks whether its own clock has jumped, and by how much it must have. */
export const CLOCK_WATCH_MS = 10_000;
export const CLOCK_JUMP_NS = 1_000_000_000n;
/** An agent that has not answered a greeting by then is to begin anew. */
export const GREETING_MS = 20_000;
/** How often an agent is asked whether it is there while something is under way, and how often in a row it may say nothing. */
export const HEARTBEAT_MS = 10_000;
export const MAXIMUM_MISSED_HEARTBEATS = 12;
/** So long an agent may take to notice that the host's end was closed before another host opens it again. */
export const NOTICE_MS = 300;
