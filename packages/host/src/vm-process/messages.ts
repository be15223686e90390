/** What the daemon and a machine's process say to each other while it starts; afterwards it is asked through its socket like any other. */

import type { HowStarted, WireFailure } from '../control/operations.ts';
import type { MachineConfig } from '../machine-folder/config.ts';
import type { KeptPlace } from '../vm/kept-boot.ts';
import type { VMOptions } from '../vm/options.ts';

/** To the process, with the socket that it is to listen on. */
export interface StartMessage {
  readonly kind: 'start';
  /** The machine's. */
  readonly id: string;
  readonly folder: string;
  /** Where the process reaches that folder, of one that was started before anybody knew which it would be (places.ts). */
  readonly place?: string | undefined;
  /** What its vm.yaml says, where whoever starts it has read that already. */
  readonly config?: MachineConfig | undefined;
  readonly disks: readonly string[];
  /** The kept boot that it goes on from, instead of booting. */
  readonly kept?: KeptPlace | undefined;
  /** Whether it is not booted, but comes from another process. */
  readonly isArriving: boolean;
  /** Of one that comes: disks whose files that process has until it comes, by their number. */
  readonly absentDisks: Readonly<Record<number, { readonly sizeBytes: number; readonly discardBytes?: number }>>;
  /** The snapshot of the machine's own that it goes on from, instead of booting. */
  readonly snapshot?: string | undefined;
  /** What one with `overcommit` may have of memory at first. */
  readonly poolBytes?: number | undefined;
}

/** To a process that is to have a memory domain for machines of one trust label, with the socket that it is to listen on; they come by `join`. */
export interface DomainMessage {
  readonly kind: 'domain';
  readonly label: string;
  /** Where its machines lie. */
  readonly folder: string;
  /** All of its machines have so many processors, and that engine. */
  readonly cpus: number;
  readonly engine: 'interpreter' | 'jit' | undefined;
  /** Whether its machines may have network cards. */
  readonly hasNetwork: boolean;
  /** Of machines with `overcommit`, what they may have of memory together at first. */
  readonly poolBytes: number | undefined;
}

/** To a process that gets a StartMessage later: it makes ready for a machine that comes, or for one of that make which goes on from a kept boot. */
export interface SpareMessage {
  readonly kind: 'spare';
  readonly make?: MachineMake | undefined;
}

/** To a process that boots an image for nobody, so that machines of that make go on from there; it says `written`, and goes on when it is told so. */
export interface KeepMessage {
  readonly kind: 'keep';
  /** Of a machine that boots the same. */
  readonly folder: string;
  readonly make: MachineMake;
}

/** What shapes a machine, and the kept boot of such ones. */
export interface MachineMake {
  readonly shape: MachineShape;
  readonly kept: KeptPlace;
}

/** What of a machine's options is the same whosever it is. */
export type MachineShape = Pick<VMOptions, 'image' | 'cpus' | 'memory' | 'network' | 'engine' | 'kernelArguments'>;

/** To a process that has said that it is restored, or has written. */
export interface GoMessage {
  readonly kind: 'go';
}

export type ProcessMessage =
  /** It was told to be a spare one, and is. */
  | { readonly kind: 'ready' }
  /** It is ready to go on from the snapshot, and does so when it is told that this is what counts now. */
  | { readonly kind: 'restored' }
  /** The kept boot is written beside its place. */
  | { readonly kind: 'written'; readonly path: string }
  /** It runs, and can be asked. */
  | { readonly kind: 'started'; readonly how?: HowStarted | undefined }
  /** It does not, and has ended. */
  | { readonly kind: 'failed'; readonly failure: WireFailure };
