/** Attributes of files as FUSE tells them: struct fuse_attr, and the answers that hold one (Linux, include/uapi/linux/fuse.h). */

import { ATTR_SUBMOUNT } from './abi.ts';
import type { FileAttributes } from './file-tree.ts';
import type { StructWriter } from './wire.ts';

/**
 * How long a guest may believe what it was told about a name or an attribute without asking again. So much later at the latest it sees
 * what others have done to the folder.
 */
export const VALID_SECONDS = 1;

const NS_PER_SECOND = 1_000_000_000n;
const LARGEST_U32 = 0xffff_ffff;

export interface ToldAttributes {
  readonly attributes: FileAttributes;
  /** The inode number that the guest's programs see. */
  readonly ino: bigint;
  /** The root of another file system of the host, which the guest mounts as one of its own. */
  readonly isSubmount: boolean;
}

export function writeAttributes(writer: StructWriter, { attributes, ino, isSubmount }: ToldAttributes): void {
  const times = [attributes.accessedNs, attributes.modifiedNs, attributes.changedNs].map(split);
  writer.big64(ino).u64(attributes.sizeBytes).u64(attributes.blocks);
  for (const { seconds } of times) writer.big64(seconds);
  for (const { ns } of times) writer.u32(ns);
  writer
    .u32(attributes.mode)
    .u32(Math.min(attributes.links, LARGEST_U32))
    .u32(attributes.uid)
    .u32(attributes.gid)
    .u32(attributes.rdev)
    .u32(attributes.blockBytes)
    .u32(isSubmount ? ATTR_SUBMOUNT : 0);
}

/** struct fuse_attr_out. */
export function writeAttrOut(writer: StructWriter, told: ToldAttributes): void {
  writer.u64(VALID_SECONDS).u32(0).u32(0);
  writeAttributes(writer, told);
}

/** struct fuse_entry_out. Numbers of nodes are never used again, so there is one generation. */
export function writeEntryOut(writer: StructWriter, nodeId: number, told: ToldAttributes): void {
  writer.u64(nodeId).u64(0).u64(VALID_SECONDS).u64(VALID_SECONDS).u32(0).u32(0);
  writeAttributes(writer, told);
}

/** Seconds towards the past, and what is left. */
function split(ns: bigint): { readonly seconds: bigint; readonly ns: number } {
  const rest = ((ns % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  return { seconds: (ns - rest) / NS_PER_SECOND, ns: Number(rest) };
}
