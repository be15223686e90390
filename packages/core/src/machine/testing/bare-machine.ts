/**
 * A machine that runs a small assembled program in M-mode from the first byte of RAM, as `--bios none` starts it. Time is the test's:
 * it stands still but for what `pace` adds at each look.
 */

import type { Allowance } from '../allowance.ts';
import type { BlockStore, Clock } from '../../base/ports.ts';
import { type Tier, onTier } from '../../engine/testing/tiers.ts';
import { assembleProgram } from '../../isa/assemble-program.ts';
import type { PortDescription } from '../virtio/console.ts';
import type { Payload } from '../loader/payload.ts';
import { buildElf } from '../loader/testing/payloads.ts';
import { Machine } from '../machine.ts';
import { DRAM_BASE } from '../memory-map.ts';
import type { MachineNetworkCard, MachineShare } from '../options.ts';
import { RecordedFaults } from './doubles.ts';

/** Moves by `paceNs` whenever somebody looks at it. */
export class PacedClock implements Clock {
  now = 0;
  paceNs = 0;

  monotonicNs(): number {
    this.now += this.paceNs;
    return this.now;
  }

  wallNs(): bigint {
    return BigInt(this.now);
  }
}

export interface BareMachine {
  readonly machine: Machine;
  readonly faults: RecordedFaults;
  readonly symbols: ReadonlyMap<string, bigint>;
  /** What came out of the serial line or HTIF. */
  output(): string;
  /** The doubleword at a label. */
  dword(label: string): bigint;
}

export interface BareOptions {
  readonly clock?: Clock;
  readonly memoryBytes?: number;
  readonly disk?: BlockStore;
  /** One on virtio-mmio. */
  readonly mmioDisk?: BlockStore;
  readonly consolePorts?: readonly PortDescription[];
  readonly networkCards?: readonly MachineNetworkCard[];
  readonly engine?: Tier;
  readonly harts?: number;
  readonly shares?: readonly MachineShare[];
  readonly allowance?: Allowance;
}

/** An ELF file of `text`; its labels `tohost` and `fromhost` are symbols. */
export function bareProgram(
  text: string,
  base: number = DRAM_BASE,
): {
  readonly payload: Payload;
  readonly symbols: ReadonlyMap<string, bigint>;
} {
  const { bytes, symbols } = assembleProgram(text, BigInt(base));
  const htif = Object.fromEntries([...symbols].filter(([name]) => name === 'tohost' || name === 'fromhost'));
  const file = buildElf({
    segments: [{ physical: base, content: bytes }],
    entry: BigInt(base),
    symbols: htif,
  });
  return { payload: { kind: 'kernel', name: 'program.elf', bytes: file }, symbols };
}

export async function bareMachine(text: string, options: BareOptions = {}): Promise<BareMachine> {
  const { payload, symbols } = bareProgram(text);
  const {
    clock = new PacedClock(),
    memoryBytes = 4 << 20,
    disk,
    mmioDisk,
    consolePorts,
    networkCards = [],
    engine,
    harts = 1,
    shares,
    allowance,
  } = options;
  const faults = new RecordedFaults();
  let output = '';
  let seed = 1;
  const machine = await Machine.create({
    memoryBytes,
    harts,
    clock,
    entropy: {
      fill(into) {
        for (const [index] of into.entries()) into[index] = (seed = (seed * 1103515245 + 12345) & 0x7fff_ffff) >>> 16;
      },
    },
    serialOutput: { write: (bytes) => void (output += String.fromCharCode(...bytes)) },
    faults,
    firmware: 'none',
    kernel: payload,
    disks: [
      ...(disk ? [{ store: disk, serial: 'bare' }] : []),
      ...(mmioDisk ? [{ store: mmioDisk, serial: 'mmio', bus: 'mmio' as const }] : []),
    ],
    ...(consolePorts ? { consolePorts } : {}),
    networkCards,
    ...(engine === undefined ? {} : onTier(engine)),
    ...(shares ? { shares } : {}),
    ...(allowance ? { allowance } : {}),
  });
  return {
    machine,
    faults,
    symbols,
    output: () => output,
    dword(label) {
      const bytes = new Uint8Array(8);
      machine.ram.read(Number(symbols.get(label)), bytes);
      return new DataView(bytes.buffer).getBigUint64(0, true);
    },
  };
}
