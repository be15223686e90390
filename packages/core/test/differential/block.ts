/**
 * A block of random instructions. It runs from its first to its last instruction whatever the operands are: branches and jumps go forward
 * or around a loop with a counter of its own, addresses come from *pointer* registers that nothing else in the block writes, and
 * what traps is skipped by the handler of runtime.ts.
 */

import type { Random } from '../../src/engine/float/testing/vectors.ts';
import { decode } from '../../src/isa/decode.ts';
import { withField } from '../../src/isa/encoding.ts';
import type { Instruction } from '../../src/isa/instruction.ts';
import { instructions } from '../../src/isa/instructions.ts';
import { type CodeBuilder, addressOf } from './code-builder.ts';
import { type CsrChoice, ABSENT_CSRS } from './csr-choices.ts';
import { randomWord, writesStackPointer } from './operands.ts';
import { COMPRESSED_REGISTERS, Sequence, flowOf, isMemory, named, range } from './sequence.ts';
import { interestingValue } from './values.ts';

/** Where and how a block runs: what its generator may use. */
export interface BlockSetting {
  /** `machine` has physical addresses; the others run in scenes. */
  readonly kind: 'machine' | 'supervisor' | 'user' | 'lent';
  /** An address to point at, and how far below and above it accesses may reach. */
  readonly pointer: (random: Random) => Pointer;
  readonly csrs: readonly CsrChoice[];
  /** Sequences that only this kind of program has, by chance. */
  readonly extras: readonly ((block: Block) => void)[];
  /** One statement in so many is an extra. */
  readonly extraRate: number;
}

export interface Pointer {
  readonly value: bigint;
  /** Offsets that are harmless. */
  readonly low: number;
  readonly high: number;
  /** Loads only. */
  readonly readOnly?: boolean;
}

/** x1 links jumps to nowhere. */
const LINK = 1;
const NEVER_WRITABLE = new Set([0, LINK]);
const MAX_LOOP_ITERATIONS = 5;
const MAX_NESTING = 2;
const POINTERS = 4;

const SATP = 0x180;

function isStore(entry: Instruction): boolean {
  const full = entry.expansion === undefined ? entry : named(entry.expansion.name);
  return !/^(l[bhwd]u?|fl[wd])$/.test(full.name);
}

export class Block extends Sequence {
  readonly setting: BlockSetting;
  readonly #pointers = new Map<number, Pointer>();
  readonly #counters: number[] = [];
  #nesting = 0;
  /** In a machine program: M-mode is left until the block's end. */
  hasDropped = false;

  constructor(random: Random, code: CodeBuilder, setting: BlockSetting, used: Map<string, number>) {
    super(random, code, used);
    this.setting = setting;
    const registers = [
      2,
      ...pickSome(random, COMPRESSED_REGISTERS, 2),
      ...pickSome(random, range(3, 32), POINTERS - 2),
    ];
    for (const register of random.below(2) === 0 ? registers : registers.slice(1)) this.#point(register);
  }

  get writable(): number[] {
    return range(0, 32).filter(
      (register) =>
        !NEVER_WRITABLE.has(register) && !this.#pointers.has(register) && !this.#counters.includes(register),
    );
  }

  /** Random statements until `count` are made or `hasRoom` says stop. */
  fill(count: number, hasRoom: () => boolean): void {
    for (let n = 0; n < count && hasRoom(); n++) this.statement();
  }

