/**
 * The random part of a program: items, each a few instructions that belong together. Control enters an item only at its beginning, so
 * an address is never used without the instructions that made it.
 *
 *     x0..x25, f0..f31   anything
 *     x26                the middle of scratch memory's first page
 *     x27                somewhere in scratch memory; moved by items
 *     x28                counter of the loop that is running
 *     x29, x30           of use within an item up to its first instruction that can trap; the trap handler destroys them
 *     x31                where the next trap is logged
 */

import type { Random } from '../../../src/engine/float/testing/vectors.ts';
import { assemble } from '../../../src/isa/assemble.ts';
import { decode } from '../../../src/isa/decode.ts';
import type { Instruction } from '../../../src/isa/instruction.ts';
import { instructions } from '../../../src/isa/instructions.ts';

export const SCRATCH_BYTES = 16 * 1024;
/** A 12-bit offset from here stays in scratch memory, as does every compressed form's. */
const SCRATCH_MARGIN = 2048;
const FIRST_RESERVED = 26;
const PAGE = 4096;

export type Mode = 'M' | 'S' | 'U';

export interface Places {
  /** Address of the body. */
  readonly body: number;
  readonly scratch: number;
  /** Doublewords to load registers from. */
  readonly pool: number;
  readonly poolEntries: number;
  /** The level the body runs at; below M addresses are translated, and scratch memory's pages may refuse. */
  readonly mode: Mode;
}

/** Words at an address; each below 2^16 in `halves` is a 16-bit instruction. */
interface Item {
  readonly sizeBytes: number;
  /** `target(n)` is the address of the item n further on (at most the end of the body). */
  readonly encode: (at: number, target: (items: number) => number) => number[];
}

/** Extensions that QEMU 7.2 does not know, and instructions that need other surroundings than straight-line M-mode code. */
const unknownToQemu = new Set(['Zicond', 'Zicbom', 'Zicboz', 'Zawrs']);
/** QEMU 7.2's ctzw counts on into bits 63 to 32 when the low word is zero; its value is 32 then (Zbb). */
const elsewhere = new Set(['mret', 'sret', 'wfi', 'ctzw']);

const shared = instructions.filter(({ name, extension }) => !unknownToQemu.has(extension) && !elsewhere.has(name));
const fullOf = (entry: Instruction): Instruction =>
  entry.expansion === undefined ? entry : (instructions.find(({ name }) => name === entry.expansion?.name) ?? entry);
const hasAddress = (entry: Instruction): boolean => entry.syntax.includes('(') && fullOf(entry).flow === undefined;
const isReservation = ({ name }: Instruction): boolean => /^(lr|sc)\./.test(name);
const isFloat = (entry: Instruction): boolean => /^c?\.?f(?!ence)/.test(entry.name);
const isPlain = (entry: Instruction): boolean =>
  (fullOf(entry).flow === undefined || fullOf(entry).extension === 'S' || fullOf(entry).extension === 'Svinval') &&
  !hasAddress(entry) &&
  !entry.encoding.fields.has('csr') &&
  !['ecall', 'ebreak', 'fence.i'].includes(fullOf(entry).name);

const integer = shared.filter((entry) => isPlain(entry) && !isFloat(entry));
const float = shared.filter((entry) => isPlain(entry) && isFloat(entry));
const memory = shared.filter((entry) => hasAddress(entry) && !isReservation(entry));
const branches = shared.filter((entry) => fullOf(entry).flow === 'branch');
const traps = shared.filter(({ name }) => ['ecall', 'ebreak', 'c.ebreak'].includes(name));

/** CSRs that a program may give any value. Not here: misa and mideleg, where QEMU 7.2 lacks B and has interrupts of a hypervisor. */
const freeCsrs = ['mscratch', 'mcause', 'mtval', 'sscratch', 'scause', 'stval', 'satp'];
const floatCsrs = ['fcsr', 'frm', 'fflags'];
/** Only bits 4 to 2 are written, which leave no choice to the implementation. */
const carefulCsrs = ['mepc', 'sepc', 'stvec', 'medeleg', 'mcounteren', 'scounteren'];

export class Body {
  readonly #random: Random;
  readonly #places: Places;
  readonly #integer: readonly Instruction[];

  constructor(random: Random, places: Places) {
    this.#random = random;
    this.#places = places;
    // In U-mode all of Svinval is illegal; QEMU 7.2 executes its two fences there.
    this.#integer = places.mode === 'U' ? integer.filter(({ extension }) => extension !== 'Svinval') : integer;
  }

