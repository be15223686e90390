/** What stat(2) says, as the port FileTree has it, and times on their way back. */

import type { BigIntStats } from 'node:fs';
import type { FileAttributes } from '@ringfence/core';
import type { Owners } from './owners.ts';

const NS_PER_MICROSECOND = 1000n;
const NS_PER_MS = 1_000_000n;
const MICROSECONDS_PER_SECOND = 1e6;

export function attributesOf(stats: BigIntStats, owners: Owners, timeUnitNs: number): FileAttributes {
  const unit = BigInt(timeUnitNs);
  const owner = owners.toGuest({ uid: Number(stats.uid), gid: Number(stats.gid) });
  return {
    device: stats.dev,
    ino: stats.ino,
    birthNs: stats.birthtimeNs,
    mode: Number(stats.mode),
    links: Number(stats.nlink),
    uid: owner.uid,
    gid: owner.gid,
    // The C library's form of small device numbers is the kernel's.
    rdev: Number(BigInt.asUintN(32, stats.rdev)),
    sizeBytes: Number(stats.size),
    blocks: Number(stats.blocks),
    blockBytes: Number(stats.blksize),
    accessedNs: floor(stats.atimeNs, unit),
    modifiedNs: floor(stats.mtimeNs, unit),
    changedNs: floor(stats.ctimeNs, unit),
  };
}

/**
 * A time as utimes of Node takes it: seconds, with what a floating-point number keeps of their fraction. The middle of a microsecond is
 * aimed at, so that after all rounding it is the right one. Before 1970 Node takes only dates, which are whole milliseconds.
 */
export function nodeTime(ns: bigint): number | Date {
  if (ns < 0n) return new Date(Number(floor(ns, NS_PER_MS) / NS_PER_MS));
  return (Number(ns / NS_PER_MICROSECOND) + 0.5) / MICROSECONDS_PER_SECOND;
}

function floor(ns: bigint, unit: bigint): bigint {
  return ns - (((ns % unit) + unit) % unit);
}
