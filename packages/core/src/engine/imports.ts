/** What the generated code asks of its surroundings. Every call carries only i32; wider values go through cells of the hart's state. */

import type { FunctionRef, ModuleBuilder } from '../wasm/module.ts';

/** Implemented by `Engine` in JavaScript. `hart` is the hart's base address. */
export interface EngineHost {
  /** A load outside RAM at physical (high << 32 | low), 1 to 8 bytes, into hart.value. 0: nothing answers there. */
  mmioLoad(hart: number, low: number, high: number, bytes: number): number;
  /** A store of hart.value outside RAM. 0: nothing answers there. */
  mmioStore(hart: number, low: number, high: number, bytes: number): number;
  /** Gives page `index` of the guest that executes a frame that may be read (or written); returns the new page map entry. */
  frame(index: number, forWrite: number): number;
  /** The pre-decoded page of frame number `frame`, made if need be. */
  codePage(frame: number): number;
  /** The heat page of frame number `frame`, made if need be; an empty one where nothing is compiled. */
  heatPage(frame: number): number;
  /** Code at `cell` of a heat page has become hot; the hart is about to execute it at hart.pc. */
  hot(hart: number, cell: number): void;
  /** `bytes` at `offset` of frame number `frame`, which is watched, were written. */
  codeWritten(frame: number, offset: number, bytes: number): void;
  /** fence.i. */
  codeFence(hart: number): void;
  /** Decodes from the record at `record` on. */
  decode(record: number): void;
  /** Decodes the instruction word `word` (which crosses a page) into the hart's scratch record. */
  decodeScratch(hart: number, word: number): void;
  /** Puts the present time in ticks into hart.time. */
  readTime(hart: number): void;
  /** stimecmp was written. */
  timerChanged(hart: number): void;
  /** Compiled code has executed `count` instructions and come to its limit: gives a new limit, in the hart's state too, or one not above `count`. */
  moreTime(hart: number, count: number): number;
}

export type Imports = { readonly [K in keyof EngineHost]: FunctionRef };

export const IMPORT_MODULE = 'host';

export function importHost(module: ModuleBuilder): Imports & {
  readonly [K in 'mmioLoad' | 'mmioStore' | 'frame' | 'codePage' | 'heatPage' | 'moreTime']: FunctionRef<'i32'>;
} {
  const returning = (name: keyof EngineHost, parameters: number): FunctionRef<'i32'> =>
    module.importFunction(
      IMPORT_MODULE,
      name,
      Array.from({ length: parameters }, () => 'i32' as const),
      ['i32'],
    );
  const plain = (name: keyof EngineHost, parameters: number): FunctionRef =>
    module.importFunction(
      IMPORT_MODULE,
      name,
      Array.from({ length: parameters }, () => 'i32' as const),
      [],
    );
  return {
    mmioLoad: returning('mmioLoad', 4),
    mmioStore: returning('mmioStore', 4),
    frame: returning('frame', 2),
    codePage: returning('codePage', 1),
    heatPage: returning('heatPage', 1),
    hot: plain('hot', 2),
    codeWritten: plain('codeWritten', 3),
    codeFence: plain('codeFence', 1),
    decode: plain('decode', 1),
    decodeScratch: plain('decodeScratch', 2),
    readTime: plain('readTime', 1),
    timerChanged: plain('timerChanged', 1),
    moreTime: returning('moreTime', 2),
  };
}
