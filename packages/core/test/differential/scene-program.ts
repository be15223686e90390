/**
 * Programs of *scenes*: the runtime sets up a privilege level, an address space, delegation, interrupts, PMP and the bits of mstatus, and
 * enters a block that runs until it has left its page or something traps that cannot be skipped. What each trap wrote is logged, delegated
 * or not, and the page tables with their A and D bits are compared at the end.
 *
 *     home       every space maps the code, the tables and part of scratch memory at a fixed distance from their physical addresses
 *     risks      some virtual addresses with random entries, different in each space, which scenes and blocks change as they go
 *     doors      random rights for pages that hold an instruction across their boundary, and the way out
 */

import { defined } from '../../src/base/assert.ts';
import { hex } from '../../src/base/numbers.ts';
import { Random } from '../../src/engine/float/testing/vectors.ts';
import { encode } from '../../src/isa/encode.ts';
import { instructionNamed } from '../../src/isa/instructions.ts';
import { Block, type BlockSetting, type Pointer } from './block.ts';
import { CodeBuilder } from './code-builder.ts';
import { supervisorCsrs, userCsrs } from './csr-choices.ts';
import { LEVELS, PAGE, PTE, PageTables, RISKED_PAGES, leaf, randomPte, scratchOffset } from './page-tables.ts';
import {
  CODE,
  CONSTANTS,
  CONSTANT_COUNT,
  EXIT_OFFSET,
  LOG,
  LOG_END,
  RUNTIME,
  SCENES,
  SCENE_BYTES,
  SCENE_CELLS,
  SCENE_EDITS,
  SCRATCH,
  SCRATCH_BYTES,
} from './places.ts';
import { Context, type Program, runtimeSegment } from './program.ts';
import { interestingBytes, interestingValue } from './values.ts';

const HOME = 0x20_0000_0000n;
/** The same for U-mode. */
const USER_HOME = 0x21_0000_0000n;
const SPACES = 5;
/**
 * Nothing is here in any space: also no data, for in S-mode QEMU 7.2 executes a user page that a load under SUM has brought into its TLB.
 */
const NOWHERE = [0x1f_0000_0000n, 1n << 62n, 0x60_0000_0000n, 0x9000_0000n];
/** Bytes of a page that blocks may fill; a statement under way may take more. */
const BLOCK_ROOM = 0x780;
const DOOR_PAGES = 2;
const TSR = 0x40_0000n;

type Kind = 'user' | 'supervisor' | 'lent';
const KINDS: readonly Kind[] = ['user', 'supervisor', 'lent'];

interface Space {
  readonly satp: bigint;
  readonly asid: number;
  readonly root: number;
  readonly levels: number;
}

/** A virtual address with a random entry in each space. */
interface Risk {
  readonly va: bigint;
  readonly level: number;
  /** Physical address of the entry in each space; undefined where the space has no such level or the address is not canonical. */
  readonly entries: readonly (number | undefined)[];
}

interface Placed {
  readonly kind: Kind;
  readonly address: number;
  readonly crosses: boolean;
}

export interface SceneProgramSize {
  /** Blocks of each kind. */
  readonly blocks: number;
  readonly statements: number;
  readonly scenes: number;
}

export function sceneProgram(seed: number, size: SceneProgramSize): Program {
  return new SceneProgram(seed, size).build();
}

class SceneProgram {
  readonly #random: Random;
  readonly #seed: number;
  readonly #size: SceneProgramSize;
  readonly #tables = new PageTables();
  readonly #empty: number;
  readonly #spaces: Space[] = [];
  readonly #risks: Risk[] = [];
  readonly #doors: bigint[] = [];
  readonly #code = new CodeBuilder(CODE);
  readonly #used = new Map<string, number>();
  readonly #placed: Placed[] = [];
  /** Tables that no walk for home passes. */
  readonly #riskedTables: number[] = [];
  #executed = 0;

  constructor(seed: number, size: SceneProgramSize) {
    this.#random = new Random(seed);
    this.#seed = seed;
    this.#size = size;
    this.#empty = this.#tables.table();
  }

