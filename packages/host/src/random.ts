/**
 * Chance from the system. On Linux it is read where the kernel gives it: node:crypto takes some milliseconds to load, and a machine that goes on from a kept one
 * needs nothing else of it.
 */

import { closeSync, openSync, readSync } from 'node:fs';
import { randomFillSync } from 'node:crypto';

/** See random(4). */
const DEVICE = '/dev/urandom';

/** As much as is read there at once. */
const CHUNK_BYTES = 65_536;

/** Fills all of it. */
export function fillRandomly(into: Uint8Array): void {
  // It may be memory that threads share, which node:crypto does not fill.
  if (!filledByKernel(into)) into.set(randomFillSync(new Uint8Array(into.length)));
}

export function randomOctets(bytes: number): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(bytes);
  fillRandomly(octets);
  return octets;
}

/** For a kernel's generator of random numbers: its key and more. */
export function newSeed(): Uint8Array {
  return randomOctets(64);
}

/** A whole number from 0 on, less than `end`, each as likely as the others. */
export function randomBelow(end: number): number {
  const words = new Uint32Array(1);
  const most = Math.floor(2 ** 32 / end) * end;
  do fillRandomly(new Uint8Array(words.buffer));
  while ((words[0] ?? 0) >= most);
  return (words[0] ?? 0) % end;
}

function filledByKernel(into: Uint8Array): boolean {
  let fd: number;
  try {
    fd = openSync(DEVICE, 'r');
  } catch {
    return false;
  }
  try {
    for (let at = 0; at < into.length;) {
      const read = readSync(fd, into, at, Math.min(CHUNK_BYTES, into.length - at), null);
      if (read === 0) return false;
      at += read;
    }
    return true;
  } catch {
    return false;
  } finally {
    closeSync(fd);
  }
}
