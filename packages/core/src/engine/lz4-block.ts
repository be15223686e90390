/**
 * Pages as LZ4 blocks (LZ4 Block Format Description 1.6.3), in generated code: a page is packed where it lies, without a copy of it being made.
 *
 *     block     sequences; the last one is literals alone
 *     sequence  token (literals << 4 | match - 4), more length, literals, offset (u16), more length
 *
 * The rules of the format's end hold: the last five bytes are literals, and no match begins within the last twelve.
 */

import { PAGE_SIZE } from '../base/numbers.ts';
import type { Body } from '../wasm/body.ts';
import { load16U, load32, load64, load8U } from '../wasm/memory-access.ts';
import { type I32, asI32, select } from '../wasm/expression.ts';
import type { FunctionRef, ModuleBuilder } from '../wasm/module.ts';

/** Where positions of four bytes are looked up by what they are; a u16 each. */
const TABLE_BITS = 10;
export const LZ4_TABLE_BYTES = 2 << TABLE_BITS;
const HASH = 0x9e37_79b1 | 0;
const LEAST_MATCH = 4;
const LAST_LITERALS = 5;
const LAST_MATCH = 12;
/** A length that its half of a token has no room for goes on in further bytes. */
const LONG = 15;
/** After so many bytes (a power of two) without a match, every further look skips one more. */
const SKIP_BITS = 6;

export interface Lz4 {
  /** (page, to, limit, table) -> bytes of the block at `to`, or 0: more than `limit`. */
  readonly pack: FunctionRef<'i32'>;
  /** (block, bytes, page) -> 1 when the block was that of a whole page, which is at `page` then; writes nothing outside the page. */
  readonly unpack: FunctionRef<'i32'>;
}

export function defineLz4(module: ModuleBuilder): Lz4 {
  return { pack: definePack(module), unpack: defineUnpack(module) };
}

function definePack(module: ModuleBuilder): FunctionRef<'i32'> {
  /** (to, length): a length beyond what the token says; gives what is behind it. */
  const moreLength = module.function('lz4MoreLength', ['i32', 'i32'], ['i32'], (b, to, length) => {
    b.if(length.value.ltU(LONG), () => b.return(to.value));
    b.set(length, length.value.sub(LONG));
    b.loop((again) => {
      const byte = atMost(b, length.value, 255);
      b.store8(to.value, byte);
      b.set(to, to.value.add(1));
      b.if(byte.eq(255), () => {
        b.set(length, length.value.sub(255));
        b.br(again);
      });
    });
    b.result(to.value);
  });

  /** (to, from, literals, match, end) -> behind token and literals, or 0 when that would be behind `end`, whatever follows it included. */
  const literals = module.function(
    'lz4Literals',
    ['i32', 'i32', 'i32', 'i32', 'i32'],
    ['i32'],
    (b, to, { value: from }, { value: count }, { value: match }, { value: end }) => {
      const needed = count.add(count.add(match).divU(255)).add(6);
      b.if(to.value.add(needed).gtU(end), () => b.return(0));
      b.store8(
        to.value,
        atMost(b, count, LONG)
          .shl(4)
          .or(atMost(b, match, LONG)),
      );
      b.set(to, b.call(moreLength, to.value.add(1), count));
      const at = b.local('i32');
      b.set(at, 0);
      b.block((done) =>
        b.loop((again) => {
          b.brIf(done, at.value.add(8).gtU(count));
          b.store64(to.value.add(at.value), load64(from.add(at.value)));
          b.set(at, at.value.add(8));
          b.br(again);
        }),
      );
      b.block((done) =>
        b.loop((again) => {
          b.brIf(done, at.value.geU(count));
          b.store8(to.value.add(at.value), load8U(from.add(at.value)));
          b.set(at, at.value.add(1));
          b.br(again);
        }),
      );
      b.result(to.value.add(count));
    },
  );

  return module.function(
    'packPage',
    ['i32', 'i32', 'i32', 'i32'],
    ['i32'],
    (b, { value: page }, { value: start }, { value: limit }, { value: table }) => {
      b.fill(table, 0, LZ4_TABLE_BYTES);
      const end = b.let(page.add(PAGE_SIZE));
      const matchEnd = b.let(end.sub(LAST_LITERALS));
      const outEnd = b.let(start.add(limit));
      const [at, anchor, to] = [b.local('i32'), b.local('i32'), b.local('i32')];
      b.set(at, page);
      b.set(anchor, page);
      b.set(to, start);
      b.block((done) =>
        b.loop((next) => {
          b.brIf(done, at.value.gtU(b.let(end.sub(LAST_MATCH))));
          const four = b.let(load32(at.value));
          const cell = b.let(
            table.add(
              four
                .mul(HASH)
                .shrU(32 - TABLE_BITS)
                .shl(1),
            ),
          );
          const earlier = b.let(page.add(load16U(cell)));
          b.store16(cell, at.value.sub(page));
          b.if(earlier.geU(at.value).or(load32(earlier).ne(four)), () => {
            b.set(at, at.value.add(1).add(at.value.sub(anchor.value).shrU(SKIP_BITS)));
            b.br(next);
          });
          const [ahead, behind] = [b.local('i32'), b.local('i32')];
          b.set(ahead, at.value.add(LEAST_MATCH));
          b.set(behind, earlier.add(LEAST_MATCH));
          b.block((differs) =>
            b.loop((again) => {
              b.brIf(differs, ahead.value.geU(matchEnd));
              b.brIf(differs, load8U(ahead.value).ne(load8U(behind.value)));
              b.set(ahead, ahead.value.add(1));
              b.set(behind, behind.value.add(1));
              b.br(again);
            }),
          );
          const match = b.let(ahead.value.sub(at.value).sub(LEAST_MATCH));
          b.set(to, b.call(literals, to.value, anchor.value, at.value.sub(anchor.value), match, outEnd));
          b.if(to.value.eqz(), () => b.return(0));
          b.store16(to.value, at.value.sub(earlier));
          b.set(to, b.call(moreLength, to.value.add(2), match));
          b.set(at, ahead.value);
          b.set(anchor, ahead.value);
          b.br(next);
        }),
      );
      b.set(to, b.call(literals, to.value, anchor.value, end.sub(anchor.value), 0, outEnd));
      b.if(to.value.eqz(), () => b.return(0));
      b.result(to.value.sub(start));
    },
  );
}

