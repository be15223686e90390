/**
 * A hart as JavaScript sees it: its state in the domain's memory, read and written by name. Only while the hart is not running, except for
 * what says otherwise.
 */

import { defined } from '../base/assert.ts';
import { type Saved, SavedReader } from '../base/saved.ts';
import { MSTATUS, csrs } from '../isa/csrs.ts';
import type { Domain } from './domain.ts';
import type { Guest } from './guest.ts';
import type { InterpreterExports } from './interpreter.ts';
import { FENCE_ENTRIES, HART, LINK } from './layout.ts';
import { locked } from './pcpu-words.ts';
import { type Cell, CSR, PRIVILEGE, csrOffset } from './state.ts';

/** sip/mip bits that have no wire of their own and are kept as software-written ones. */
const SSIP = 2;
const EVERY_ASID = 0xffff_ffff_ffff_ffffn;
const PAGE_BYTES = 4096n;
/** Above this many pages a fence of a range flushes the whole address space. */
const MAXIMUM_FENCED_PAGES = 64n;

export class Hart {
  readonly id: number;
  readonly guest: Guest;
  readonly #domain: Domain;
  readonly #code: InterpreterExports;
  readonly #reside: () => void;
  #base: number;

  /** With its state at `base`; `reside` has it where harts are executed. */
  constructor(id: number, guest: Guest, base: number, code: InterpreterExports, reside: () => void) {
    this.id = id;
    this.guest = guest;
    this.#domain = guest.domain;
    this.#base = base;
    this.#code = code;
    this.#reside = reside;
  }

  /** Where its state is now: where harts are executed, or where those of guests rest that are not. */
  get base(): number {
    return this.#base;
  }

  /** Its state goes from where it is to `base`. */
  move(base: number): void {
    this.#domain.u8.copyWithin(base, this.#base, this.#base + LINK.END);
    this.#base = base;
  }

