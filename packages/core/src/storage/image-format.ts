/**
 * Which format a disk image has, by its first bytes. Whatever is not known to be something else is raw. A disk that a guest can write raw
 * can be made to look like anything: see RawBlockStore.
 */

/** Formats that can be opened. */
export type ImageFormat = 'raw' | 'qcow2';

/** How many bytes are looked at. */
export const FORMAT_MAGIC_BYTES = 8;

/** The beginnings of formats that disks come in. Only the first is one of ours; a file of another is better refused than taken for raw. */
const MAGICS: readonly { readonly format: KnownFormat; readonly bytes: readonly number[] }[] = [
  { format: 'qcow2', bytes: [0x51, 0x46, 0x49, 0xfb] },
  { format: 'qcow', bytes: [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 1] },
  { format: 'vmdk', bytes: [0x4b, 0x44, 0x4d, 0x56] },
  { format: 'vmdk', bytes: [0x43, 0x4f, 0x57, 0x44] },
  { format: 'vhdx', bytes: [0x76, 0x68, 0x64, 0x78, 0x66, 0x69, 0x6c, 0x65] },
  { format: 'qed', bytes: [0x51, 0x45, 0x44, 0] },
];

export type KnownFormat = ImageFormat | 'qcow' | 'vmdk' | 'vhdx' | 'qed';

/** The format that `start`, the first FORMAT_MAGIC_BYTES bytes of an image, says. */
export function detectFormat(start: Uint8Array): KnownFormat {
  let best: (typeof MAGICS)[number] | undefined;
  for (const magic of MAGICS) {
    const isLonger = magic.bytes.length > (best?.bytes.length ?? 0);
    if (isLonger && magic.bytes.every((byte, index) => start[index] === byte)) best = magic;
  }
  return best?.format ?? 'raw';
}
