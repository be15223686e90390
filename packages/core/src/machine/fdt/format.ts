/**
 * The flattened device tree as bytes: what writer and reader agree on (Devicetree Specification v0.4, chapter 5). Everything is
 * big-endian.
 *
 *     header | memory reservations | structure block | strings block
 */

/** `magic` of the header. */
export const FDT_MAGIC = 0xd00d_feed;
/** The version written, and the oldest that a reader of it may know. */
export const FDT_VERSION = 17;
export const FDT_LAST_COMPATIBLE_VERSION = 16;

/** The header's fields, as offsets (5.2). */
export const HEADER = {
  magic: 0,
  totalsize: 4,
  off_dt_struct: 8,
  off_dt_strings: 12,
  off_mem_rsvmap: 16,
  version: 20,
  last_comp_version: 24,
  boot_cpuid_phys: 28,
  size_dt_strings: 32,
  size_dt_struct: 36,
} as const;
export const HEADER_BYTES = 40;

/** One memory reservation: address and size, 64 bits each; a pair of zeros ends the list (5.3). */
export const RESERVATION_BYTES = 16;

/** Tokens of the structure block, each aligned to 4 bytes (5.4.1). */
export const TOKEN = { beginNode: 1, endNode: 2, property: 3, nop: 4, end: 9 } as const;

/** The largest tree written or read. */
export const MAXIMUM_FDT_BYTES = 1024 * 1024;
/** Nodes within nodes. */
export const MAXIMUM_DEPTH = 32;
/** Nodes and properties together. */
export const MAXIMUM_ITEMS = 16_384;

/** Names of properties: 1 to 31 of these characters (2.2.4); Linux and dtc take longer ones, and so do we. */
export const PROPERTY_NAME = /^[0-9a-zA-Z,._+?#-]{1,63}$/;
/** Names of nodes but the root, `name` or `name@unit-address` (2.2.1). */
export const NODE_NAME = /^[0-9a-zA-Z,._+-]{1,31}(@[0-9a-zA-Z,._+-]{1,31})?$/;
