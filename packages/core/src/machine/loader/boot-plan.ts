/**
 * From files to a machine that can start: puts firmware, kernel, ramdisk and device tree into guest memory and says how the harts begin.
 * Three ways to boot:
 *
 *     own SBI         S-mode, at the kernel; the machine answers its SBI calls itself
 *     firmware FILE   M-mode, at the firmware, which finds the kernel through fw_dynamic info as on QEMU
 *     no firmware     M-mode, at the kernel itself (bare programs, xv6, riscv-tests)
 *
 * Everything is decided and checked here; a payload that does not fit or is not what it should be gives a LoadError.
 */

import { alignUp, guestPhysical } from '../../base/numbers.ts';
import type { GuestPhysical } from '../../base/numbers.ts';
import { DYNAMIC_INFO_ADDRESS, bootRomImage } from '../boot-rom.ts';
import type { InitrdRange } from '../fdt/machine-tree.ts';
import { elfRange, findSymbols, isElf, loadElf, parseElf, physicalOf } from './elf.ts';
import type { ElfFile } from './elf.ts';
import { KERNEL_ALIGNMENT, parseLinuxImage } from './linux-image.ts';
import { LoadError, loadBytes, range, requireMemory } from './payload.ts';
import type { BootMemory, LoadedRange, Payload } from './payload.ts';
import { initrdAddress, requireRoomForTree, treeAddress } from './placement.ts';

export interface BootRequest {
  readonly into: BootMemory;
  /** Our own SBI, a firmware file, or nothing below the kernel. */
  readonly firmware: 'own' | 'none' | Payload;
  /** Already unwrapped (`unwrapKernel`). Only with a firmware file may it be missing. */
  readonly kernel?: Payload;
  readonly initrd?: Payload;
  /** Gives the device tree of this machine, once it is known where the ramdisk is. */
  readonly tree: (initrd: InitrdRange | undefined) => Uint8Array;
  /** Takes a kernel for our own SBI that is neither Linux image nor ELF as a flat binary, instead of refusing it. */
  readonly allowFlatKernel?: boolean;
}

/** How the machine starts. */
export interface BootPlan {
  readonly mode: 'M' | 'S';
  /** The first instruction: of the kernel or the firmware. In M-mode the reset vector of `bootRom` leads there with the same registers. */
  readonly entry: GuestPhysical;
  /** Whether every hart starts there, or the first alone while the others wait for the SBI to start them. */
  readonly harts: 'all' | 'first';
  /** a0 is the hart's id; these are the same for every hart. */
  readonly a1: GuestPhysical;
  readonly a2: number;
  /** What belongs into the ROM at 0x1000; undefined when nothing does. */
  readonly bootRom: Uint8Array | undefined;
  readonly tree: { readonly address: GuestPhysical; readonly bytes: Uint8Array };
  readonly kernel: LoadedKernel | undefined;
  readonly initrd: InitrdRange | undefined;
}

export interface LoadedKernel extends LoadedRange {
  readonly entry: GuestPhysical;
  /** The symbols of a bare program that talks to its host through memory. */
  readonly htif: HtifSymbols | undefined;
}

export interface HtifSymbols {
  readonly tohost: GuestPhysical;
  readonly fromhost: GuestPhysical | undefined;
}

/** Loads everything and says how to start. Writes to guest memory; a machine whose boot threw LoadError must not be started. */
export function prepareBoot(request: BootRequest): BootPlan {
  const { into, firmware } = request;
  const { placement: ram } = into;
  const loadedFirmware = typeof firmware === 'object' ? loadFirmware(firmware, into) : undefined;
  const kernel = request.kernel === undefined ? undefined : loadKernel(request.kernel, request, loadedFirmware);
  const first = request.kernel ?? (typeof firmware === 'object' ? firmware : undefined);
  const used = kernel ?? loadedFirmware;
  if (first === undefined || used === undefined) {
    throw new LoadError('nothing-to-boot', undefined, 'there is neither a kernel nor firmware');
  }
  const end = Math.max(used.end, loadedFirmware?.end ?? 0);
  requireRoomForTree(first, end, ram);
  const initrd =
    request.initrd === undefined
      ? undefined
      : loadInitrd(request.initrd, { start: used.start, end: guestPhysical(end) }, into);

  const bytes = request.tree(initrd);
  const tree = { address: treeAddress(ram, bytes.length), bytes };
  loadBytes(first, bytes, tree.address, bytes.length, into);
  const common = { tree, kernel, initrd, a1: tree.address };
  if (firmware === 'own') {
    return { ...common, mode: 'S', entry: used.entry, harts: 'first', a2: 0, bootRom: undefined };
  }
  const entry = loadedFirmware?.entry ?? used.entry;
  const bootRom = bootRomImage({ firmware: entry, tree: tree.address, next: kernel?.entry ?? 0 });
  return { ...common, mode: 'M', entry, harts: 'all', a2: DYNAMIC_INFO_ADDRESS, bootRom };
}

