/** Advice for who has machines to put on a host: how large each has to be, and how many fit. */

export { consolidate, type Consolidation, type HostCapacity } from './consolidation.ts';
export { type LiveLoad, LiveRecord, sizeForLive, TABLE_HEAD } from './live.ts';
export type { LoadSample, RecordedLoad } from './load.ts';
export { readLoads } from './read-load.ts';
export { DEFAULT_CPU_FACTOR, DEFAULT_LIVE_FACTOR, sizeFor, type Sizing } from './sizing.ts';
