/**
 * Work on whole pages of a domain that is too much for JavaScript: what a page's bytes amount to in one number, whether two are equal, whether one is
 * all zeros; packing and unpacking (lz4-block.ts). A module of its own beside the interpreter.
 */

import { PAGE_SIZE } from '../base/numbers.ts';
import type { I64 } from '../wasm/expression.ts';
import { load64 } from '../wasm/memory-access.ts';
import type { FunctionRef, ModuleBuilder } from '../wasm/module.ts';
import { moduleOn } from './domain-module.ts';
import type { Domain } from './domain.ts';
import { defineLz4 } from './lz4-block.ts';
import { LaneSum, ROUND_BYTES, WORDS, defineIsZero } from './memory-rounds.ts';

/** Addresses are host addresses in the domain; those of pages are multiples of a page's size. */
export interface PageWork {
  /** 32 bits that depend on every byte of a page; never 0. For speed: who wants pages to have the same number can make them so. */
  hashPage(page: number): number;
  /** 1 when two pages have the same bytes. */
  equalPages(one: number, other: number): number;
  /** 1 when a page is all zeros. */
  isZeroPage(page: number): number;
  packPage(page: number, to: number, limit: number, table: number): number;
  unpackPage(block: number, bytes: number, page: number): number;
}

export function pageWorkOf(domain: Domain): Promise<PageWork> {
  return moduleOn(domain, (module) => {
    const { pack, unpack } = defineLz4(module);
    return [defineHash(module), ...defineComparisons(module), pack, unpack];
  });
}

function defineHash(module: ModuleBuilder): FunctionRef {
  return module.function('hashPage', ['i32'], ['i32'], (b, { value: page }) => {
    const lanes = new LaneSum(b);
    const at = b.local('i32');
    const end = b.let(page.add(PAGE_SIZE));
    b.set(at, page);
    b.loop((again) => {
      lanes.add(at.value);
      b.set(at, at.value.add(ROUND_BYTES));
      b.brIf(again, at.value.ltU(end));
    });
    const sum = b.local('i64');
    lanes.mixInto(sum);
    b.result(sum.value.shrU(32).toI32().or(1));
  });
}

function defineComparisons(module: ModuleBuilder): readonly FunctionRef[] {
  const equal = module.function('equalPages', ['i32', 'i32'], ['i32'], (b, { value: one }, { value: other }) => {
    const at = b.local('i32');
    b.loop((again) => {
      let differs: I64 = load64(one.add(at.value)).xor(load64(other.add(at.value)));
      for (let word = 1; word < WORDS; word++)
        differs = differs.or(load64(one.add(at.value), 8 * word).xor(load64(other.add(at.value), 8 * word)));
      b.if(differs.eqz().eqz(), () => b.return(0));
      b.set(at, at.value.add(ROUND_BYTES));
      b.brIf(again, at.value.ltU(PAGE_SIZE));
    });
    b.result(1);
  });
  return [equal, defineIsZero(module, 'isZeroPage')];
}