/** ELF at its own addresses (a relocatable one at the start of RAM), anything else flat at the start of RAM. */
function loadFirmware(firmware: Payload, into: BootMemory): LoadedKernel {
  requireContent(firmware);
  const { base } = into.placement;
  if (isElf(firmware.bytes)) return { ...loadElf(parseElf(firmware), into, base), htif: undefined };
  return loadFlat(firmware, base, firmware.bytes.length, into);
}

function loadKernel(kernel: Payload, request: BootRequest, firmware: LoadedRange | undefined): LoadedKernel {
  requireContent(kernel);
  const { into } = request;
  const { base } = into.placement;
  if (isElf(kernel.bytes)) return loadElfKernel(parseElf(kernel), request, firmware);
  const image = parseLinuxImage(kernel);
  if (image !== undefined) {
    const wanted = base + image.textOffset;
    return loadFlat(
      kernel,
      firmware === undefined ? wanted : Math.max(wanted, behind(firmware, base)),
      image.memorySize,
      into,
    );
  }
  if (request.firmware === 'own' && request.allowFlatKernel !== true) {
    throw new LoadError('not-a-kernel', kernel, 'it is neither a RISC-V Linux image nor an ELF file');
  }
  return loadFlat(kernel, request.firmware === 'none' ? base : behind(firmware, base), kernel.bytes.length, into);
}

function loadElfKernel(elf: ElfFile, request: BootRequest, firmware: LoadedRange | undefined): LoadedKernel {
  const { base } = request.into.placement;
  const relocateTo = request.firmware === 'none' ? base : behind(firmware, base);
  const { start, end } = elfRange(elf, relocateTo);
  if (firmware !== undefined && start < firmware.end && end > firmware.start) {
    throw new LoadError(
      'overlap',
      elf.payload,
      `it wants to be at ${range(start, end - start)}, and the firmware is at ${range(firmware.start, firmware.end - firmware.start)}`,
    );
  }
  const symbols = request.firmware === 'none' ? findSymbols(elf, ['tohost', 'fromhost']) : new Map<string, bigint>();
  const [tohost, fromhost] = [symbols.get('tohost'), symbols.get('fromhost')];
  const moved = start - elf.segments[0]!.physicalAddress;
  const htif =
    tohost === undefined
      ? undefined
      : {
          tohost: htifWord(elf, tohost, moved),
          fromhost: fromhost === undefined ? undefined : htifWord(elf, fromhost, moved),
        };
  return { ...loadElf(elf, request.into, relocateTo), htif };
}

function htifWord(elf: ElfFile, virtual: bigint, moved: number): GuestPhysical {
  const address = physicalOf(elf, virtual) + moved;
  if (address % 8 !== 0)
    throw new LoadError(
      'malformed',
      elf.payload,
      `its symbol tohost or fromhost is at ${range(address, 8)}, which is not a multiple of 8`,
    );
  return guestPhysical(address);
}

/** The file as it is, with room for `memorySize`; what a kernel uses beyond its file it clears for itself. */
function loadFlat(payload: Payload, address: number, memorySize: number, into: BootMemory): LoadedKernel {
  requireMemory(payload, address, memorySize, into.placement);
  loadBytes(payload, payload.bytes, address, payload.bytes.length, into);
  return {
    start: guestPhysical(address),
    end: guestPhysical(address + memorySize),
    entry: guestPhysical(address),
    htif: undefined,
  };
}

/** Where a kernel goes that does not say: 2 MiB into RAM, or the first multiple of that behind the firmware. */
function behind(firmware: LoadedRange | undefined, base: number): number {
  return Math.max(base + KERNEL_ALIGNMENT, alignUp(firmware?.end ?? 0, KERNEL_ALIGNMENT));
}

function loadInitrd(initrd: Payload, used: LoadedRange, into: BootMemory): InitrdRange {
  requireContent(initrd);
  const start = initrdAddress(initrd, used, into.placement);
  loadBytes(initrd, initrd.bytes, start, initrd.bytes.length, into);
  return { start, end: start + initrd.bytes.length };
}

function requireContent(payload: Payload): void {
  if (payload.bytes.length === 0) throw new LoadError('empty', payload, 'the file is empty');
}
