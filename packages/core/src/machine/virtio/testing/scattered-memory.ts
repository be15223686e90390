/**
 * Guest RAM for tests of devices: shared memory whose 4 KiB frames lie in no order, so that nothing that is contiguous for the guest is
 * so for the host. It counts loans and refuses to be wrong quietly: a release that matches no loan throws.
 */

import { PAGE_SIZE } from '../../../base/numbers.ts';
import type { GuestMemory, MemoryRange } from '../../device.ts';

export class ScatteredMemory implements GuestMemory {
  readonly base: number;
  readonly size: number;
  /** Loans not yet released, as `address+size` with `w` for a loan to write. */
  readonly loans: string[] = [];
  /** Memory below this address is ROM: nobody writes to it any more. */
  romEnd = 0;
  readonly #host: Uint8Array;
  /** Host offset of each guest page. */
  readonly #frames: number[];

  constructor(base: number, pages: number) {
    this.base = base;
    this.size = pages * PAGE_SIZE;
    this.#host = new Uint8Array(new SharedArrayBuffer(this.size));
    // A multiplier that is coprime to the number of pages visits every frame once, never two in a row in order.
    const step = pages % 3 === 0 ? 5 : 3;
    this.#frames = Array.from({ length: pages }, (_, page) => ((page * step + 1) % pages) * PAGE_SIZE);
    if (new Set(this.#frames).size !== pages) throw new Error(`${pages} pages cannot be scattered with step ${step}`);
  }

  contains(address: number, size: number, forWrite = false): boolean {
    if (forWrite && address < this.romEnd) return false;
    return (
      Number.isSafeInteger(address) && address >= this.base && size >= 0 && address + size <= this.base + this.size
    );
  }

  load8(address: number): number | undefined {
    return this.#load(address, 1);
  }

  load16(address: number): number | undefined {
    return this.#load(address, 2);
  }

  load32(address: number): number | undefined {
    return this.#load(address, 4);
  }

  load64(address: number): number | undefined {
    const low = this.#load(address, 4);
    const high = this.#load(address + 4, 4);
    if (low === undefined || high === undefined) return undefined;
    return Math.min(high * 2 ** 32 + low, Number.MAX_SAFE_INTEGER);
  }

  store8(address: number, value: number): boolean {
    return this.#store(address, 1, value);
  }

  store16(address: number, value: number): boolean {
    return this.#store(address, 2, value);
  }

  store32(address: number, value: number): boolean {
    return this.#store(address, 4, value);
  }

  /** For the guest's side of a test. */
  store64(address: number, value: number): boolean {
    return this.#store(address, 4, value % 2 ** 32) && this.#store(address + 4, 4, Math.floor(value / 2 ** 32));
  }

  read(address: number, into: Uint8Array): boolean {
    if (!this.contains(address, into.length)) return false;
    let done = 0;
    for (const view of this.#stretches(address, into.length)) {
      into.set(view, done);
      done += view.length;
    }
    return true;
  }

  write(address: number, from: Uint8Array): boolean {
    if (!this.contains(address, from.length, true)) return false;
    let done = 0;
    for (const view of this.#stretches(address, from.length)) {
      view.set(from.subarray(done, done + view.length));
      done += view.length;
    }
    return true;
  }

  views(address: number, size: number, forWrite: boolean): Uint8Array[] | undefined {
    if (!this.contains(address, size, forWrite)) return undefined;
    this.loans.push(loan(address, size, forWrite));
    const views: Uint8Array[] = [];
    for (let at = address; at < address + size;) {
      const end = Math.min(address + size, at - ((at - this.base) % PAGE_SIZE) + PAGE_SIZE);
      const host = this.#at(at);
      views.push(this.#host.subarray(host, host + end - at));
      at = end;
    }
    return views;
  }

  release(address: number, size: number, forWrite: boolean): void {
    const index = this.loans.indexOf(loan(address, size, forWrite));
    if (index < 0) throw new Error(`nothing was lent as ${loan(address, size, forWrite)}`);
    this.loans.splice(index, 1);
  }

  forget(ranges: readonly MemoryRange[]): boolean {
    if (ranges.some(({ address, size }) => address % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0))
      throw new Error('only whole pages are forgotten');
    if (!ranges.every(({ address, size }) => this.contains(address, size, true))) return false;
    for (const { address, size } of ranges) this.write(address, new Uint8Array(size));
    return true;
  }

  /** All of it in guest order, to compare. */
  snapshot(): Uint8Array {
    const copy = new Uint8Array(this.size);
    this.read(this.base, copy);
    return copy;
  }

  #stretches(address: number, size: number): Uint8Array[] {
    const views: Uint8Array[] = [];
    for (let at = address; at < address + size;) {
      const end = Math.min(address + size, at - ((at - this.base) % PAGE_SIZE) + PAGE_SIZE);
      const host = this.#at(at);
      views.push(this.#host.subarray(host, host + end - at));
      at = end;
    }
    return views;
  }

  #at(address: number): number {
    const offset = address - this.base;
    return (this.#frames[Math.floor(offset / PAGE_SIZE)] ?? 0) + (offset % PAGE_SIZE);
  }

  #load(address: number, size: number): number | undefined {
    if (!this.contains(address, size)) return undefined;
    let value = 0;
    for (let index = size - 1; index >= 0; index--) value = value * 256 + (this.#host[this.#at(address + index)] ?? 0);
    return value;
  }

  #store(address: number, size: number, value: number): boolean {
    if (!this.contains(address, size, true)) return false;
    for (let index = 0; index < size; index++)
      this.#host[this.#at(address + index)] = Math.floor(value / 256 ** index) % 256;
    return true;
  }
}

function loan(address: number, size: number, forWrite: boolean): string {
  return `${address.toString(16)}+${size}${forWrite ? 'w' : ''}`;
}
