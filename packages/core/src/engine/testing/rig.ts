/** For tests of the engine that are a program and what it leaves behind: a hart, 4 MiB of RAM, and page tables. */

import { assert } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { assembleProgram } from '../../isa/assemble-program.ts';
import { Domain } from '../domain.ts';
import type { Engine, EngineOptions, EngineSurroundings } from '../engine.ts';
import type { Hart } from '../hart.ts';
import { EXIT } from '../interpreter.ts';
import { type Tier, createEngine } from './tiers.ts';

export const RAM = 0x8000_0000;
const RAM_BYTES = 4 * 1024 * 1024;
/** A page table of two levels of pointers and one of pages, for 2 MiB from address 0. */
export const TABLES = RAM + 0x1_0000;
export const DATA = RAM + 0x2_0000;
export const BUDGET = 100_000;
/** Instructions of one run of `Rig.finish`. */
const TURN = 100;

/** Bits of a page table entry. */
export const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, G: 32, A: 64, D: 128 } as const;
export const READ_WRITE = PTE.V | PTE.R | PTE.W | PTE.A | PTE.D;
export const READ_ONLY = PTE.V | PTE.R | PTE.A;

export interface RigOptions extends Pick<EngineOptions, 'compiler' | 'harts' | 'heat'> {
  readonly codePages?: number;
  /** What a load gives where there is no memory. */
  readonly mmioLoad?: EngineSurroundings['mmioLoad'];
  readonly moreTime?: NonNullable<EngineSurroundings['moreTime']>;
  readonly readTime?: EngineSurroundings['readTime'];
}

/** One hart with its memory and nothing else, that runs a program. */
export class Rig {
  readonly domain: Domain;
  readonly engine: Engine;
  readonly hart: Hart;

  static async of(tier: Tier, text: string, options: RigOptions = {}): Promise<Rig> {
    const { codePages, mmioLoad = () => 0, moreTime = () => 0, readTime = () => {}, ...more } = options;
    const domain = new Domain([{ base: RAM, sizeBytes: RAM_BYTES, writable: true }], { codePages });
    const nobody = { mmioLoad, mmioStore: () => 0, readTime, timerChanged: () => {}, moreTime };
    const engine = await createEngine(domain, nobody, tier, more);
    const rig = new Rig(domain, engine);
    rig.place(RAM, text);
    rig.hart.reset(BigInt(RAM));
    return rig;
  }

  private constructor(domain: Domain, engine: Engine) {
    this.domain = domain;
    this.engine = engine;
    this.hart = engine.addHart(0);
  }

  #host(address: number): number {
    return this.domain.guest.host(this.domain.guest.pageIndex(address), true) + (address % PAGE_SIZE);
  }

  /** Puts the program `text` to where it runs, before anything ran there; gives its labels. */
  place(address: number, text: string): ReadonlyMap<string, bigint> {
    const { bytes, symbols } = assembleProgram(text, BigInt(address));
    for (let at = 0; at < bytes.length; at++) this.domain.u8[this.#host(address + at)] = bytes[at] ?? 0;
    return symbols;
  }

  load(address: number): bigint {
    return this.domain.u64[this.#host(address) >>> 3] ?? 0n;
  }

  store(address: number, value: bigint): void {
    this.domain.u64[this.#host(address) >>> 3] = value;
  }

  /** Maps the page `number` of the first 2 MiB, and all of RAM and around it where it is. */
  map(number: number, physical: number, flags: number): void {
    this.store(TABLES, pte(TABLES + PAGE_SIZE, PTE.V));
    this.store(TABLES + 8 * 2, pte(RAM, READ_WRITE | PTE.X | PTE.G));
    this.store(TABLES + PAGE_SIZE, pte(TABLES + 2 * PAGE_SIZE, PTE.V));
    this.store(TABLES + 2 * PAGE_SIZE + 8 * number, pte(physical, flags));
  }

  /** Runs to the program's WFI. */
  finish(): void {
    // Short runs: code is compiled between them.
    for (let turn = 0; turn < 10_000; turn++) if (this.engine.run(this.hart, TURN) === EXIT.WAIT) return;
    assert(false, 'the program reaches its wfi');
  }
}

export function pte(physical: number, flags: number): bigint {
  return (BigInt(physical / PAGE_SIZE) << 10n) | BigInt(flags);
}

/**
 * Into S-mode with the tables of `Rig.map` and address space 1, after `machine` in M-mode; traps stop at the end with mcause in s0 and mtval
 * in s1, a0 to a2 are what the body leaves.
 */
export function supervisor(body: string, machine = ''): string {
  return `
        la t0, trapped
        csrw mtvec, t0
        li t0, ${(8n << 60n) | (1n << 44n) | BigInt(TABLES / PAGE_SIZE)}
        csrw satp, t0
        li t0, -1
        csrw pmpaddr0, t0
        li t0, 0x1f
        csrw pmpcfg0, t0
        li t0, 0x1800
        csrc mstatus, t0
        li t0, 0x800
        csrs mstatus, t0
        ${machine}
        la t0, body
        csrw mepc, t0
        mret
body:   ${body}
        ecall
        .align 2
trapped: csrr s0, mcause
        csrr s1, mtval
1:      wfi
        j 1b`;
}
