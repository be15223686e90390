/**
 * Work on blocks of the domain's memory that is done while a machine comes back from a snapshot, or stands still until it is moved, and too much for
 * JavaScript that was never executed before: parts of the interpreter's module.
 */

import { assert, defined } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { load16U, load32, load64 } from '../wasm/memory-access.ts';
import type { FunctionRef, ModuleBuilder } from '../wasm/module.ts';
import type { Domain } from './domain.ts';
import { PAGE, RECORD, RECORDS_PER_PAGE } from './layout.ts';
import { LaneSum, ROUND_BYTES, defineIsZero } from './memory-rounds.ts';

/** What the module exports of it. */
export interface BlockWork {
  /** Puts `count` records that lie at `from`, one behind the other, to where the slots at `slots` (u16 each) of a code page are. */
  placeRecords(page: number, slots: number, from: number, count: number): void;
  /**
   * 64 bits that depend on every bit of `bytes` bytes, a multiple of ROUND_BYTES, and on `seed`. They tell what has been broken by accident: whoever
   * wants other bytes to have the same ones can make them so.
   */
  checksum(seed: bigint, from: number, bytes: number): bigint;
  /** 1 when the page at `address` is all zeroes. */
  isZero(address: number): number;
  /**
   * The first entry of a page map at or behind `from`, and before `end`, that is neither empty, nor KEPT, nor of the zero frame; `end` when there is none.
   */
  nextWritten(from: number, end: number, zero: number): number;
  /** How many entries of a page map are KEPT. */
  keptIn(from: number, end: number): number;
}

/** So much is summed at a time, and laid into the domain's memory for that where it is elsewhere. */
const SUMMED_BYTES = 64 * 1024;

/** The checksum of bytes of the domain's memory, or of others; whole rounds of them. Throws a DomainFullError when there is no room for the others. */
export function checksumOf(domain: Domain, seed: bigint, bytes: Uint8Array): bigint {
  const { blocks, memory, frames, u8 } = domain;
  assert(bytes.length % ROUND_BYTES === 0, 'a checksum is of whole rounds');
  const work = defined(blocks, 'an engine');
  const isThere = bytes.buffer === memory.buffer;
  const room = isThere ? 0 : domain.locked(() => frames.takeRun(SUMMED_BYTES / PAGE_SIZE));
  try {
    let sum = seed;
    for (let at = 0; at < bytes.length; at += SUMMED_BYTES) {
      const part = bytes.subarray(at, at + SUMMED_BYTES);
      if (!isThere) u8.set(part, room);
      sum = work.checksum(sum, isThere ? part.byteOffset : room, part.length);
    }
    return BigInt.asUintN(64, sum);
  } finally {
    if (!isThere) domain.locked(() => frames.giveRun(room, SUMMED_BYTES / PAGE_SIZE));
  }
}

export function defineBlockWork(module: ModuleBuilder): readonly FunctionRef[] {
  return [
    definePlaceRecords(module),
    defineChecksum(module),
    defineIsZero(module, 'isZero'),
    defineNextWritten(module),
    defineKeptIn(module),
  ];
}

function definePlaceRecords(module: ModuleBuilder): FunctionRef {
  return module.function('placeRecords', ['i32', 'i32', 'i32', 'i32'], [], (b, page, slots, from, count) => {
    const end = b.let(slots.value.add(count.value.shl(1)));
    b.block((done) =>
      b.loop((again) => {
        b.brIf(done, slots.value.geU(end));
        const slot = load16U(slots.value).and(RECORDS_PER_PAGE - 1);
        const to = b.let(page.value.add(slot.mul(RECORD.BYTES)));
        for (let at = 0; at < RECORD.BYTES; at += 8) b.store64(to, load64(from.value, at), at);
        b.set(slots, slots.value.add(2));
        b.set(from, from.value.add(RECORD.BYTES));
        b.br(again);
      }),
    );
  });
}

function defineChecksum(module: ModuleBuilder): FunctionRef {
  return module.function('checksum', ['i64', 'i32', 'i32'], ['i64'], (b, seed, from, bytes) => {
    const lanes = new LaneSum(b, seed.value);
    const end = b.let(from.value.add(bytes.value));
    b.block((done) =>
      b.loop((again) => {
        b.brIf(done, from.value.geU(end));
        lanes.add(from.value);
        b.set(from, from.value.add(ROUND_BYTES));
        b.br(again);
      }),
    );
    const mixed = b.local('i64');
    b.set(mixed, seed.value.add(bytes.value.toI64U()));
    lanes.mixInto(mixed);
    b.result(mixed.value.xor(mixed.value.shrU(32)));
  });
}

function defineNextWritten(module: ModuleBuilder): FunctionRef {
  return module.function('nextWritten', ['i32', 'i32', 'i32'], ['i32'], (b, from, end, zero) => {
    b.block((done) =>
      b.loop((again) => {
        b.brIf(done, from.value.geU(end.value));
        // Most entries are empty or KEPT.
        const entry = b.let(load32(from.value));
        // Of a page that is AWAY it has a number where others have their frame.
        const isThere = entry.and(PAGE.AWAY).or(entry.and(~PAGE.MASK).xor(zero.value));
        b.if(entry.and(PAGE.KEPT).eqz().and(entry.ne(0)).and(isThere.ne(0)), () => b.return(from.value));
        b.set(from, from.value.add(4));
        b.br(again);
      }),
    );
    b.result(end.value);
  });
}

function defineKeptIn(module: ModuleBuilder): FunctionRef {
  return module.function('keptIn', ['i32', 'i32'], ['i32'], (b, from, end) => {
    const count = b.local('i32');
    b.block((done) =>
      b.loop((again) => {
        b.brIf(done, from.value.geU(end.value));
        b.set(count, count.value.add(load32(from.value).and(PAGE.KEPT).ne(0)));
        b.set(from, from.value.add(4));
        b.br(again);
      }),
    );
    b.result(count.value);
  });
}
