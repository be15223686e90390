/**
 * Every floating-point function once, as data: its name, parameters and result. Declaring the functions in a module, exporting them
 * from it and importing them into another (the JIT's) all derive from this table. Floating-point values travel as raw bits, an f64 as
 * i64 and an f32 (taken out of its NaN box) as i32; `rm` is an i32 in 0..4.
 */

import type { ValueType } from '../../wasm/expression-base.ts';
import type { FunctionRef, ModuleBuilder } from '../../wasm/module.ts';

type Signature = readonly [parameters: readonly ValueType[], result: ValueType];

function ofFormat<const T extends 'i32' | 'i64'>(value: T) {
  return {
    /** (a, b, rm) -> a op b */
    add: [[value, value, 'i32'], value],
    sub: [[value, value, 'i32'], value],
    mul: [[value, value, 'i32'], value],
    div: [[value, value, 'i32'], value],
    /** (a, rm) */
    sqrt: [[value, 'i32'], value],
    /** (a, b, c, rm) -> a * b + c, rounded once */
    fma: [[value, value, value, 'i32'], value],

    /** (a, b): minimumNumber and maximumNumber of IEEE 754-2019, -0 < +0 */
    min: [[value, value], value],
    max: [[value, value], value],
    /** (a, b) -> 0 or 1; `eq` is quiet, `lt` and `le` signal */
    eq: [[value, value], 'i32'],
    lt: [[value, value], 'i32'],
    le: [[value, value], 'i32'],
    /** (a) -> the ten-bit mask of FCLASS */
    classify: [[value], 'i32'],

    /** (a, rm) -> integer, saturated; for RV64 the caller sign-extends both 32-bit forms */
    toI32: [[value, 'i32'], 'i32'],
    toU32: [[value, 'i32'], 'i32'],
    toI64: [[value, 'i32'], 'i64'],
    toU64: [[value, 'i32'], 'i64'],
    /** (integer, rm) */
    fromI32: [['i32', 'i32'], value],
    fromU32: [['i32', 'i32'], value],
    fromI64: [['i64', 'i32'], value],
    fromU64: [['i64', 'i32'], value],
  } as const;
}

const signatures = {
  f32: ofFormat('i32'),
  f64: ofFormat('i64'),
  convert: {
    /** (a, rm): FCVT.S.D */
    f64ToF32: [['i64', 'i32'], 'i32'],
    /** (a): FCVT.D.S, which is exact */
    f32ToF64: [['i32'], 'i64'],
  },
} as const;

interface TypedRef<S extends Signature> extends FunctionRef<S[1]> {
  readonly parameters: S[0];
}

type Refs<S extends Record<string, Signature>> = { readonly [K in keyof S]: TypedRef<S[K]> };

/** The functions of one format; each is right for every input and every rounding mode, and raises exactly the flags it should. */
export type FormatFunctions<T extends 'i32' | 'i64'> = Refs<ReturnType<typeof ofFormat<T>>>;

export interface FloatFunctions {
  readonly f32: FormatFunctions<'i32'>;
  readonly f64: FormatFunctions<'i64'>;
  readonly convert: Refs<(typeof signatures)['convert']>;
}

type MakeRef = (name: string, parameters: readonly ValueType[], results: readonly ValueType[]) => FunctionRef;

function refs(make: MakeRef): FloatFunctions {
  const groups = Object.entries(signatures).map(([group, operations]) => {
    const made = Object.entries(operations as Record<string, Signature>).map(
      ([operation, [parameters, result]]) => [operation, make(`${group}.${operation}`, parameters, [result])] as const,
    );
    return [group, Object.fromEntries(made)] as const;
  });
  return Object.fromEntries(groups) as unknown as FloatFunctions;
}

/** Declares all functions in `module`; `defineFloat` writes them. */
export function declareFloat(module: ModuleBuilder): FloatFunctions {
  return refs((name, parameters, results) => module.declare(name, parameters, results));
}

/** Exports all functions from the module that has them, under their own names (`f64.add`, `convert.f64ToF32`). */
export function exportFloat(module: ModuleBuilder, functions: FloatFunctions): void {
  for (const group of Object.values(functions) as Record<string, FunctionRef>[]) {
    for (const ref of Object.values(group)) module.export(ref);
  }
}

/** The same functions as imports of another module, from the import module called `from`. */
export function importFloat(module: ModuleBuilder, from: string): FloatFunctions {
  return refs((name, parameters, results) => module.importFunction(from, name, parameters, results));
}

/** The same, each imported when it is first asked for. */
export function importFloatLazily(module: ModuleBuilder, from: string): FloatFunctions {
  const groups = Object.entries(signatures).map(([group, operations]) => {
    const made: Record<string, FunctionRef> = {};
    for (const [operation, [parameters, result]] of Object.entries(operations as Record<string, Signature>)) {
      let ref: FunctionRef | undefined;
      const get = (): FunctionRef =>
        (ref ??= module.importFunction(from, `${group}.${operation}`, parameters, [result]));
      Object.defineProperty(made, operation, { get, enumerable: true });
    }
    return [group, made] as const;
  });
  return Object.fromEntries(groups) as unknown as FloatFunctions;
}
