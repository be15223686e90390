/** Regions to a WebAssembly module: one function each, put into the shared table when the module is instantiated. Pure: bytes out. */

import { type FastFloatOptions, fastFloat } from '../float/fast.ts';
import type { FlagSink } from '../float/index.ts';
import { importFloatLazily } from '../float/signatures.ts';
import { REGION_TYPE } from '../interpreter.ts';
import { HOT } from '../layout.ts';
import { FILL_PARAMETERS, fillName } from '../tlb-fill.ts';
import { type FunctionRef, type MemoryImport, ModuleBuilder } from '../../wasm/module.ts';
import type { Region } from './region.ts';
import { type RegionPlace, writeRegion } from './region-writer.ts';

/** A region, where it is, and the number of its function. */
export interface Translation {
  /** Absent where nothing could be compiled: then its number leaves. */
  readonly region: Region | undefined;
  readonly place: RegionPlace;
}

export interface TranslateOptions extends FastFloatOptions {
  readonly memory: MemoryImport;
  /** Whether functions have names, for profilers. */
  readonly names: boolean;
  /** One hart only: fences order nothing that anybody sees. */
  readonly isAlone: boolean;
}

/** Import modules of a compiled module: memory and table under `env`, the interpreter's exports under `engine`. */
export const ENGINE_MODULE = 'engine';

/** The module of `translations`; its functions are numbered from `first` on. */
export function translate(translations: readonly Translation[], first: number, options: TranslateOptions): Uint8Array {
  const module = new ModuleBuilder();
  module.importMemory(options.memory);
  module.importTable({ module: options.memory.module, name: 'table', minimum: HOT.FIRST_FUNCTION });
  const floatFlags = module.importGlobal(ENGINE_MODULE, 'floatFlags', 'i32');
  const multiplyHigh = module.importFunction(ENGINE_MODULE, 'multiplyHigh', ['i64', 'i64'], ['i64']);
  const dropBorrowed = module.importFunction(ENGINE_MODULE, 'dropBorrowed', ['i32'], []);
  const readTime = module.importFunction(ENGINE_MODULE, 'readTime', ['i32'], ['i32']);
  const moreTime = module.importFunction(ENGINE_MODULE, 'moreTime', ['i32', 'i32'], ['i32']);
  const fills = new Map<string, FunctionRef<'i32'>>();
  const fill = (table: number, bytes: number): FunctionRef<'i32'> => {
    const name = fillName(table, bytes);
    const ref = fills.get(name) ?? module.importFunction(ENGINE_MODULE, name, FILL_PARAMETERS, ['i32']);
    fills.set(name, ref);
    return ref;
  };
  const sink: FlagSink = {
    raise: (body, flags) => body.setGlobal(floatFlags, body.getGlobal(floatFlags).or(flags)),
    isInexact: (body) => body.getGlobal(floatFlags).and(1),
  };
  const functions = importFloatLazily(module, ENGINE_MODULE);
  const float = fastFloat(functions, sink, options);
  const regionType = module.type(REGION_TYPE.parameters, REGION_TYPE.results);
  const { fusedMultiplyAdd, isAlone } = options;
  const parts = {
    regionType,
    multiplyHigh,
    float,
    functions,
    floatFlags,
    fusedMultiplyAdd,
    fill,
    readTime,
    dropBorrowed,
    moreTime,
    isAlone,
  };
  for (const [index, { region, place }] of translations.entries()) {
    if (!region) continue;
    const name = `region${first + index}`;
    const ref = module.function(name, REGION_TYPE.parameters, REGION_TYPE.results, (body, ...parameters) =>
      writeRegion(body, parameters, parts, region, place),
    );
    module.elements(first + index, [ref]);
  }
  return module.build(options.names);
}
