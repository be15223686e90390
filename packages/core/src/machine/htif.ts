/**
 * HTIF, the host-target interface of Spike and riscv-tests: a bare program talks to its host through two 64-bit words in its own memory,
 * `tohost` and `fromhost`. There is no specification; the convention is that of Spike's `fesvr`:
 *
 *     tohost   [63:56] device   [55:48] command   [47:0] payload        written by the program, cleared when taken
 *     device 0 (system), command 0: odd payload   the program ends with exit code payload >> 1
 *                                   even payload  address of a system call: 8 words, number first; the result replaces the number
 *     device 1 (console), command 1: the character to write; command 0: one character is wanted, and comes in `fromhost`
 *
 * The machine's run loop calls `poll` after every slice of execution: nothing is watched, so a store to `tohost` costs a program nothing
 * and the machine nothing but two loads per slice.
 */

import { type GuestPhysical, guestPhysical } from '../base/numbers.ts';
import type { ByteSink } from '../base/ports.ts';
import { SavedReader } from '../base/saved.ts';
import type { Saved } from '../base/saved.ts';
import type { Device, FaultSink, GuestMemory } from './device.ts';
import type { EndingListener } from './ending.ts';
import type { HtifSymbols } from './loader/boot-plan.ts';

const SYSTEM = 0;
const SYSTEM_CALL = 0;
const CONSOLE = 1;
const CONSOLE_READ = 0;
const CONSOLE_WRITE = 1;
/** Marks a character that was read, so that NUL is not nothing. */
const CHARACTER_PRESENT = 0x100;

/** The system calls of the RISC-V Linux ABI that riscv-tests' benchmarks make. */
const SYS_WRITE = 64;
const SYS_EXIT = 93;
const ENOSYS = -38;
const EFAULT = -14;
/** Bytes that one system call writes at most. */
export const MAXIMUM_WRITE_BYTES = 64 * 1024;
/** Characters that a program may have asked for and not yet got. */
export const MAXIMUM_READS = 16;

export interface HtifPorts {
  readonly memory: GuestMemory;
  readonly output: ByteSink;
  /** The next byte of input; undefined when there is none. */
  readonly input: () => number | undefined;
  readonly ended: EndingListener;
  readonly faults: FaultSink;
}

export class Htif implements Device {
  readonly name: string;
  readonly #symbols: HtifSymbols;
  readonly #ports: HtifPorts;
  #readsWanted = 0;

  constructor(symbols: HtifSymbols, ports: HtifPorts) {
    this.name = `htif@${symbols.tohost.toString(16)}`;
    this.#symbols = symbols;
    this.#ports = ports;
  }

  /** Where it is, as plain data. */
  get place(): Saved {
    const { tohost, fromhost = null } = this.#symbols;
    return { tohost, fromhost };
  }

  reset(): void {
    this.#readsWanted = 0;
  }

  save(): Saved {
    return { readsWanted: this.#readsWanted };
  }

  restore(state: Saved): void {
    this.#readsWanted = new SavedReader(state, this.name).field('readsWanted').integer(0, MAXIMUM_READS);
  }

  /** Takes what the program has written since the last time, and gives it what it waits for. */
  poll(): void {
    const { memory } = this.#ports;
    const { tohost } = this.#symbols;
    const low = memory.load32(tohost) ?? 0;
    const high = memory.load32(tohost + 4) ?? 0;
    if (low !== 0 || high !== 0) this.#take(high >>> 24, (high >>> 16) & 0xff, (high & 0xffff) * 2 ** 32 + low);
    if (this.#readsWanted > 0) this.#answerRead();
  }

  #take(device: number, command: number, payload: number): void {
    if (device === SYSTEM && command === SYSTEM_CALL && payload % 2 === 0) {
      // The answer needs `fromhost`: until the program has emptied that, the call waits in `tohost`.
      if (!this.#fromhostFree()) return;
      this.#clear();
      this.#systemCall(payload);
      return;
    }
    this.#clear();
    if (device === SYSTEM && command === SYSTEM_CALL) {
      this.#end(Math.floor(payload / 2));
    } else if (device === CONSOLE && command === CONSOLE_WRITE) {
      this.#ports.output.write(Uint8Array.of(payload % 256));
    } else if (device === CONSOLE && command === CONSOLE_READ) {
      if (this.#symbols.fromhost === undefined) this.#fault('the program wants to read and has no fromhost');
      else if (this.#readsWanted === MAXIMUM_READS)
        this.#fault(`more than ${MAXIMUM_READS} characters are wanted at once`);
      else this.#readsWanted++;
    } else {
      this.#fault(`device ${device} has no command ${command}`);
    }
  }

  #systemCall(address: number): void {
    const { memory } = this.#ports;
    if (!memory.contains(address, 64)) return this.#fault('a system call is outside memory');
    const [number = 0, buffer = 0, size = 0] = [0, 16, 24].map((offset) => memory.load64(address + offset));
    if (number === SYS_EXIT) return this.#end(memory.load32(address + 8) ?? 0);
    const result = number === SYS_WRITE ? this.#write(buffer, size) : ENOSYS;
    const { fromhost } = this.#symbols;
    if (fromhost === undefined) return this.#fault('the program makes a system call and has no fromhost');
    storeSigned(memory, address, result);
    storeSigned(memory, fromhost, 1);
  }

  #write(address: number, size: number): number {
    const { memory, output } = this.#ports;
    if (!memory.contains(address, size)) return EFAULT;
    const bytes = new Uint8Array(Math.min(size, MAXIMUM_WRITE_BYTES));
    memory.read(address, bytes);
    output.write(bytes);
    return bytes.length;
  }

  #answerRead(): void {
    const { fromhost } = this.#symbols;
    if (fromhost === undefined || !this.#fromhostFree()) return;
    const byte = this.#ports.input();
    if (byte === undefined) return;
    this.#readsWanted--;
    const { memory } = this.#ports;
    memory.store32(fromhost, CHARACTER_PRESENT | byte);
    memory.store32(fromhost + 4, (CONSOLE << 24) | (CONSOLE_READ << 16));
  }

  #end(code: number): void {
    this.#ports.ended(code === 0 ? { kind: 'poweroff' } : { kind: 'failure', code });
  }

  #fromhostFree(): boolean {
    const { fromhost } = this.#symbols;
    if (fromhost === undefined) return true;
    const { memory } = this.#ports;
    return memory.load32(fromhost) === 0 && memory.load32(fromhost + 4) === 0;
  }

  #clear(): void {
    storeSigned(this.#ports.memory, this.#symbols.tohost, 0);
  }

  #fault(reason: string): void {
    this.#ports.faults.report(this.name, reason);
  }
}

/** A 64-bit store of a small number. */
function storeSigned(memory: GuestMemory, address: number | GuestPhysical, value: number): void {
  memory.store32(address, value >>> 0);
  memory.store32(address + 4, value < 0 ? 0xffff_ffff : 0);
}

/** Where a machine that was saved has it. */
export function savedHtif(reader: SavedReader): HtifSymbols {
  const fromhost = reader.field('fromhost');
  return {
    tohost: guestPhysical(reader.field('tohost').integer()),
    fromhost: fromhost.raw() === null ? undefined : guestPhysical(fromhost.integer()),
  };
}
