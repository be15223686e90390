/** What a machine is made of, and what its run loop says. */

import type { BlockStore, ByteSink, Clock, Entropy, Log } from '../base/ports.ts';
import type { FramePort } from '../base/frames.ts';
import type { EngineKind, EngineOptions } from '../engine/engine.ts';
import type { RegionCompiler } from '../engine/jit/batch.ts';
import { MAX_DOMAIN_BYTES, MAX_HARTS } from '../engine/layout.ts';
import type { Allowance } from './allowance.ts';
import type { FaultSink } from './device.ts';
import type { Ending } from './ending.ts';
import type { FileTree } from './fuse/file-tree.ts';
import type { Decompressor } from './loader/compressed-kernel.ts';
import type { Payload } from './loader/payload.ts';
import type { MachineDomain } from './machine-domain.ts';
import type { Machine } from './machine.ts';
import type { PcpuPort } from './pcpu.ts';
import type { PortDescription } from './virtio/console.ts';

export interface MachineDisk {
  readonly store: BlockStore;
  /** What the guest shows as the disk's serial number; at most 20 bytes count. */
  readonly serial: string;
  /** Where the guest finds it: PCI when absent; of virtio-mmio the disks take the slots from the first on, at most VIRTIO_MMIO_SLOTS. */
  readonly bus?: 'pci' | 'mmio';
  /** Whether a write is done before it is durable; the guest may choose otherwise. `writeback` when absent. */
  readonly cache?: 'writeback' | 'writethrough';
  /** Request queues, 1 to MAXIMUM_BLOCK_QUEUES; one for each hart when absent. */
  readonly queues?: number;
}

export interface MachineNetworkCard {
  /** 6 octets; looked at again whenever the card is reset. */
  readonly mac: Uint8Array;
  /** Where its cable ends. */
  readonly port: FramePort;
  /** Gets what goes through it: bytes of the frames that it sent and received. */
  readonly counts?: { bytes: number } | undefined;
}

/** A folder that the guest mounts by its tag (virtio-fs). */
export interface MachineShare {
  /** 1 to 36 bytes of UTF-8. */
  readonly tag: string;
  readonly tree: FileTree;
  /** The guest changes nothing there. Default false. */
  readonly readOnly?: boolean;
  /** The guest may hold back what it writes: faster, and others see it late. Default false. */
  readonly writeback?: boolean;
}

export interface MachineOptions {
  /** Size of RAM, a multiple of 4 KiB, from 1 MiB to MAXIMUM_MEMORY_BYTES. */
  readonly memoryBytes: number;
  /**
   * Size of the memory domain, for the machine and those that are forked from it, up to MAXIMUM_DOMAIN_BYTES; as much as the machine alone needs when
   * absent or less. What is not used costs addresses alone.
   */
  readonly domainBytes?: number;
  /** Where it is executed beside others that were started there; a domain of its own when absent. It says engine, compiler and number of harts. */
  readonly domain?: MachineDomain;
  /** What it may have of the host's processors together with others of its process, as a fork has; one of its own when absent. */
  readonly allowance?: Allowance;
  /** Of one in a domain: asked before each slice; false when there is no memory for it now, and it has to wait. */
  readonly mayRun?: (machine: Machine) => boolean;
  /** How many there are, 1 to MAXIMUM_HARTS; 1 when absent. */
  readonly harts?: number;
  /** Which tier runs the guest's instructions; `jit-eager` compiles everything at first sight, for tests. */
  readonly engine?: EngineKind;
  /** When code counts as hot; the engine's own numbers when absent. */
  readonly heat?: EngineOptions['heat'];
  /** Compiles hot code on another thread (`compileBatch` there); without it the machine does so between its slices. */
  readonly compiler?: RegionCompiler;
  /** Threads that execute the harts of a machine that has several; without it the machine's own thread does. */
  readonly pcpus?: PcpuPort;
  /** Where what was generated for other machines like this one may be found. */
  readonly interpreters?: EngineOptions['interpreters'];
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly log?: Log;
  readonly faults?: FaultSink;
  /** What the guest writes to its serial line. */
  readonly serialOutput: ByteSink;
  /** The serial line's input queue, full before, has room again. */
  readonly serialInputRoom?: () => void;
  readonly disks?: readonly MachineDisk[];
  readonly networkCards?: readonly MachineNetworkCard[];
  readonly shares?: readonly MachineShare[];
  /** Whether there is a balloon: memory that the guest does not need goes back to the memory domain. Default false. */
  readonly balloon?: boolean;
  /** Ports of the virtio console; without them there is no such device. */
  readonly consolePorts?: readonly PortDescription[];
  /** Nothing is loaded or started: memory and state come with `pages` and `restore`, and payloads only say what a reset would load. */
  readonly blank?: boolean;
  /** Our own SBI, nothing, or a firmware file. */
  readonly firmware: 'own' | 'none' | Payload;
  readonly kernel?: Payload;
  readonly initrd?: Payload;
  /** The kernel's command line. */
  readonly bootArguments?: string;
  /** For compressed kernels (EFI zboot). */
  readonly decompressor?: Decompressor;
  /** Frees the payloads' buffers as soon as they are loaded (their bytes are then empty): a machine that is used once and never reset. */
  readonly discardPayloads?: boolean;
}

/** Harts that one machine may have. */
export const MAXIMUM_HARTS: number = MAX_HARTS;
/** The largest memory domain. */
export const MAXIMUM_DOMAIN_BYTES: number = MAX_DOMAIN_BYTES;
/** RAM that fits a 32-bit memory domain beside its tables, rounded down to something people say. */
export const MAXIMUM_MEMORY_BYTES = 3 * 1024 ** 3 + 512 * 1024 ** 2;
export const MINIMUM_MEMORY_BYTES = 1024 ** 2;

/** What `run` left behind. */
export type Progress =
  /** There is more to execute. */
  | { readonly kind: 'busy' }
  /** Every hart waits; something is due after this many nanoseconds (Infinity: only a device can wake it). */
  | { readonly kind: 'idle'; readonly dueInNs: number }
  | { readonly kind: 'ended'; readonly ending: Ending };