function defineUnpack(module: ModuleBuilder): FunctionRef<'i32'> {
  return module.function(
    'unpackPage',
    ['i32', 'i32', 'i32'],
    ['i32'],
    (b, { value: block }, { value: bytes }, { value: page }) => {
      const end = b.let(block.add(bytes));
      const pageEnd = b.let(page.add(PAGE_SIZE));
      const [at, to] = [b.local('i32'), b.local('i32')];
      b.set(at, block);
      b.set(to, page);
      /** The length that begins with `first`, at most a page's: longer ones are wrong anyway. */
      const length = (first: I32): I32 => {
        const sum = b.local('i32');
        b.set(sum, first);
        b.if(first.eq(LONG), () =>
          b.loop((again) => {
            b.if(at.value.geU(end).or(sum.value.gtU(PAGE_SIZE)), () => b.return(0));
            const byte = b.let(load8U(at.value));
            b.set(at, at.value.add(1));
            b.set(sum, sum.value.add(byte));
            b.brIf(again, byte.eq(255));
          }),
        );
        return sum.value;
      };
      const copy = (from: I32, count: I32): void => {
        const done = b.local('i32');
        b.set(done, 0);
        b.block((leave) =>
          b.loop((again) => {
            b.brIf(leave, done.value.geU(count));
            b.store8(to.value.add(done.value), load8U(from.add(done.value)));
            b.set(done, done.value.add(1));
            b.br(again);
          }),
        );
        b.set(to, to.value.add(count));
      };
      b.loop((next) => {
        b.if(at.value.geU(end), () => b.return(0));
        const token = b.let(load8U(at.value));
        b.set(at, at.value.add(1));
        const literals = length(b.let(token.shrU(4)));
        b.if(at.value.add(literals).gtU(end).or(to.value.add(literals).gtU(pageEnd)), () => b.return(0));
        copy(b.let(at.value), literals);
        b.set(at, at.value.add(literals));
        b.if(at.value.eq(end), () => b.return(to.value.eq(pageEnd)));
        b.if(at.value.add(2).gtU(end), () => b.return(0));
        const offset = b.let(load16U(at.value));
        b.set(at, at.value.add(2));
        const match = b.let(length(b.let(token.and(LONG))).add(LEAST_MATCH));
        b.if(
          offset
            .eqz()
            .or(offset.gtU(to.value.sub(page)))
            .or(to.value.add(match).gtU(pageEnd)),
          () => b.return(0),
        );
        copy(b.let(to.value.sub(offset)), match);
        b.br(next);
      });
      b.unreachable();
    },
  );
}

function atMost(b: Body, value: I32, most: number): I32 {
  return b.let(select(value.ltU(most), value, asI32(most)));
}
