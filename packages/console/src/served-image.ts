/** How the server describes the image to the page: `/image/tiny.json`. The files lie beside it under names that hold their hash. */

/** Where the description is. */
export const IMAGE_PATH = '/image/tiny.json';
/** Before the name of a file of the image. */
export const IMAGE_FOLDER = '/image/';

export interface ServedFile {
  readonly file: string;
  readonly sizeBytes: number;
}

export interface ServedImage {
  readonly name: string;
  /** As `uname -r` says it. */
  readonly kernelVersion: string;
  /** What it was made from, for people: "Debian 13". */
  readonly distribution: string;
  readonly kernel: ServedFile;
  /** An uncompressed cpio archive; others may be appended. */
  readonly initrd: ServedFile;
  /** Words for the kernel's command line that make it boot sooner. */
  readonly kernelParameters: readonly string[];
}
