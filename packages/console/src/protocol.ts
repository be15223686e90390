/**
 * What the page and the worker with its machine tell each other.
 *
 *     page                                            worker
 *      start, with the settings          -->
 *                                        <--           image, fetching ..., booting
 *      keys, resize (at any time)        -->           the guest's terminal
 *                                        <--           output of the serial line, then of the terminal
 *      shown (so many bytes of it)       -->           a guest that writes faster than the page shows waits
 *                                        <--           ready, statistics ..., ended or failed
 */

import type { ServedImage } from './served-image.ts';
import type { Settings } from './settings.ts';

/** `serial` brings the kernel's messages until the shell is there; `terminal` is the guest's terminal. */
export type OutputStream = 'serial' | 'terminal';

export type ToMachine =
  | { readonly kind: 'start'; readonly settings: Settings; readonly terminal: TerminalSize }
  | { readonly kind: 'keys'; readonly bytes: Uint8Array }
  | { readonly kind: 'resize'; readonly terminal: TerminalSize }
  | { readonly kind: 'shown'; readonly stream: OutputStream; readonly bytes: number };

export type FromMachine =
  | { readonly kind: 'image'; readonly image: ServedImage }
  | { readonly kind: 'fetching'; readonly bytesDone: number; readonly bytesTotal: number }
  | { readonly kind: 'booting' }
  | { readonly kind: 'output'; readonly stream: OutputStream; readonly bytes: Uint8Array<ArrayBuffer> }
  /** The shell is there, so many milliseconds after `start`. */
  | { readonly kind: 'ready'; readonly bootMs: number }
  | { readonly kind: 'statistics'; readonly statistics: Statistics }
  | { readonly kind: 'ended'; readonly end: MachineEnd }
  /** It could not be started, or Ringfence itself failed; a text for people. */
  | { readonly kind: 'failed'; readonly message: string };

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export interface Statistics {
  /** Instructions since the machine's start. */
  readonly instructions: number;
  /** When that was, in milliseconds since the worker's start. */
  readonly atMs: number;
}

export type MachineEnd =
  /** The shell has ended with this code. */
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reboot' }
  /** `text` are the kernel's last words. */
  | { readonly kind: 'panic'; readonly text: string }
  | { readonly kind: 'failure'; readonly code: number };