  x(register: number): bigint {
    return defined(this.#domain.u64[(this.base + HART.x + 8 * register) >>> 3], 'a register');
  }

  setX(register: number, value: bigint): void {
    if (register !== 0) this.#domain.u64[(this.base + HART.x + 8 * register) >>> 3] = value;
  }

  f(register: number): bigint {
    return defined(this.#domain.u64[(this.base + HART.f + 8 * register) >>> 3], 'a register');
  }

  setF(register: number, value: bigint): void {
    this.#domain.u64[(this.base + HART.f + 8 * register) >>> 3] = value;
  }

  get pc(): bigint {
    return this.get64('pc');
  }

  set pc(value: bigint) {
    this.put64('pc', value);
  }

  /** 0 U, 1 S, 3 M. */
  get privilege(): number {
    return this.get32('privilege');
  }

  get32(cell: Cell): number {
    return defined(this.#domain.i32[(this.base + HART[cell]) >>> 2], cell);
  }

  put32(cell: Cell, value: number): void {
    this.#domain.i32[(this.base + HART[cell]) >>> 2] = value;
  }

  get64(cell: Cell): bigint {
    return defined(this.#domain.u64[(this.base + HART[cell]) >>> 3], cell);
  }

  put64(cell: Cell, value: bigint): void {
    this.#domain.u64[(this.base + HART[cell]) >>> 3] = value;
  }

  /** A CSR stored under its own number (see CSR in state.ts); no checks, no effects. */
  stored(number: number): bigint {
    return defined(this.#domain.u64[(this.base + csrOffset(number)) >>> 3], 'a CSR');
  }

  setStored(number: number, value: bigint): void {
    this.#domain.u64[(this.base + csrOffset(number)) >>> 3] = value;
  }

  /** Power-on: every cell zero, CSRs at their reset values, M-mode, at `pc`. */
  reset(pc: bigint): void {
    this.#domain.u8.fill(0, this.base, this.base + HART.END);
    for (const csr of csrs) if (csr.source.kind === 'stored') this.setStored(csr.number, csr.resetValue);
    this.put64(
      'mstatus',
      defined(
        csrs.find((csr) => csr.name === 'mstatus'),
        'mstatus',
      ).resetValue,
    );
    this.put32('id', this.id);
    this.put32('privilege', PRIVILEGE.M);
    this.pc = pc;
    this.refresh();
  }

  /** Recomputes what is derived from the state: TLBs empty, contexts chosen. After the state was changed from outside. */
  refresh(): void {
    // Who comes to where harts are executed gets all of it anew.
    if (!this.guest.isResident) return;
    this.#code.tlbClear(this.base);
    this.#code.contextSelect(this.base);
  }

  /** Changes privilege level from outside. */
  setPrivilege(level: number): void {
    this.#reside();
    this.put32('privilege', level);
    this.#code.contextSelect(this.base);
  }

  /** Writes a CSR with its WARL rules and effects, by dense index. */
  writeCsr(index: number, value: bigint): void {
    this.#reside();
    this.#code.csrPoke(this.base, index, value);
  }

  readCsr(index: number): bigint {
    this.#reside();
    return this.#code.csrPeek(this.base, index);
  }

  /** Raises or lowers a bit of mip as hardware does; may be called while the hart runs. SSIP has no wire: raising it is a write of 1. */
  setPending(bit: number, level: boolean): void {
    const cell = (this.base + (bit === SSIP ? HART.softPending : HART.lines)) >>> 2;
    if (level) Atomics.or(this.#domain.i32, cell, bit);
    else Atomics.and(this.#domain.i32, cell, ~bit);
    if (level) this.requestAttention();
  }

  /** The low 32 bits of the count of retired instructions. */
  get retiredLow(): number {
    return defined(this.#domain.u32[(this.base + HART.retired) >>> 2], 'retired');
  }

  /** True when WFI would not wait. */
  get hasPending(): boolean {
    return ((this.get32('lines') | this.get32('softPending')) & Number(this.stored(CSR.mie) & 0xffffn)) !== 0;
  }

  /** Whether the hart has given its turn away since somebody asked last. */
  takeYield(): boolean {
    const yielded = this.get32('yielded') !== 0;
    if (yielded) this.put32('yielded', 0);
    return yielded;
  }

  /** How far `run` goes; for other threads to see. */
  setLimit(count: number): void {
    Atomics.store(this.#domain.i32, (this.base + HART.limit) >>> 2, count);
  }

  /** What the hart is doing, as a number of whoever uses it; other threads may look and change it. */
  get runState(): number {
    return Atomics.load(this.#domain.i32, (this.base + LINK.runState) >>> 2);
  }

  set runState(state: number) {
    Atomics.store(this.#domain.i32, (this.base + LINK.runState) >>> 2, state);
  }

  /** From `before` to `after`; false when it was not `before`. */
  changeRunState(before: number, after: number): boolean {
    return Atomics.compareExchange(this.#domain.i32, (this.base + LINK.runState) >>> 2, before, after) === before;
  }

  /** Makes `run` return soon; may be called while the hart runs. */
  requestAttention(): void {
    Atomics.store(this.#domain.i32, (this.base + HART.limit) >>> 2, 0);
  }

  fenceVma(hasAddress: boolean, address: bigint, asid: number | undefined): void {
    this.#reside();
    this.#code.fenceVma(
      this.base,
      hasAddress ? 1 : 0,
      BigInt.asIntN(64, address),
      asid === undefined ? 0 : 1,
      asid ?? 0,
    );
  }

  /**
   * Asks the thread that executes this hart for a fence (`size` of 0: of its code alone), and gives the number of the request. The hart executes
   * nothing more before it is done.
   */
  askFence(start: bigint, size: bigint, asid: number | undefined): number {
    const { i32, u64 } = this.#domain;
    const link = (cell: keyof typeof LINK): number => (this.base + LINK[cell]) >>> 2;
    return locked(i32, link('fenceLock'), () => {
      const count = defined(i32[link('fenceCount')], 'a count');
      if (count < FENCE_ENTRIES)
        u64.set([start, size, BigInt.asUintN(64, BigInt(asid ?? -1))], (link('fences') >>> 1) + 3 * count);
      i32[link('fenceCount')] = Math.min(count + 1, FENCE_ENTRIES + 1);
      return Atomics.add(i32, link('fencesAsked'), 1) + 1;
    });
  }

  /** Whether the fence of that number is done. */
  isFenced(number: number): boolean {
    return ((Atomics.load(this.#domain.i32, (this.base + LINK.fencesDone) >>> 2) - number) | 0) >= 0;
  }

  /** Waits a little for the next fence to be done. */
  awaitFence(forMs: number): void {
    const done = (this.base + LINK.fencesDone) >>> 2;
    Atomics.wait(this.#domain.i32, done, Atomics.load(this.#domain.i32, done), forMs);
  }

  /** Does what `askFence` asked for. On the thread that executes the hart. */
  takeFences(): void {
    const { i32, u64 } = this.#domain;
    const link = (cell: keyof typeof LINK): number => (this.base + LINK[cell]) >>> 2;
    const asked = Atomics.load(i32, link('fencesAsked'));
    if (asked === i32[link('fencesDone')]) return;
    locked(i32, link('fenceLock'), () => {
      const count = defined(i32[link('fenceCount')], 'a count');
      i32[link('fenceCount')] = 0;
      if (count > FENCE_ENTRIES) this.fenceVma(false, 0n, undefined);
      else
        for (let n = 0; n < count; n++) {
          const first = (link('fences') >>> 1) + 3 * n;
          const [start = 0n, size = 0n, asid = 0n] = u64.subarray(first, first + 3);
          if (size > 0n) this.fenceRange(start, size, asid === EVERY_ASID ? undefined : Number(asid));
        }
      Atomics.store(i32, link('fencesDone'), defined(i32[link('fencesAsked')], 'a number'));
    });
    Atomics.notify(i32, link('fencesDone'));
  }

  /** sfence.vma of the addresses [start, start + size); a size of 2^64 - 1 means all. */
  fenceRange(start: bigint, size: bigint, asid: number | undefined): void {
    const first = start & ~(PAGE_BYTES - 1n);
    const pages = (start + size - first + PAGE_BYTES - 1n) / PAGE_BYTES;
    if (pages > MAXIMUM_FENCED_PAGES) this.fenceVma(false, 0n, asid);
    else for (let page = 0n; page < pages; page++) this.fenceVma(true, first + page * PAGE_BYTES, asid);
  }

  /** The architectural state. What is derived (TLBs, contexts) is not in it. */
  save(): Saved {
    const start = this.base;
    return { cells: this.#domain.u8.slice(start, start + HART.END) };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, `hart ${this.id}`).field('cells');
    const cells = reader.bytes(HART.END);
    const problem = impossibleState(new DataView(cells.buffer, cells.byteOffset, cells.byteLength));
    if (problem !== undefined) reader.refuse(problem);
    this.#domain.u8.set(cells, this.base);
    this.put32('id', this.id);
    const configured = this.get64('pmpcfg') | defined(this.#domain.u64[(this.base + HART.pmpcfg + 8) >>> 3], 'pmpcfg2');
    this.put32('pmpActive', (configured & PMP_MODES) === 0n ? 0 : 1);
    this.put32('reservation', 0);
    this.refresh();
  }
}

/** What the harts of a machine have counted, together. */
export function hartCounters(harts: readonly Hart[]): Record<string, number> {
  const count = (cell: Cell): number => harts.reduce((sum, hart) => sum + Number(hart.get64(cell)), 0);
  return {
    instructions: count('retired'),
    'jit.instructions': count('compiled'),
    tlbMisses: count('tlbMisses'),
    fetchMisses: count('fetchMisses'),
    slowSteps: count('slowSteps'),
    traps: count('traps'),
    interrupts: count('interrupts'),
    mmioAccesses: count('mmioAccesses'),
  };
}

/** Bits 4:3 of every pmpcfg byte: not 0 where an entry is active. */
const PMP_MODES = 0x1818_1818_1818_1818n;

/** What in saved cells no hart can be in, if there is such a thing: the engine relies on these. */
function impossibleState(cells: DataView): string | undefined {
  const u64 = (offset: number): bigint => cells.getBigUint64(offset, true);
  const u32 = (offset: number): number => cells.getUint32(offset, true);
  if (u64(HART.x) !== 0n) return 'have a value in x0';
  if (![PRIVILEGE.U, PRIVILEGE.S, PRIVILEGE.M].some((level) => level === u32(HART.privilege)))
    return 'have no privilege level';
  if ((u64(HART.mstatus) & MSTATUS.MPP) === 2n << 11n) return 'have a reserved mstatus.MPP';
  if (![0n, 8n, 9n, 10n].includes(u64(csrOffset(CSR.satp)) >> 60n)) return 'have a reserved satp.MODE';
  if (u32(HART.fflags) > 31 || u32(HART.frm) > 7) return 'have impossible float flags or rounding mode';
  if (u32(HART.ownSbi) > 1) return 'do not say whose SBI answers';
  for (const csr of csrs) {
    if (csr.source.kind !== 'stored') continue;
    const fixed = ~csr.writable & 0xffff_ffff_ffff_ffffn;
    if ((u64(csrOffset(csr.number)) & fixed) !== (csr.resetValue & fixed)) return `have impossible bits in ${csr.name}`;
  }
  return undefined;
}
