/** The world of a machine on Node: its clock, its randomness, turns of the event loop, and what unpacks compressed kernels. */

import { cpuUsage, hrtime, threadCpuUsage } from 'node:process';
import { promisify } from 'node:util';
import {
  zstdFrameBytes,
  type Clock,
  type Decompress,
  type Decompressor,
  type Entropy,
  FairTurns,
  type ThreadShare,
  type Turns,
} from '@ringfence/core';
import { fillRandomly } from '../random.ts';

const startNs = hrtime.bigint();

export const nodeClock: Clock = {
  monotonicNs: () => Number(hrtime.bigint() - startNs),
  wallNs: () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1000n,
  threadNs: threadProcessorNs,
};

/** The clock of a process that is one machine's and its forks' alone. */
export const ownProcessClock: Clock = { ...nodeClock, processNs };

/** Processor time of the whole process. */
export function processNs(): number {
  const { user, system } = cpuUsage();
  return (user + system) * 1000;
}

/** Processor time of the thread that asks. */
export function threadProcessorNs(): number {
  const { user, system } = threadCpuUsage();
  return (user + system) * 1000;
}

export const nodeEntropy: Entropy = { fill: fillRandomly };

/** Where a machine's output waits; a machine that writes faster than its reader reads has to wait, too. */
export interface Backlog {
  readonly isFull: boolean;
  whenRoom(callback: () => void): void;
}

/** Calls back once, later; what it gives calls that off. */
export function after(delayMs: number, callback: () => void): () => void {
  const timer = setTimeout(callback, delayMs);
  return () => clearTimeout(timer);
}

/** Turns of all machines that this thread executes. */
const fairTurns = new FairTurns(
  { soon: (callback) => void setImmediate(callback), after },
  () => nodeClock.monotonicNs(),
  threadProcessorNs,
);

/** Turns of one machine, and how many it gets beside others. */
export interface NodeTurns extends Turns {
  nowNs(): number;
  /** Time of this thread that the machine had, in nanoseconds. */
  usedNs(): number;
  setShare(share: ThreadShare): void;
}

/** The event loop, which gives the machine no turn while one of `backlogs` is full. */
export function nodeTurns(backlogs: readonly Backlog[]): NodeTurns {
  const client = fairTurns.client();
  const soon = (callback: () => void): void => {
    const full = backlogs.find(({ isFull }) => isFull);
    if (full === undefined) client.soon(callback);
    else full.whenRoom(() => soon(callback));
  };
  return {
    soon,
    after,
    nowNs: () => nodeClock.monotonicNs(),
    usedNs: () => client.usedNs,
    setShare: (share) => client.setShare(share),
  };
}

export const nodeDecompressor: Decompressor = {
  async decompress(format, bytes, maximumBytes) {
    const { gunzip, zstdDecompress } = await import('node:zlib');
    const limit = { maxOutputLength: maximumBytes };
    return format === 'gzip' ? promisify(gunzip)(bytes, limit) : promisify(zstdDecompress)(bytes, limit);
  },
};

/** For compressed clusters of qcow2 images. Behind a deflate stream or a zstd frame there may be anything. */
export const nodeClusterDecompressor: Decompress = async (type, packed, clusterBytes) => {
  const { inflateRaw, zstdDecompress } = await import('node:zlib');
  const limit = { maxOutputLength: clusterBytes };
  return type === 'deflate'
    ? promisify(inflateRaw)(packed, limit)
    : promisify(zstdDecompress)(packed.subarray(0, zstdFrameBytes(packed)), limit);
};
