/** The inline forms of comparison, minimum, maximum and classification: wasm's operations, and the function when there is a NaN. */

import type { I32, I64 } from '../../wasm/expression.ts';
import type { Body } from '../../wasm/body.ts';
import type { Bits, Carrier, Float } from './carrier.ts';
import { classify } from './compare.ts';
import { held, trusted } from './fast-conditions.ts';
import type { FormatEmitters } from './index.ts';
import type { FormatFunctions } from './signatures.ts';

type Compare<V extends I32 | I64> = Pick<FormatEmitters<V>, 'eq' | 'lt' | 'le' | 'min' | 'max' | 'classify'>;

export function compareEmitters<V extends Bits<V>, F extends Float<F>>(
  carrier: Carrier<V, F>,
  functions: FormatFunctions<'i32'> | FormatFunctions<'i64'>,
): Compare<V> {
  const comparison =
    (name: 'eq' | 'lt' | 'le') =>
    (body: Body, a: V, b: V): I32 => {
      const [aBits, bBits] = [held(body, a), held(body, b)];
      const [x, y] = [body.let(carrier.toFloat(aBits)), body.let(carrier.toFloat(bBits))];
      const quick = body.let(x[name](y));
      // With a NaN the answer is 0 all the same; the function is called for its flags.
      return trusted(body, x.eq(x).and(y.eq(y)), quick, functions[name], aBits, bBits);
    };
  const choice =
    (name: 'min' | 'max') =>
    (body: Body, a: V, b: V): V => {
      const [aBits, bBits] = [held(body, a), held(body, b)];
      const chosen = body.let(carrier.toFloat(aBits)[name](carrier.toFloat(bBits)));
      return trusted<V>(body, chosen.eq(chosen), body.let(carrier.toBits(chosen)), functions[name], aBits, bBits);
    };
  return {
    eq: comparison('eq'),
    lt: comparison('lt'),
    le: comparison('le'),
    min: choice('min'),
    max: choice('max'),
    classify: (body, a) => classify(body, carrier, held(body, a)),
  };
}
