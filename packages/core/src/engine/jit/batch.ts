/**
 * What is compiled at once, as plain data: so it can be done on another thread, which sees the guest's code in the shared memory. Code may be
 * written meanwhile: the answer says what was compiled, and who asked looks whether it is still there.
 */

import { defined } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { MemoryImport } from '../../wasm/module.ts';
import { CODE_PAGE_FRAME, FETCH_TLB_ENTRIES, RECORD, TLB_ENTRY_BYTES } from '../layout.ts';
import { SPECIAL } from '../handlers.ts';
import { inlineCalls } from './inline-calls.ts';
import { withOwnEntry } from './own-entry.ts';
import { type CodeView, type Region, discover } from './region.ts';
import type { RegionPlace } from './region-writer.ts';
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
  /** The number of that frame. */
  readonly number: number;
}

export interface RegionRequest {
  /** Offset of the entry in its page. */
  readonly entryOffset: number;
  readonly pages: readonly CodePage[];
  /** The number of the entry's page (virtual address / 4096), its context, and the fetch TLB that knows other pages. */
  readonly pageNumber: number;
  readonly context: number;
  readonly fetchTlb: number;
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

/** Bytes [from, to) of a region's code in frame number `number`, which the code knows by the address of its heat page. */
export interface CodeRange {
  readonly number: number;
  readonly heat: number;
  readonly from: number;
  readonly to: number;
}

/** A region that was compiled. */
export interface CompiledRegion {
  readonly ranges: readonly CodeRange[];
  /** What was compiled, two words for each halfword: number of the frame, and offset << 16 | code. It may not be what is there any more. */
  readonly code: Uint32Array;
  readonly opCount: number;
}

/**
 * Instead of a region that begins within one that stands before it in its batch: loops within each other become hot at once, and most of what there is of
 * them is in the one that is come to most.
 */
export const COVERED = 'covered';

export interface BatchAnswer {
  readonly module: WebAssembly.Module | undefined;
  /** For each request; undefined where nothing could be compiled. */
  readonly regions: readonly (CompiledRegion | typeof COVERED | undefined)[];
  /** Size of the module. */
  readonly bytes: number;
  /** How many could be read and not be translated, which is a fault of ours: they stay interpreted, and tests count them. */
  readonly failed: number;
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
  readonly u32: Uint32Array;
}

export function compileBatch(batch: BatchRequest, memory: CodeBytes): BatchAnswer {
  const translations: Translation[] = [];
  const ranges: CodeRange[] = [];
  const regions = batch.requests.map((request) => {
    const pages = new CodePages(request, memory);
    const { entryOffset } = request;
    const place: RegionPlace = { entryOffset, heatPage: (page) => pages.known(page).heat };
    const { number } = pages.known(0);
    if (ranges.some((each) => each.number === number && each.from <= entryOffset && entryOffset < each.to)) {
      translations.push({ region: undefined, place });
      return COVERED;
    }
    const view = viewOf(pages, memory, batch.includesCold);
    const found = discover(view, entryOffset);
    const region = found && withOwnEntry(inlineCalls(view, found));
    translations.push({ region, place });
    if (region === undefined) return undefined;
    const compiled = { ranges: rangesOf(region, pages), code: codeOf(region, pages), opCount: region.opCount };
    ranges.push(...compiled.ranges);
    return compiled;
  });
  if (translations.every(({ region }) => region === undefined))
    return { module: undefined, regions, bytes: 0, failed: 0 };
  const { bytes, failed } = translateWhatCan(translations, regions, batch);
  return { module: new WebAssembly.Module(bytes), regions, bytes: bytes.length, failed };
}

/** Translates them together; if that fails, without those that fail alone. */
function translateWhatCan(
  translations: Translation[],
  regions: BatchAnswer['regions'][number][],
  batch: BatchRequest,
): { readonly bytes: Uint8Array; readonly failed: number } {
  try {
    return { bytes: translate(translations, batch.first, batch), failed: 0 };
  } catch {
    let failed = 0;
    for (const [index, translation] of translations.entries()) {
      try {
        translate([translation], batch.first, batch);
      } catch {
        translations[index] = { ...translation, region: undefined };
        regions[index] = undefined;
        failed++;
      }
    }
    return { bytes: translate(translations, batch.first, batch), failed };
  }
}

/** The pages of one request: those that came with it, and those that the fetch TLB knows. */
class CodePages {
  readonly #request: RegionRequest;
  readonly #u32: Uint32Array;
  readonly #found: Map<number, CodePage | undefined>;

  constructor(request: RegionRequest, { u32 }: CodeBytes) {
    this.#request = request;
    this.#u32 = u32;
    this.#found = new Map(request.pages.map((each) => [each.page, each]));
  }

  find(page: number): CodePage | undefined {
    if (!this.#found.has(page)) this.#found.set(page, this.#fetched(page));
    return this.#found.get(page);
  }

  known(page: number): CodePage {
    return defined(this.#found.get(page), 'a page of the region');
  }

  #fetched(page: number): CodePage | undefined {
    const { pageNumber, context, fetchTlb } = this.#request;
    const number = pageNumber + page;
    const entry = (fetchTlb + (number % FETCH_TLB_ENTRIES) * TLB_ENTRY_BYTES) >>> 2;
    const word = (index: number): number => defined(this.#u32[index], 'a word of memory');
    // The tag: page address | context.
    if (word(entry) !== (((number % 2 ** 20) * PAGE_SIZE) | context) >>> 0) return undefined;
    if (word(entry + 1) !== Math.floor(number / 2 ** 20)) return undefined;
    const records = word(entry + 2);
    const frame = word((records + CODE_PAGE_FRAME) >>> 2);
    return { page, frame: frame * PAGE_SIZE, records, heat: word(entry + 3), number: frame };
  }
}

function viewOf(pages: CodePages, { u16 }: CodeBytes, includesCold: boolean): CodeView {
  const at = (offset: number): CodePage | undefined => pages.find(Math.floor(offset / PAGE_SIZE));
  const within = (offset: number): number => offset & (PAGE_SIZE - 1);
  return {
    half(offset) {
      const page = at(offset);
      return page && u16[(page.frame + within(offset)) >>> 1];
    },
    isWarm(offset) {
      const page = at(offset);
      if (!page || includesCold) return page !== undefined;
      return page.records !== 0 && u16[(page.records + (within(offset) >>> 1) * RECORD.BYTES) >>> 1] !== SPECIAL.decode;
    },
  };
}

function codeOf({ blocks }: Region, pages: CodePages): Uint32Array {
  const code: number[] = [];
  const half = (offset: number, value: number): void => {
    code.push(pages.known(Math.floor(offset / PAGE_SIZE)).number, ((offset & (PAGE_SIZE - 1)) << 16) | value);
  };
  for (const { ops } of blocks) {
    for (const { offset, word } of ops) {
      half(offset, word & 0xffff);
      if ((word & 3) === 3) half(offset + 2, word >>> 16);
    }
  }
  return Uint32Array.from(code);
}

function rangesOf({ ranges }: Region, pages: CodePages): CompiledRegion['ranges'] {
  return ranges.flatMap(([first, end]) => {
    const parts = [];
    for (let page = Math.floor(first / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
      const start = page * PAGE_SIZE;
      const { number, heat } = pages.known(page);
      parts.push({ number, heat, from: Math.max(first - start, 0), to: Math.min(end - start, PAGE_SIZE) });
    }
    return parts;
  });
}