  statement(): void {
    const { random, setting } = this;
    if (setting.extras.length > 0 && random.below(setting.extraRate) === 0) {
      this.grouped(() => random.pick(setting.extras)(this));
      return;
    }
    switch (random.below(24)) {
      case 0:
        this.#loop();
        return;
      case 1:
      case 2:
        this.#forward();
        return;
      case 3:
        // No item: what follows relies on the pointer.
        this.#point(this.#somePointer());
        return;
      case 4:
        this.grouped(() => this.loadImmediate(this.someWritable(), interestingValue(random)));
        return;
      case 5:
      case 6:
      case 7:
        this.grouped(() => this.#entry(random.pick(memoryEntries)));
        return;
      case 8:
      case 9:
      case 10:
        this.grouped(() => this.#entry(random.pick(floatEntries)));
        return;
      case 11:
        this.grouped(() => this.#reservation());
        return;
      case 12:
        if (random.below(3) === 0) this.grouped(() => this.#illegal());
        return;
      case 13:
        if (random.below(3) === 0) this.grouped(() => this.#function());
        return;
      case 14:
        this.grouped(() => this.#freshConstant());
        return;
      default:
        this.grouped(() => this.#entry(random.pick(instructions)));
    }
  }

  /** Inside a loop, or where a branch may skip. */
  get isNested(): boolean {
    return this.#nesting > 0;
  }

  #entry(entry: Instruction): void {
    // Where QEMU does not know it, only M-mode's handler can do it.
    if (entry.extension === 'Zicond' && this.setting.kind !== 'machine') return;
    if (entry.extension === 'Zicsr') this.#csr(entry);
    else if (flowOf(entry) === 'system' || entry.extension === 'Zawrs') this.#system(entry);
    else if (flowOf(entry) !== undefined) this.#forwardBy(entry);
    else if (/^(lr|sc)\./.test(entry.name)) this.#reservation();
    else if (isMemory(entry)) this.#memory(entry);
    else if (entry.name === 'ctzw') {
      // QEMU 7.2 counts on into the upper word when the lower one is zero; the manual's answer is 32.
      const register = this.someWritable();
      this.emit('ori', { rd: register, rs1: this.random.below(32), imm: 2 ** this.random.below(11) });
      this.emit('ctzw', { rd: this.someWritable(), rs1: register });
    } else {
      if (writesStackPointer(entry) && !this.writable.includes(2)) return;
      const word = randomWord({ random: this.random, writable: this.writable }, entry);
      if (word === undefined) return;
      this.placeEntry(entry, word);
    }
  }

  #csr(entry: Instruction): void {
    const { random } = this;
    if (random.below(8) === 0) {
      // A CSR that nobody has.
      const word = randomWord({ random, writable: this.writable }, entry, { csr: random.pick(ABSENT_CSRS) });
      if (word !== undefined) {
        this.placeEntry(entry, word);
      }
      return;
    }
    const choice = random.pick(this.setting.csrs);
    // Below M-mode a random satp would end the program.
    if (choice.number === SATP && this.hasDropped) return;
    const operation = entry.name.slice(0, 5);
    const isReadOnly = choice.number >> 10 === 3;
    const rd = random.below(6) === 0 ? 0 : this.someWritable();
    const isImmediate = entry.name.endsWith('i');
    const writes = choice.operations.includes(operation);
    if (!writes && !isReadOnly) {
      this.emit(random.pick(['csrrs', 'csrrc']), { rd, csr: choice.number, rs1: 0 });
    } else if (isImmediate) {
      const zimm = random.below(32);
      if ((BigInt(zimm) & ~choice.mask) !== 0n) return;
      this.emit(entry.name, { rd, csr: choice.number, zimm });
    } else {
      const register = this.another(rd);
      // A read-only CSR's bits cannot even be set or cleared by zero (Zicsr); QEMU 7.2 lets that pass.
      const value = (choice.value?.(random) ?? interestingValue(random)) & choice.mask;
      this.loadImmediate(register, isReadOnly && value === 0n ? 1n : value);
      this.emit(entry.name, {
        rd,
        csr: choice.number,
        rs1: random.below(8) === 0 && operation !== 'csrrw' ? 0 : register,
      });
    }
    // What was read is no two machines' same.
    if (choice.isOpaque === true && rd !== 0) this.emit('addi', { rd, rs1: 0, imm: 0 });
  }

  #system(entry: Instruction): void {
    const { random, setting } = this;
    switch (entry.name) {
      case 'mret':
        if (setting.kind === 'machine') this.#machineReturn();
        else if (setting.kind !== 'lent') this.emit('mret', {});
        return;
      case 'sret':
        if (setting.kind === 'supervisor') this.#supervisorReturn();
        else if (setting.kind === 'user') this.emit('sret', {});
        return;
      case 'wfi':
        if (setting.kind === 'user') this.emit('wfi', {});
        else if (setting.kind === 'machine' && !this.hasDropped) this.#wait();
        return;
      case 'wrs.nto':
      case 'wrs.sto':
        if (setting.kind === 'machine') this.emit(entry.name, {});
        return;
      case 'sfence.w.inval':
      case 'sfence.inval.ir':
        // Illegal in U-mode (Svinval), but not for QEMU 7.2.
        if (this.hasDropped || setting.kind === 'user') return;
        this.emit(entry.name, {});
        return;
      default: {
        const word = randomWord({ random, writable: this.writable }, entry);
        if (word === undefined) return;
        this.placeEntry(entry, word);
      }
    }
  }

  /** mret to the next instruction, in M-mode. */
  #machineReturn(): void {
    const next = this.code.label();
    const register = this.someWritable();
    this.loadAddress(register, next);
    this.emit('csrrw', { rd: 0, csr: 0x341, rs1: register });
    this.writeCsr('csrrs', 0x300, 0x1800n);
    this.emit('mret', {});
    this.code.place(next);
  }

  #supervisorReturn(): void {
    const next = this.code.label();
    const register = this.someWritable();
    const level = this.someWritable();
    this.loadImmediate(level, 0x100n);
    this.emit(this.random.below(6) === 0 ? 'csrrc' : 'csrrs', { rd: 0, csr: 0x100, rs1: level });
    this.loadAddress(register, next);
    this.emit('csrrw', { rd: 0, csr: 0x141, rs1: register });
    this.emit('sret', {});
    this.code.place(next);
  }

  /** WFI with an interrupt pending and enabled, but not taken. */
  #wait(): void {
    this.emit('csrrci', { rd: 0, csr: 0x300, zimm: 8 });
    this.emit('csrrsi', { rd: 0, csr: 0x304, zimm: 2 });
    this.emit('csrrsi', { rd: 0, csr: 0x344, zimm: 2 });
    this.emit('wfi', {});
  }

  #memory(entry: Instruction): void {
    const { random } = this;
    const isCache = entry.extension === 'Zicbom' || entry.extension === 'Zicboz';
    if (isCache && (this.setting.kind !== 'machine' || this.hasDropped)) return;
    const { fields } = entry.encoding;
    const implied = /\(x2\)/.test(entry.syntax);
    const candidates = [...this.#pointers].filter(([register, pointer]) => {
      if (pointer.readOnly === true && isStore(entry)) return false;
      // The handler does cache blocks itself, so they must not fault.
      if (isCache && !isRoomy(pointer)) return false;
      if (implied) return register === 2;
      return fields.has("rs1'") ? COMPRESSED_REGISTERS.includes(register) : true;
    });
    if (candidates.length === 0) return;
    const [register, pointer] = random.pick(candidates);
    const immediate = fields.get('imm') ?? fields.get('uimm');
    const offset =
      immediate === undefined
        ? 0
        : offsetNear(random, pointer, (value) => withField(immediate, 0, value) !== undefined);
    if (offset === undefined) return;
    const fixed: Record<string, number> = implied ? {} : fields.has("rs1'") ? { "rs1'": register } : { rs1: register };
    if (immediate !== undefined) fixed[immediate.name] = offset;
    const word = randomWord({ random, writable: this.writable }, entry, fixed);
    if (word === undefined) return;
    this.placeEntry(entry, word);
  }

  /** lr, a little in between, sc to the same place (seldom another). */
  #reservation(): void {
    const { random } = this;
    const width = random.pick(['w', 'd']);
    const usable = [...this.#pointers].filter(
      ([, pointer]) => pointer.readOnly !== true && pointer.low <= -8 && pointer.high >= 8,
    );
    if (usable.length === 0) return;
    const [base, pointer] = random.pick(usable);
    const order = (): { aq: number; rl: number } => ({ aq: random.below(2), rl: random.below(2) });
    const misaligned = Number(pointer.value & (width === 'w' ? 3n : 7n)) !== 0;
    this.emit(`lr.${width}`, { rd: this.someWritable(), rs1: base, ...order() });
    // QEMU looks for the reservation before it looks at the address, so an sc that cannot succeed never traps there: none where it would.
    if (misaligned || !isRoomy(pointer)) return;
    this.plain(random.below(4));
    if (random.below(6) === 0)
      this.emit(`s${width}`, { rs1: base, rs2: random.below(32), imm: random.pick([0, 0, -8, 8]) });
    const times = random.below(4) === 0 ? 2 : 1;
    for (let n = 0; n < times; n++)
      this.emit(`sc.${width}`, { rd: this.someWritable(), rs1: base, rs2: random.below(32), ...order() });
  }

  #illegal(): void {
    const { random } = this;
    for (let attempt = 0; attempt < 200; attempt++) {
      const short = random.below(4) === 0;
      let word = short ? random.below(0x1_0000) : (random.bits32() | 3) >>> 0;
      if (short && (word & 3) === 3) word &= 0xfffc;
      // Another machine may know more opcodes than we do: these are free in all.
      const opcode = word & 0x7f;
      const isKnownToNobody =
        short ||
        opcode === 0x0b ||
        opcode === 0x2b ||
        opcode === 0x33 ||
        opcode === 0x3b ||
        opcode === 0x53 ||
        opcode === 0x63 ||
        opcode === 0x73 ||
        opcode === 0x1b ||
        opcode === 0x23;
      if (!isKnownToNobody || decode(word) !== undefined || RESERVED_FOR_US.has(word & 0xffff)) continue;
      this.place(word, short ? 2 : 4);
      return;
    }
  }

  /** A value from memory worth computing with, into an integer or float register. */
  #freshConstant(): void {
    const { random } = this;
    const readable = [...this.#pointers].filter(([, pointer]) => pointer.readOnly === true);
    if (readable.length === 0) {
      this.#entry(named(random.pick(['fmv.d.x', 'fmv.w.x'])));
      return;
    }
    const [base, pointer] = random.pick(readable);
    const offset = offsetNear(random, pointer, (value) => value % 8 === 0);
    if (offset === undefined) return;
    const name = random.pick(['fld', 'fld', 'flw', 'ld', 'lw']);
    const rd = name.startsWith('f') ? random.below(32) : this.someWritable();
    this.emit(name, { rd, rs1: base, imm: offset });
  }

  #loop(): void {
    const { random } = this;
    const free = this.writable;
    if (this.#nesting >= MAX_NESTING || free.length < 6) return;
    const counter = random.pick(free);
    const iterations = 1 + random.below(MAX_LOOP_ITERATIONS);
    const outerWeight = this.weight;
    const item = this.code.item();
    this.item = item;
    this.loadImmediate(counter, BigInt(iterations));
    this.item = undefined;
    const top = this.code.label();
    this.code.place(top);
    this.#counters.push(counter);
    this.#nesting++;
    this.weight *= iterations;
    for (let n = 1 + random.below(8); n > 0; n--) this.statement();
    this.#nesting--;
    this.item = item;
    if (COMPRESSED_REGISTERS.includes(counter) && random.below(2) === 0) {
      this.emit('c.addi', { rd: counter, imm: -1 });
      this.emit('bne', (address) => ({ rs1: counter, rs2: 0, imm: addressOf(top) - address }));
    } else {
      this.emit('addi', { rd: counter, rs1: counter, imm: -1 });
      const [name, rs1, rs2] = random.pick([
        ['bne', counter, 0],
        ['bne', 0, counter],
        ['blt', 0, counter],
        ['bltu', 0, counter],
      ] as const);
      this.emit(name, (address) => ({ rs1, rs2, imm: addressOf(top) - address }));
    }
    this.item = undefined;
    this.#counters.splice(this.#counters.indexOf(counter), 1);
    this.weight = outerWeight;
  }

  /** A branch or jump over some statements. */
  #forward(): void {
    const entry = this.random.pick(flowEntries);
    this.grouped(() => this.#forwardBy(entry));
  }

  #forwardBy(entry: Instruction): void {
    const { random } = this;
    const over = this.code.label();
    const full = entry.expansion === undefined ? entry : named(entry.expansion.name);
    const size = entry.encoding.bits === 16 ? 2 : 4;
    if (full.flow === 'indirect') {
      const register = entry.encoding.fields.has("rs1'") ? undefined : this.someWritable();
      if (register === undefined) return;
      const near = random.below(2) === 0 && size === 4;
      const spare = size === 4 ? random.below(2) : 0;
      if (near) {
        // A base that is not the target, and an offset; the lowest bit is cleared by the jump.
        const distance = random.pick([-2048, -1, 0, 1, 2046]);
        this.loadAddress(register, over, -distance + spare);
        this.emit(entry.name, { rd: this.#link(), rs1: register, imm: distance });
      } else {
        this.loadAddress(register, over, spare);
        this.emit(entry.name, size === 2 ? { rs1: register } : { rd: this.#link(), rs1: register, imm: 0 });
      }
    } else {
      // The registers are chosen with a distance that always fits; the true one comes when it is known.
      const word = randomWord({ random, writable: [this.#link()] }, entry, { imm: 4 });
      if (word === undefined) return;
      this.placeToward(entry, word, over);
    }
    this.#nesting++;
    this.within(undefined, () => {
      for (let n = random.below(5); n > 0; n--) this.statement();
    });
    this.#nesting--;
    this.code.place(over);
  }

  #link(): number {
    return this.random.below(3) === 0 ? 0 : this.someWritable();
  }

  /** A function that is jumped over, and two calls of it. */
  #function(): void {
    if (this.#nesting >= MAX_NESTING || this.writable.length < 8) return;
    const link = this.someWritable();
    const [body, over] = [this.code.label(), this.code.label()];
    this.emit('jal', (address) => ({ rd: 0, imm: addressOf(over) - address }));
    this.code.place(body);
    this.#counters.push(link);
    this.plain(1 + this.random.below(6));
    if (this.random.below(2) === 0) this.emit('jalr', { rd: 0, rs1: link, imm: 0 });
    else this.emit('c.jr', { rs1: link });
    this.code.place(over);
    for (let n = 0; n < 2; n++) {
      this.emit('jal', (address) => ({ rd: link, imm: addressOf(body) - address }));
      this.plain(this.random.below(3));
    }
    this.#counters.splice(this.#counters.indexOf(link), 1);
  }

  #somePointer(): number {
    const registers = [...this.#pointers.keys()];
    return registers.length === 0 ? this.someWritable() : this.random.pick(registers);
  }

  #point(register: number): void {
    const pointer = this.setting.pointer(this.random);
    // In a loop or behind a branch the register may hold the old pointer still: the new one must do for both.
    if (this.#nesting > 0) return;
    this.#pointers.set(register, pointer);
    this.loadImmediate(register, pointer.value);
  }

  /** A pointer register that has room on both sides. */
  roomyPointer(): [number, Pointer] | undefined {
    const found = [...this.#pointers].filter(([, pointer]) => pointer.readOnly !== true && isRoomy(pointer));
    return found.length === 0 ? undefined : this.random.pick(found);
  }
}

/** Low halves of the words by which programs talk to the handler. */
const RESERVED_FOR_US = new Set([0x200b, 0x300b]);

const memoryEntries = instructions.filter((entry) => isMemory(entry) && !/^(lr|sc)\./.test(entry.name));
const floatEntries = instructions.filter((entry) => entry.extension === 'F' || entry.extension === 'D');
const flowEntries = instructions.filter((entry) => ['branch', 'jump', 'indirect'].includes(flowOf(entry) ?? ''));

/** Surely mapped and accessible. */
const isRoomy = (pointer: Pointer): boolean => pointer.low <= -64 && pointer.high >= 64;

function offsetNear(random: Random, pointer: Pointer, fits: (value: number) => boolean): number | undefined {
  for (let attempt = 0; attempt < 12; attempt++) {
    const near = random.below(3) > 0;
    const low = near ? Math.max(pointer.low, -16) : pointer.low;
    const high = near ? Math.min(pointer.high, 16) : pointer.high;
    const value = low + random.below(high - low + 1);
    if (fits(value)) return value;
    const coarse = value & ~7;
    if (coarse >= pointer.low && fits(coarse)) return coarse;
  }
  return undefined;
}

function pickSome<T>(random: Random, from: readonly T[], count: number): T[] {
  return Array.from({ length: count }, () => random.pick(from));
}
