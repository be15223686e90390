/**
 * What is compiled at once, as plain data: so it can be done on another thread, which sees the guest's code in the shared memory. Between
 * the request and the answer code may be written; who asked knows (jit.ts) and throws the answer away.
 */

import { defined } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { MemoryImport } from '../../wasm/module.ts';
import { RECORD } from '../layout.ts';
import { SPECIAL } from '../handlers.ts';
import { type CodeView, type Region, discover } from './region.ts';
import { type Translation, translate } from './translate.ts';

/** A page that a region may use: the entry's (0) or the one before or behind it. */
export interface CodePage {
  readonly page: number;
  /** Host address of its frame. */
  readonly frame: number;
  /** Address of its pre-decoded records, or 0: what is decoded has been executed, or lies on the way. */
  readonly records: number;
  /** Address of its heat page. */
  readonly heat: number;
}

export interface RegionRequest {
  /** Offset of the entry in its page. */
  readonly entryOffset: number;
  readonly pages: readonly CodePage[];
}

export interface BatchRequest {
  readonly requests: readonly RegionRequest[];
  /** Number of the first region's function; the others follow. */
  readonly first: number;
  readonly memory: MemoryImport;
  /** Whether code is compiled that has not been executed yet. */
  readonly includesCold: boolean;
  readonly isAlone: boolean;
  readonly names: boolean;
  readonly fusedMultiplyAdd: boolean;
}

/** A region that was compiled: byte ranges of its code by page, relative to the entry's. */
export interface CompiledRegion {
  readonly ranges: readonly { readonly page: number; readonly from: number; readonly to: number }[];
  readonly opCount: number;
}

export interface BatchAnswer {
  readonly module: WebAssembly.Module | undefined;
  /** For each request, or undefined where nothing could be compiled. */
  readonly regions: readonly (CompiledRegion | undefined)[];
  /** Size of the module. */
  readonly bytes: number;
}

/**
 * Compiles batches beside the machine, on another thread. Port: without one the machine does it itself between two slices. A rejected
 * promise means that the code stays interpreted.
 */
export interface RegionCompiler {
  compile(batch: BatchRequest, memory: WebAssembly.Memory): Promise<BatchAnswer>;
}

/** Views of the domain's memory. */
export interface CodeBytes {
  readonly u16: Uint16Array;
}

export function compileBatch(batch: BatchRequest, memory: CodeBytes): BatchAnswer {
  const translations: Translation[] = [];
  const regions = batch.requests.map((request) => {
    const region = discover(viewOf(request, memory, batch.includesCold), request.entryOffset);
    if (region === undefined) {
      translations.push({ region: undefined, place: placeOf(request) });
      return undefined;
    }
    translations.push({ region, place: placeOf(request) });
    return { ranges: rangesOf(region), opCount: region.opCount };
  });
  if (regions.every((region) => region === undefined)) return { module: undefined, regions, bytes: 0 };
  const bytes = translate(translations, batch.first, batch);
  return { module: new WebAssembly.Module(bytes), regions, bytes: bytes.length };
}

function placeOf({ entryOffset, pages }: RegionRequest): Translation['place'] {
  return { entryOffset, heatPage: (page) => defined(find(pages, page), 'a page of the region').heat };
}

const find = (pages: readonly CodePage[], page: number): CodePage | undefined =>
  pages.find((each) => each.page === page);

function viewOf({ pages }: RegionRequest, { u16 }: CodeBytes, includesCold: boolean): CodeView {
  const at = (offset: number): CodePage | undefined => find(pages, Math.floor(offset / PAGE_SIZE));
  const within = (offset: number): number => offset & (PAGE_SIZE - 1);
  return {
    half(offset) {
      const page = at(offset);
      return page && u16[(page.frame + within(offset)) >>> 1];
    },
    isWarm(offset) {
      if (includesCold) return true;
      const records = at(offset)?.records ?? 0;
      return records !== 0 && u16[(records + (within(offset) >>> 1) * RECORD.BYTES) >>> 1] !== SPECIAL.decode;
    },
  };
}

function rangesOf({ ranges }: Region): CompiledRegion['ranges'] {
  return ranges.flatMap(([first, end]) => {
    const parts = [];
    for (let page = Math.floor(first / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
      const start = page * PAGE_SIZE;
      parts.push({ page, from: Math.max(first - start, 0), to: Math.min(end - start, PAGE_SIZE) });
    }
    return parts;
  });
}
