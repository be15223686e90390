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
 * A time as utimes of Node takes it: seconds, with what a floating-point number keeps of their fraction. Where that would
 * come out as another microsecond, the middle of the right one is aimed at. Before 1970 Node takes only dates, which are whole milliseconds.
 */
export function nodeTime(ns: bigint): number | Date {
  if (ns < 0n) return new Date(Number(floor(ns, NS_PER_MS) / NS_PER_MS));
  const microseconds = Number(ns / NS_PER_MICROSECOND);
  const seconds = microseconds / MICROSECONDS_PER_SECOND;
  // What libuv makes of it, which cuts off.
  const nanoseconds = Math.trunc((seconds - Math.trunc(seconds)) * 1e9);
  const isRight = Math.trunc(nanoseconds / 1000) === microseconds % MICROSECONDS_PER_SECOND;
  return isRight ? seconds : (microseconds + 0.5) / MICROSECONDS_PER_SECOND;
}

/** Special nanoseconds of utimensat(2). */
const UTIME_NOW = (1n << 30n) - 1n;
const UTIME_OMIT = (1n << 30n) - 2n;
const NS_PER_SECOND = 1_000_000_000n;

/** Two `struct timespec`, as utimensat(2) takes them: time of access, time of modification. */
export function timespecs(accessed: bigint | 'now' | undefined, modified: bigint | 'now' | undefined): Uint8Array {
  const words = [accessed, modified].flatMap((time) => {
    if (typeof time !== 'bigint') return [0n, time === 'now' ? UTIME_NOW : UTIME_OMIT];
    const start = floor(time, NS_PER_SECOND);
    return [start / NS_PER_SECOND, time - start];
  });
  return new Uint8Array(BigInt64Array.from(words).buffer);
}

function floor(ns: bigint, unit: bigint): bigint {
  return ns - (((ns % unit) + unit) % unit);
}