  build(): Program {
    for (let n = 0; n < SPACES; n++) this.#addSpace(n);
    this.#addRisks();
    this.#addDoors();
    this.#layCode();
    this.#mapHome();
    const scenes = this.#scenes();
    const context = new Context();
    context.put('logPointer', LOG);
    context.put('hasScenes', 1);
    context.put('scene', SCENES);
    context.put('scenesLeft', this.#size.scenes);
    for (let register = 1; register < 32; register++) context.put('x', interestingValue(this.#random), register);
    for (let register = 0; register < 32; register++) context.put('initialF', interestingValue(this.#random), register);
    return {
      kind: 'scenes',
      seed: this.#seed,
      segments: [
        runtimeSegment,
        context.segment,
        { address: CONSTANTS, bytes: interestingBytes(this.#random, CONSTANT_COUNT) },
        { address: SCRATCH, bytes: interestingBytes(this.#random, SCRATCH_BYTES / 8) },
        { address: CODE, bytes: this.#code.bytes() },
        this.#tables.segment,
        { address: SCENES, bytes: scenes },
      ],
      items: this.#code.items,
      cells: Array.from({ length: this.#size.scenes }, (_, index) => SCENES + SCENE_BYTES * index + SCENE_CELLS.entry),
      describeCell: (cell) => describeScene(scenes, cell - SCENE_CELLS.entry - SCENES),
      instructions: Math.round((this.#executed / this.#placed.length) * this.#size.scenes),
      used: this.#used,
    };
  }

  #addSpace(number: number): void {
    const random = this.#random;
    const mode = random.pick([8, 9, 10]);
    const asid = random.pick([0, 1, 2, 0x100, 0xffff]) ^ (number << 4);
    const root = this.#tables.table();
    const satp = (BigInt(mode) << 60n) | (BigInt(asid) << 44n) | BigInt(root / PAGE);
    this.#spaces.push({ satp, asid, root, levels: defined(LEVELS[mode], 'a mode') });
  }

  #mapPage(va: bigint, physical: number, flags: bigint): void {
    for (const { root, levels } of this.#spaces) this.#tables.map(root, levels, va, 0, leaf(physical, flags));
  }

  #mapHome(): void {
    const { V, R, W, X, U, A, D } = PTE;
    this.#mapPage(HOME + BigInt(CODE), CODE, V | R | X | A);
    for (const { kind, address } of this.#placed)
      this.#mapPage(HOME + BigInt(address), address, V | R | X | A | (kind === 'user' ? U : 0n));
    for (let page = SCRATCH + RISKED_PAGES * PAGE; page < SCRATCH + SCRATCH_BYTES; page += PAGE) {
      this.#mapPage(HOME + BigInt(page), page, V | R | W | A | D);
      this.#mapPage(USER_HOME + BigInt(page), page, V | R | W | U | A | D);
    }
    this.#mapPage(HOME + BigInt(CONSTANTS), CONSTANTS, V | R | A);
    this.#mapPage(USER_HOME + BigInt(CONSTANTS), CONSTANTS, V | R | U | A);
    // Tables made for this are not mapped themselves: nobody changes them.
    const end = this.#tables.end;
    for (let page = this.#empty; page < end; page += PAGE) this.#mapPage(HOME + BigInt(page), page, V | R | W | A | D);
    const home = new Set<number>();
    for (const { root, levels } of this.#spaces) {
      for (const va of [
        HOME + BigInt(CODE),
        HOME + BigInt(SCRATCH),
        HOME + BigInt(this.#empty),
        USER_HOME + BigInt(SCRATCH),
      ]) {
        for (const table of this.#tables.path(root, levels, va)) home.add(table);
      }
    }
    for (let page = this.#empty; page < end; page += PAGE) if (!home.has(page)) this.#riskedTables.push(page);
  }

  /** Entries for `va` at `level`, made by `entry`, in every space that has the address. */
  #risk(va: bigint, level: number, entry: () => bigint): Risk {
    const entries = this.#spaces.map(({ root, levels }) => {
      const unused = BigInt(64 - 12 - 9 * levels);
      const isCanonical = BigInt.asIntN(64, BigInt.asUintN(64, va << unused)) >> unused === BigInt.asIntN(64, va);
      return level < levels && isCanonical ? this.#tables.map(root, levels, va, level, entry()) : undefined;
    });
    return { va: BigInt.asUintN(64, va), level, entries };
  }

  #addRisks(): void {
    const random = this.#random;
    // Not where RAM is: under MPRV QEMU 7.2 finds pages there by the physical addresses it fetched from.
    const slots = shuffled(random, range(3, 100));
    const highSlots = shuffled(random, range(2, 100));
    /** A gigabyte of its own, in either half. */
    const gigabyte = (): bigint =>
      random.below(3) > 0 ? BigInt(slots.pop() ?? 0) << 30n : -(BigInt(highSlots.pop() ?? 0) << 30n);
    const add = (va: bigint, level: number): void => {
      this.#risks.push(this.#risk(va, level, () => randomPte(random, level, this.#empty)));
    };
    // Neighbours, so that accesses cross from one into the other.
    for (let n = 0; n < 4; n++) {
      const va = gigabyte() + BigInt(random.below(1 << 18)) * 4096n;
      for (let page = 0n; page < 4n; page++) add(va + page * 4096n, 0);
    }
    // In one megabyte, 64 KiB apart and less: NAPOT's, and the same TLB entry.
    const near = gigabyte();
    for (const page of [0n, 1n, 15n, 16n, 512n, 1024n, 2048n]) add(near + page * 4096n, 0);
    for (let n = 0; n < 3; n++) add(gigabyte() + 0x20_0000n * BigInt(random.below(512)), 1);
    for (let n = 0; n < 3; n++) add(gigabyte(), 2);
    // The ends of the halves of Sv39, and of all.
    for (const va of [0n, 0x3f_ffff_f000n, -0x40_0000_0000n, -4096n]) add(va, 0);
    // Addresses that only Sv48, or only Sv57, has.
    for (const high of [1n << 42n, -(1n << 43n)]) {
      add(high, 0);
      add(high + (1n << 39n), 3);
    }
    for (const high of [1n << 50n, -(1n << 52n)]) {
      add(high, 1);
      add(high + (1n << 48n), 4);
    }
    // And none.
    add(1n << 60n, 0);
    add(0x40_0000_0000n, 0);
  }

  #addDoors(): void {
    const random = this.#random;
    const { V, R, X, U, A, G } = PTE;
    const rights = (): bigint =>
      V |
      A |
      random.pick([X, X, X, R | X, R]) |
      random.pick([0n, U]) |
      random.pick([0n, 0n, G]) |
      (random.below(12) === 0 ? 1n << 61n : 0n);
    for (let n = 0; n < 6; n++) {
      const va = random.pick([1n, -1n]) * (BigInt(110 + n) << 30n) + BigInt(random.below(1 << 18)) * 4096n;
      for (let page = 0; page < DOOR_PAGES; page++) {
        const physical = CODE + PAGE * (1 + page);
        this.#risk(va + BigInt(page * PAGE), 0, () => (random.below(8) === 0 ? 0n : leaf(physical, rights())));
      }
      this.#doors.push(BigInt.asUintN(64, va));
    }
  }

  #layCode(): void {
    const code = this.#code;
    const word = (name: string, operands: Record<string, number> = {}): { word: number; size: 4 } => {
      const encoded = encode(defined(instructionNamed(name), name), operands);
      if (typeof encoded !== 'number') throw new Error(encoded.refused);
      return { word: encoded, size: 4 };
    };
    const leave = (page: number): void => {
      code.moveTo(page + EXIT_OFFSET);
      code.add(undefined, word('ecall'));
    };
    // The S-mode handler: see the runtime.
    code.add(undefined, word('ecall'), word('sret'), word('jal', { rd: 0, imm: EXIT_OFFSET - 8 }));
    leave(CODE);
    // The doors: an instruction across the boundary, then the way out.
    code.moveTo(CODE + PAGE + EXIT_OFFSET);
    code.add(undefined, { word: 0x0001, size: 2 }, word('addi', { rd: 10, rs1: 10, imm: 0x123 }), word('ecall'));
    code.moveTo(CODE + 3 * PAGE);
    for (let n = 0; n < this.#size.blocks; n++) {
      for (const kind of KINDS) {
        const page = code.address;
        const crosses = n % 2 === 0;
        const block = new Block(this.#random, code, this.#setting(kind, crosses), this.#used);
        block.fill(this.#size.statements, () => code.address < page + BLOCK_ROOM);
        code.add(undefined, word('jal', { rd: 0, imm: page + EXIT_OFFSET - code.address }));
        leave(page);
        this.#executed += block.executed;
        this.#placed.push({ kind, address: page, crosses });
      }
    }
  }

  #setting(kind: Kind, crosses: boolean): BlockSetting {
    const extras: Record<Kind, readonly ((block: Block) => void)[]> = {
      user: [(block) => this.#useDoor(block), (block) => this.#userMemory(block)],
      supervisor: [
        (block) => this.#useDoor(block),
        (block) => this.#switchSpace(block),
        (block) => this.#editEntry(block),
        (block) => this.#editEntry(block),
        (block) => this.#userMemory(block),
      ],
      lent: [(block) => this.#lendPrivilege(block)],
    };
    return {
      kind,
      pointer: (random) => this.#pointer(random, kind, crosses),
      csrs: kind === 'supervisor' ? supervisorCsrs : userCsrs,
      extras: extras[kind],
      extraRate: 8,
    };
  }

  #pointer(random: Random, kind: Kind, crosses: boolean): Pointer {
    if (kind !== 'lent' && random.below(3) === 0) {
      const home = kind === 'user' ? USER_HOME : HOME;
      if (random.below(2) === 0) {
        return { value: home + BigInt(CONSTANTS + 2048), low: -2048, high: 2040, readOnly: true };
      }
      const room = (16 - RISKED_PAGES) * PAGE - 4096;
      const value =
        home + BigInt(SCRATCH + RISKED_PAGES * PAGE + 2048 + (random.below(room) & (random.below(3) === 0 ? -1 : -8)));
      return { value, low: -2048, high: 2040 };
    }
    const value = this.#riskyAddress(random, crosses);
    // Around the boundary, or well inside.
    return crosses ? { value, low: -24, high: 24 } : { value, low: 0, high: 32 };
  }

  /** An address that a risk maps, or its neighbour. */
  #riskyAddress(random: Random, crosses: boolean): bigint {
    const { va, level } = random.pick(this.#risks);
    const page = va + scratchOffset(level) + (level === 0 ? 0n : BigInt(PAGE * random.below(RISKED_PAGES)));
    const offset = crosses ? random.pick([0, 0, 4096 - 8, 4096 - 4, 4096 - 3, 8]) : random.pick([64, 128, 512, 2048]);
    return BigInt.asUintN(64, page + BigInt(offset));
  }

  /** A jump through a door; x1 is the way back. */
  #useDoor(block: Block): void {
    const { random } = block;
    const register = block.someWritable();
    const door = random.pick(this.#doors) + BigInt(random.pick([0xffc, 0xffe, 0xffe, 0x1002]));
    const target = random.below(6) === 0 ? random.pick(NOWHERE) : door;
    block.loadImmediate(register, target);
    block.emit('jalr', { rd: 1, rs1: register, imm: 0 });
  }

  /** U-mode's own memory from S-mode under SUM, and S-mode's from U-mode. */
  #userMemory(block: Block): void {
    const { random } = block;
    const register = block.someWritable();
    block.loadImmediate(
      register,
      random.pick([HOME, USER_HOME]) + BigInt(SCRATCH + RISKED_PAGES * PAGE + 8 * random.below(1000)),
    );
    if (random.below(2) === 0) block.emit('ld', { rd: block.someWritable(), rs1: register, imm: 0 });
    else block.emit('sd', { rs1: register, rs2: random.below(32), imm: 0 });
  }

  #switchSpace(block: Block): void {
    const { random } = block;
    block.writeCsr('csrrw', 0x180, random.pick(this.#spaces).satp, random.below(2) === 0 ? 0 : block.someWritable());
  }

  /** Changes a risk's entry in some space, fences as narrowly as the manual allows, and looks. */
  #editEntry(block: Block): void {
    const { random } = block;
    const { risk, space, entry } = this.#someEntry();
    const at = block.someWritable();
    const pte = block.another(at);
    const base = block.another(at, pte);
    block.loadImmediate(at, HOME + BigInt(entry));
    block.loadImmediate(pte, randomPte(random, risk.level, this.#empty));
    const va = BigInt.asUintN(64, risk.va + scratchOffset(risk.level) + 64n);
    block.loadImmediate(base, va);
    if (random.below(3) === 0) block.emit('ld', { rd: block.another(at, pte, base), rs1: base, imm: 0 });
    block.emit('sd', { rs1: at, rs2: pte, imm: 0 });
    const asid = at;
    block.loadImmediate(asid, BigInt(space.asid));
    const [rs1, rs2] = random.pick([
      [0, 0],
      [base, 0],
      [0, asid],
      [base, asid],
      [base, asid],
    ] as const);
    if (random.below(3) === 0) {
      block.emit('sfence.w.inval', {});
      block.emit('sinval.vma', { rs1, rs2 });
      block.emit('sfence.inval.ir', {});
    } else block.emit('sfence.vma', { rs1, rs2 });
    for (let n = 0; n < 2; n++) {
      const [rd, source] = [block.another(base), random.below(32)];
      const kind = random.below(4);
      if (kind < 2) block.emit(random.pick(['ld', 'lw', 'lhu']), { rd, rs1: base, imm: 0 });
      else if (kind === 2) block.emit(random.pick(['sd', 'sb']), { rs1: base, rs2: source, imm: 0 });
      else block.emit('amoadd.w', { rd, rs1: base, rs2: source });
    }
  }

  /** In M-mode: memory with the rights of another level (MPRV). */
  #lendPrivilege(block: Block): void {
    const level = block.random.pick([0n, 0x800n, 0x800n]);
    block.writeCsr('csrrc', 0x300, 0x1800n);
    block.writeCsr('csrrs', 0x300, level | (block.random.below(5) === 0 ? 0n : 0x2_0000n));
    block.writeCsr(block.random.pick(['csrrs', 'csrrc']), 0x300, block.random.pick([0x4_0000n, 0x8_0000n]));
  }

  #someEntry(): { risk: Risk; space: Space; entry: number } {
    for (;;) {
      const risk = this.#random.pick(this.#risks);
      const number = this.#random.below(SPACES);
      const entry = risk.entries[number];
      if (entry !== undefined) return { risk, space: defined(this.#spaces[number], 'a space'), entry };
    }
  }

  #scenes(): Uint8Array {
    const bytes = new Uint8Array(SCENE_BYTES * this.#size.scenes);
    const view = new DataView(bytes.buffer);
    let protection = '';
    for (let n = 0; n < this.#size.scenes; n++) {
      const put = (cell: keyof typeof SCENE_CELLS, value: bigint | number, index = 0): void => {
        view.setBigUint64(SCENE_BYTES * n + SCENE_CELLS[cell] + 8 * index, BigInt.asUintN(64, BigInt(value)), true);
      };
      protection = this.#scene(put, protection);
    }
    return bytes;
  }

  #scene(
    put: (cell: keyof typeof SCENE_CELLS, value: bigint | number, index?: number) => void,
    lastProtection: string,
  ): string {
    const random = this.#random;
    const isProtected = random.below(4) === 0;
    const block = random.pick(this.#placed.filter((placed) => !isProtected || !placed.crosses));
    const distance = block.kind === 'lent' ? 0n : HOME;
    const space = random.pick(this.#spaces);
    put('entry', BigInt(block.address) + distance);
    put('delta', distance);
    put('supervisorHandler', BigInt(CODE) + HOME);
    put('supervisorReturn', BigInt(CODE + 4) + HOME);
    put('satp', space.satp);
    const status = this.#status(block.kind);
    put('status', status);
    put('medeleg', block.kind === 'lent' || random.below(3) === 0 ? 0 : delegation(random));
    put('mideleg', random.bits32() & 0x222);
    put('mie', random.bits32() & 0x222);
    // Where sret is forbidden, the first of several interrupts ends the scene; QEMU 7.2 takes them in another order.
    put('mip', random.below(3) === 0 && (status & TSR) === 0n ? random.bits32() & 0x222 : 0);
    put('counters', (BigInt(random.below(8)) << 32n) | BigInt(random.below(8)));
    // QEMU 7.2 takes no notice of ADUE and PBMTE: A and D are written by hardware, and memory types are always known.
    const environment = (3n << 61n) | BigInt(random.below(2));
    put('menvcfg', environment);
    const regions = isProtected ? this.#randomRegions() : [];
    const entries = [...this.#fixedRegions(), ...regions];
    let configuration = 0n;
    for (let index = 0; index < 7; index++) {
      const region = entries[index];
      if (region === undefined) continue;
      put('pmpaddr', region.address, index);
      configuration |= BigInt(region.configuration) << BigInt(8 * index);
    }
    // The last one allows what is left.
    put('pmpaddr', (1n << 54n) - 1n, 7);
    configuration |= 0x1fn << 56n;
    put('pmpcfg', configuration);
    const protection = entries.map((region) => `${region.address}:${region.configuration}`).join(' ');
    const edits = random.below(3) === 0 ? 1 + random.below(SCENE_EDITS) : 0;
    let fence = edits > 1 ? 1 : 0;
    for (let index = 0; index < edits; index++) {
      const edit = this.#someEntry();
      put('edits', edit.entry, 2 * index);
      put('edits', randomPte(random, edit.risk.level, this.#empty), 2 * index + 1);
      if (edits > 1) continue;
      fence = 1 + random.below(4);
      // Any address that the entry maps.
      const span = (1n << BigInt(12 + 9 * edit.risk.level)) - 1n;
      put('fenceAddress', edit.risk.va + (random.bits64() & span & 0xffff_ffff_ffffn));
      put('fenceSpace', edit.space.asid);
    }
    put('fence', protection === lastProtection ? fence : 1);
    return protection;
  }

  #status(kind: Kind): bigint {
    const random = this.#random;
    const level = { user: 0n, supervisor: 0x800n, lent: 0x1800n }[kind];
    const float = random.below(12) === 0 ? 0n : 0x6000n;
    const lent = kind === 'lent' ? 0x2_0000n : 0n;
    const some = BigInt(random.bits32()) & (0xc_0022n | 0x100n | (random.below(4) === 0 ? 0x70_0000n : 0n));
    return level | float | lent | some;
  }

  /** The runtime and the log are nobody's; the code may be read and executed. */
  #fixedRegions(): Region[] {
    return [napot(RUNTIME, 0x8000, 0), napot(LOG, LOG_END - LOG, 0), napot(CODE, 0x10_0000, 5)];
  }

  #randomRegions(): Region[] {
    const random = this.#random;
    const rights = (): number => random.pick([0, 1, 3, 4, 5, 7]);
    const size = random.pick([0x1000, 0x2000, 0x4000]);
    const base = SCRATCH + size * random.below(Math.floor((RISKED_PAGES * PAGE) / size));
    // Not one that may be read alone: QEMU 7.2 writes A and D there all the same.
    const table = random.pick(this.#riskedTables);
    const bottom = SCRATCH + PAGE * random.below(RISKED_PAGES);
    const top = Math.min(bottom + PAGE * random.below(4), SCRATCH + RISKED_PAGES * PAGE);
    const regions = [
      napot(base, size, rights()),
      ...(random.below(4) === 0 ? [napot(table, PAGE, 0)] : []),
      { address: BigInt(bottom) >> 2n, configuration: rights() },
      { address: BigInt(top) >> 2n, configuration: rights() | 8 },
    ];
    return regions.slice(0, 4);
  }
}

/** medeleg: never ecall from S-mode, by which the handler there calls the runtime; load and store access faults alike, as AMOs tell them apart. */
function delegation(random: Random): number {
  const some = random.bits32() & 0xb17f;
  return some | ((some & 0x20) << 2);
}

interface Region {
  readonly address: bigint;
  readonly configuration: number;
}

function napot(base: number, size: number, rights: number): Region {
  return { address: (BigInt(base) >> 2n) | (BigInt(size) / 8n - 1n), configuration: rights | 0x18 };
}

function describeScene(scenes: Uint8Array, offset: number): string {
  const view = new DataView(scenes.buffer);
  const cells = Object.entries(SCENE_CELLS).filter(([name]) => !name.startsWith('pmp') && name !== 'edits');
  const text = cells.map(([name, at]) => `${name} ${hex(view.getBigUint64(offset + at, true))}`).join(', ');
  const list = (from: number, count: number): string =>
    Array.from({ length: count }, (_, index) => hex(view.getBigUint64(offset + from + 8 * index, true))).join(' ');
  return `  scene at ${hex(SCENES + offset)}: ${text}, pmpcfg ${list(SCENE_CELLS.pmpcfg, 1)}, pmpaddr ${list(SCENE_CELLS.pmpaddr, 8)}, edits ${list(SCENE_CELLS.edits, 2 * SCENE_EDITS)}`;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

function shuffled(random: Random, list: number[]): number[] {
  for (let n = list.length - 1; n > 0; n--) {
    const other = random.below(n + 1);
    [list[n], list[other]] = [list[other] as number, list[n] as number];
  }
  return list;
}
