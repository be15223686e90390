/** Where a machine in a page is between its start and its end, and how that is said. */

import { formatSize } from '@ringfence/core/sizes';
import type { MachineEnd, Statistics } from './protocol.ts';

export type Phase =
  | { readonly kind: 'loading' }
  | { readonly kind: 'fetching'; readonly bytesDone: number; readonly bytesTotal: number }
  | { readonly kind: 'booting' }
  | { readonly kind: 'running'; readonly bootMs: number }
  | { readonly kind: 'ended'; readonly end: MachineEnd }
  | { readonly kind: 'failed'; readonly message: string };

export function phaseText(phase: Phase): string {
  switch (phase.kind) {
    case 'loading':
      return 'Loading';
    case 'fetching':
      return `Fetching the image, ${formatSize(phase.bytesDone)} of ${formatSize(phase.bytesTotal)}`;
    case 'booting':
      return 'Starting Linux';
    case 'running':
      return `Running; the shell was there after ${(phase.bootMs / 1000).toFixed(1)} s`;
    case 'ended':
      return `Ended: ${endText(phase.end)}`;
    case 'failed':
      return 'Failed';
  }
}

function endText(end: MachineEnd): string {
  switch (end.kind) {
    case 'exit':
      return end.code === 0 ? 'the shell has exited' : `the shell has exited with code ${end.code}`;
    case 'poweroff':
      return 'the machine switched itself off';
    case 'reboot':
      return 'the machine asked to be started again';
    case 'panic':
      return 'the kernel panicked; its last words are in the terminal, and more memory (?memory=512M) may help';
    case 'failure':
      return `the machine failed with code ${end.code}`;
  }
}

/** How fast the machine ran between two looks at its counters; undefined when no time lies between them. */
export function speedText(before: Statistics, now: Statistics): string | undefined {
  const elapsedMs = now.atMs - before.atMs;
  if (elapsedMs <= 0) return undefined;
  const mips = (now.instructions - before.instructions) / (elapsedMs * 1000);
  return `${mips.toFixed(mips < 10 ? 1 : 0)} MIPS`;
}
