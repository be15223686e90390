/**
 * Whether this host fuses `f64x2.relaxed_madd` (Relaxed SIMD proposal: fused or not, as the host likes, but always the same way in one
 * execution environment). Asked once at start-up, by doing it.
 */

import { ModuleBuilder } from '../../wasm/module.ts';
import { emitFusedMultiplyAdd } from './fast-arithmetic.ts';

const ulp = 2 ** -52;
/** The smallest positive number, the unit of all subnormal ones. */
const unit = 2 ** -1074;

/** a, b, c and the fused result; a product rounded first leads to another one in every case. */
const telling: readonly (readonly [number, number, number, number])[] = [
  // The product's tail is all that is left.
  [1 + ulp, 1 - ulp, -1, -(2 ** -104)],
  [1 + 2 ** -30, 1 + 2 ** -30, -(1 + 2 ** -29), 2 ** -60],
  // The tail decides a tie.
  [1 + 2 ** -27, 1 - 2 ** -27, 2 ** 53 + 2, 2 ** 53 + 2],
  // The product alone overflows.
  [2 ** 1023, 2, -(2 ** 1023), 2 ** 1023],
  // The product alone is half a unit, or one and a half, or ends so.
  [unit, 0.5, unit, 2 * unit],
  [3 * unit, 0.5, unit, 2 * unit],
  [1 + 2 ** -40, 2 ** -1035, unit, 2 ** -1035 + 2 * unit],
];

/** By who was asked: what stands for WebAssembly in a rehearsal is another one. */
const known = new WeakMap<object, boolean>();

/** True when a * b + c is rounded once here, in all of a few cases that tell. False as well where the host lacks Relaxed SIMD. */
export function probeFusedMultiplyAdd(): boolean {
  const before = known.get(WebAssembly);
  if (before !== undefined) return before;
  const isFused = probe();
  known.set(WebAssembly, isFused);
  return isFused;
}

function probe(): boolean {
  const module = new ModuleBuilder();
  const madd = module.function('madd', ['f64', 'f64', 'f64'], ['f64'], (body, a, b, c) => {
    body.result(emitFusedMultiplyAdd(a.value, b.value, c.value));
  });
  module.export(madd);
  const bytes = module.build();
  if (!WebAssembly.validate(bytes)) return false;
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  const run = instance.exports['madd'] as (a: number, b: number, c: number) => number;
  return telling.every(([a, b, c, fused]) => Object.is(run(a, b, c), fused));
}