  /** Halfwords of a body of about `count` items, of which only those before `end` are there. */
  generate(count: number, end = count): { readonly halves: readonly number[]; readonly starts: readonly number[] } {
    const items: Item[] = [];
    while (items.length < count) items.push(...this.#some());
    const kept = items.slice(0, end);
    const starts: number[] = [];
    let at = this.#places.body;
    for (const item of kept) {
      starts.push(at);
      at += item.sizeBytes;
    }
    starts.push(at);
    const halves = kept.flatMap((item, index) => {
      const from = starts[index] ?? 0;
      const words = item.encode(from, (further) => starts[Math.min(index + further, kept.length)] ?? 0);
      const encoded = words.flatMap((word) => ((word & 3) === 3 ? [word & 0xffff, word >>> 16] : [word & 0xffff]));
      if (encoded.length * 2 !== item.sizeBytes)
        throw new Error(`an item of ${item.sizeBytes} bytes became ${encoded.length * 2}`);
      return encoded;
    });
    return { halves, starts };
  }

  #some(): Item[] {
    const random = this.#random;
    const kind = random.below(100);
    if (kind < 28) return [fixed(this.#wordOf(random.pick(this.#integer)))];
    if (kind < 52) return [fixed(this.#wordOf(random.pick(float)))];
    if (kind < 68) return [this.#access()];
    // Whether a store-conditional that fails anyway may also fault is the implementation's choice.
    if (kind < 72) return [this.#places.mode === 'M' ? this.#reserved() : this.#access()];
    if (kind < 78) return [this.#branch()];
    if (kind < 81) return [this.#jump()];
    if (kind < 84) return this.#loop();
    if (kind < 86) return [fixed(...this.#csr())];
    if (kind < 88) return [fixed(this.#roundingMode())];
    if (kind < 89) return [fixed(this.#illegal())];
    if (kind < 90) return [this.#selfModifying()];
    if (random.below(10) === 0) return [fixed(this.#wordOf(random.pick(traps)))];
    if (random.below(this.#places.mode === 'S' ? 4 : 10) === 0) return [this.#status()];
    return [this.#reload()];
  }

  /** A word of `entry` with every field at random; integer results go to registers that are free. */
  #wordOf(entry: Instruction, accept: (word: number) => boolean = () => true): number {
    const { mask, match, bits } = entry.encoding;
    for (;;) {
      const word = (match | (this.#random.bits32() & ~mask & (bits === 16 ? 0xffff : -1))) >>> 0;
      const decoded = decode(word);
      if (decoded?.written !== entry) continue;
      const full = decoded.instruction;
      if (!full.syntax.startsWith('frd') && decoded.rd >= FIRST_RESERVED) continue;
      if (full.encoding.fields.has('rm') && (decoded.rm === 5 || decoded.rm === 6) && this.#random.below(12) > 0)
        continue;
      if (accept(word)) return word;
    }
  }

  /** An address in scratch memory: half of them aligned, many at the end of a page. */
  #scratchAddress(): number {
    const random = this.#random;
    const pages = SCRATCH_BYTES / PAGE;
    let offset = SCRATCH_MARGIN + random.below(SCRATCH_BYTES - 2 * SCRATCH_MARGIN);
    if (random.below(3) === 0) offset = (1 + random.below(pages - 1)) * PAGE - 16 + random.below(20);
    if (random.below(2) === 0) offset &= ~7;
    return this.#places.scratch + offset;
  }

  #access(): Item {
    const random = this.#random;
    const entry = random.pick(memory);
    // An address that nothing is at, in the middle of the holes of both machines.
    if (random.below(60) === 0) {
      const nowhere = this.#wordOf(entry, (word) => decode(word)?.rs1 === 30 || entry.encoding.bits === 16);
      if (entry.encoding.bits === 32) return fixed(assemble('lui x30, 0x1000'), assemble('slli x30, x30, 24'), nowhere);
    }
    if (entry.encoding.fields.has('aq') || entry.encoding.bits === 16) {
      const word = this.#wordOf(entry, (candidate) => {
        const base = decode(candidate)?.rs1 ?? 0;
        return base !== 0 && base !== 31 && (base < FIRST_RESERVED || base === 30);
      });
      // Which of a misaligned address and a page fault comes first is the implementation's choice.
      const isAligned = entry.encoding.fields.has('aq') && this.#places.mode !== 'M';
      return this.#addressed(decode(word)?.rs1 ?? 0, isAligned ? this.#scratchAddress() & ~7 : this.#scratchAddress(), [
        word,
      ]);
    }
    if (random.below(6) === 0)
      return this.#addressed(27, this.#scratchAddress(), [this.#wordOf(entry, (word) => decode(word)?.rs1 === 27)]);
    return fixed(this.#wordOf(entry, (word) => [26, 27].includes(decode(word)?.rs1 ?? 0)));
  }

  /** A reservation and its use. A store-conditional elsewhere or without a reservation fails on every implementation. */
  #reserved(): Item {
    const random = this.#random;
    const width = random.pick(['w', 'd']);
    const rd = random.below(FIRST_RESERVED);
    const [stored, failed] = [random.below(32), random.below(FIRST_RESERVED)];
    const suffix = random.pick(['', '.aq', '.rl', '.aqrl']);
    const between =
      random.below(2) === 0 ? [this.#wordOf(random.pick(integer.filter(({ extension }) => extension === 'M')))] : [];
    const conditional = assemble(`sc.${width}${suffix} x${failed}, x${stored}, (x30)`);
    const again = random.below(3) === 0 ? [conditional] : [];
    const moved = random.below(5) === 0 ? [assemble('addi x30, x30, 1024')] : [];
    const address = (this.#scratchAddress() & ~7) - 1024;
    return this.#addressed(30, address, [
      assemble(`lr.${width}${suffix} x${rd}, (x30)`),
      ...between,
      ...moved,
      conditional,
      ...again,
    ]);
  }

  #branch(): Item {
    const entry = this.#random.pick(branches);
    const skip = 1 + this.#random.below(4);
    const word = this.#wordOf(entry);
    return { sizeBytes: entry.encoding.bits / 8, encode: (at, target) => [withTarget(entry, word, target(skip) - at)] };
  }

  #jump(): Item {
    const random = this.#random;
    const skip = 1 + random.below(5);
    const rd = random.below(FIRST_RESERVED);
    switch (random.below(4)) {
      case 0:
        return { sizeBytes: 2, encode: (at, target) => [assemble(`c.j ${target(skip) - at}`, 0n)] };
      case 1:
        return { sizeBytes: 4, encode: (at, target) => [assemble(`jal x${rd}, ${target(skip) - at}`, 0n)] };
      case 2: {
        const offset = random.below(4096) - 2048;
        return {
          sizeBytes: 12,
          // Bit 0 of the sum is dropped.
          encode: (at, target) => [
            ...loadAddress(30, target(skip) - offset + (skip & 1), at),
            assemble(`jalr x${rd}, ${offset}(x30)`),
          ],
        };
      }
      default: {
        const base = 1 + random.below(FIRST_RESERVED - 1);
        const name = random.pick(['c.jr', 'c.jalr']);
        return {
          sizeBytes: 10,
          encode: (at, target) => [...loadAddress(base, target(skip), at), assemble(`${name} x${base}`)],
        };
      }
    }
  }

  /** A backward loop; a jump into it from before finds a counter that is 0 or less, or small. */
  #loop(): Item[] {
    const random = this.#random;
    const inside = Array.from({ length: 1 + random.below(5) }, () => {
      switch (random.below(4)) {
        case 0:
          return fixed(this.#wordOf(random.pick(float)));
        case 1:
          return this.#access();
        case 2:
          return this.#branch();
        default:
          return fixed(this.#wordOf(random.pick(this.#integer)));
      }
    });
    const bytes = inside.reduce((sum, item) => sum + item.sizeBytes, 0);
    return [
      fixed(assemble(`addi x28, x0, ${2 + random.below(6)}`)),
      ...inside,
      fixed(assemble('addi x28, x28, -1'), assemble(`blt x0, x28, ${-bytes - 4}`, 0n)),
    ];
  }

  #csr(): number[] {
    const random = this.#random;
    const rd = random.below(FIRST_RESERVED);
    if (random.below(3) === 0) {
      const operation = random.pick(['csrrsi', 'csrrci']);
      return [assemble(`${operation} x${rd}, ${random.pick(carefulCsrs)}, ${random.below(8) * 4}`)];
    }
    if (random.below(6) === 0) return [assemble(`csrrs x${rd}, ${random.pick([...carefulCsrs, 'mhartid'])}, x0`)];
    const csr = random.pick([
      ...(this.#places.mode === 'M' ? freeCsrs : freeCsrs.filter((name) => name !== 'satp')),
      ...floatCsrs,
      ...floatCsrs,
    ]);
    const operation = random.pick(['csrrw', 'csrrs', 'csrrc', 'csrrwi', 'csrrsi', 'csrrci']);
    return [
      assemble(`${operation} x${rd}, ${csr}, ${operation.endsWith('i') ? random.below(32) : `x${random.below(32)}`}`),
    ];
  }

  #roundingMode(): number {
    const random = this.#random;
    const rd = random.below(FIRST_RESERVED);
    if (random.below(2) === 0) return assemble(`csrrwi x${rd}, fflags, ${random.pick([0, random.below(32)])}`);
    return assemble(`csrrwi x${rd}, frm, ${random.below(8) === 0 ? random.below(8) : random.below(5)}`);
  }

  #illegal(): number {
    for (;;) {
      const word = this.#random.bits32();
      const length = (word & 3) === 3 ? 4 : 2;
      // Longer encodings, and what another implementation may have: anything near the fields of a known one.
      if (length === 4 && ((word & 0x1f) === 0x1f || ![0x0b, 0x2b, 0x5b, 0x7b, 0x6b].includes(word & 0x7f))) continue;
      if (decode(word) === undefined) return length === 4 ? word : word & 0xffff;
    }
  }

  /** Float state off or on, and bits of mstatus that M-mode execution does not feel. */
  #status(): Item {
    const random = this.#random;
    const on = random.below(4) > 0;
    // SUM, MXR, or float state.
    if (this.#places.mode === 'S')
      return fixed(
        assemble(`lui x30, ${random.pick(['0x40', '0x80', '0xc0'])}`),
        assemble(`${random.pick(['csrrs', 'csrrc'])} x0, sstatus, x30`),
      );
    const bits = random.pick(['0x6', '0x2', '0x4', '0x40', '0x80', '0x1e0']);
    return fixed(assemble(`lui x30, ${on ? '0x6' : bits}`), assemble(`${on ? 'csrrs' : 'csrrc'} x0, mstatus, x30`));
  }

  #reload(): Item {
    const { pool, poolEntries } = this.#places;
    const random = this.#random;
    const from = pool + 8 * random.below(poolEntries);
    if (random.below(12) === 0) return this.#addressed(27, this.#scratchAddress(), []);
    const register = random.below(2) === 0 ? `ld x${1 + random.below(FIRST_RESERVED - 1)}` : `fld f${random.below(32)}`;
    return this.#addressed(30, from, [assemble(`${register}, 0(x30)`)]);
  }

  /** An instruction changes its result register each time before it is executed. */
  #selfModifying(): Item {
    const rd = 2 + this.#random.below(FIRST_RESERVED - 4);
    const slot = 8 + 12 + 4;
    return {
      sizeBytes: slot + 4,
      encode: (at) => [
        ...loadAddress(29, at + slot, at),
        assemble('lw x30, 0(x29)'),
        assemble('xori x30, x30, 0x80'),
        assemble('sw x30, 0(x29)'),
        assemble('fence.i'),
        assemble(`addi x${rd}, x${rd}, 77`),
      ],
    };
  }

  #addressed(register: number, value: number, words: readonly number[]): Item {
    return { sizeBytes: 8 + sizeOf(words), encode: (at) => [...loadAddress(register, value, at), ...words] };
  }
}

function fixed(...words: readonly number[]): Item {
  return { sizeBytes: sizeOf(words), encode: () => [...words] };
}

function sizeOf(words: readonly number[]): number {
  return words.reduce((sum, word) => sum + ((word & 3) === 3 ? 4 : 2), 0);
}

/** `la` with 32-bit instructions. */
function loadAddress(register: number, value: number, at: number): number[] {
  const distance = value - at;
  const low = (distance << 20) >> 20;
  return [
    assemble(`auipc x${register}, ${((distance - low) >> 12) & 0xfffff}`),
    assemble(`addi x${register}, x${register}, ${low}`),
  ];
}

/** The branch `word` with another distance. */
function withTarget(entry: Instruction, word: number, distance: number): number {
  const field = entry.encoding.fields.get('imm');
  if (field === undefined) throw new Error(`${entry.name} goes nowhere`);
  let cleared = word;
  for (const { at, width } of field.slices) cleared &= ~(((1 << width) - 1) << at);
  for (const { at, width, low } of field.slices) cleared |= ((distance >> low) & ((1 << width) - 1)) << at;
  return cleared >>> 0;
}
