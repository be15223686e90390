/** What a machine may have of a host's memory where machines have more than there is, and what is told of it. Sizes in requests are text like 512M. */

import * as z from 'zod/mini';

export const MEMORY_SHARES = { most: 1_000_000, usual: 1000 } as const;

const whole = z.number().check(z.int(), z.nonnegative());
const size = z.string().check(z.minLength(1), z.maxLength(32));

/** There are these where a machine may be given less than its memory: then it shares, gives, is compressed and paged out. */
export const overcommitSettings = z.strictObject({
  /** Its weight beside others, where there is not enough for all. */
  shares: z.optional(z.number().check(z.int(), z.gte(1), z.lte(MEMORY_SHARES.most))),
  /** What it never has to give. */
  reservation: z.optional(size),
  /** What its pages have of the host's memory at most. */
  limit: z.optional(size),
});

export type OvercommitSettings = z.output<typeof overcommitSettings>;

/** What has become of pages: of one machine, and of all. In bytes, as large as the pages are for the guest. */
const pages = {
  /** That show the one frame of zeros. */
  zeroBytes: whole,
  /** Whose frame others have, too; and what is saved by that. */
  sharedBytes: whole,
  savedBytes: whole,
  /** That the guest has given away. */
  balloonBytes: whole,
  compressedBytes: whole,
  pagedBytes: whole,
};

export const memoryUsage = z.object({
  ...pages,
  /** What the guest says that it has, and that nobody else could have, where it says so: its word. */
  guestTotalBytes: z.optional(whole),
  guestUsedBytes: z.optional(whole),
  /** Of a machine with `overcommit`. */
  pool: z.optional(
    z.object({
      /** What is done now, the last means in order. */
      state: z.enum(['high', 'share', 'balloon', 'compress', 'page-out', 'full']),
      /** What it may have at present, is to have, and has. */
      bytes: whole,
      targetBytes: whole,
      usedBytes: whole,
      /** The most that it ever had: its process keeps that of the computer's memory until it ends. */
      touchedBytes: z.optional(whole),
      /** The machine and its forks. */
      machines: whole,
      /** Of what is resident, in use as it seems. */
      activeBytes: whole,
      /** Pages since its process began: that got a frame of others or that of zeros, were compressed, paged out, and read again. */
      merged: whole,
      packs: whole,
      unpacks: whole,
      pageOuts: whole,
      pageIns: whole,
      /** Times that it had to wait for memory. */
      waits: whole,
      reservationBytes: whole,
      limitBytes: z.optional(whole),
      shares: whole,
      /** Why nothing can be paged out. */
      problem: z.optional(z.string()),
    }),
  ),
});

/** What its disks and network cards did since its process began. */
export const ioUsage = z.object({ diskOperations: whole, diskBytes: whole, networkBytes: whole });

export const hostMemory = z.object({
  /** Of this computer, and what machines may have of it together. */
  totalBytes: whole,
  capacityBytes: whole,
  /** By machines that run: of those without `overcommit` that is all of their memory. */
  reservedBytes: whole,
  /** What they have in all, what their processes take, and what their guests' pages take. */
  configuredBytes: whole,
  residentBytes: whole,
  guestResidentBytes: whole,
  ...pages,
});

export type MemoryUsage = z.output<typeof memoryUsage>;
export type IoUsage = z.output<typeof ioUsage>;
export type HostMemory = z.output<typeof hostMemory>;
