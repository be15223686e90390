/**
 * The legacy extensions that kernels and boot loaders still use (SBI 2.0, chapter 5): each is an extension of its own with one function
 * whatever a6 says, and returns in a0 alone. Those that take hart masks by virtual address are long replaced, and not here.
 */

import type { SbiCall, SbiPlatform } from './extension.ts';

/** Gives what goes into a0; undefined when the call does not return. */
export type LegacyFunction = (call: SbiCall, platform: SbiPlatform) => bigint | undefined;

/** What console_getchar gives when there is nothing. */
const NO_CHARACTER = -1n;

/** By extension id. */
export const LEGACY: ReadonlyMap<bigint, LegacyFunction> = new Map<bigint, LegacyFunction>([
  [
    0n,
    function sbi_set_timer({ hart, a }) {
      hart.setSupervisorTimer(a[0]);
      return 0n;
    },
  ],
  [
    1n,
    function sbi_console_putchar({ a }, { console }) {
      console.write(Uint8Array.of(Number(a[0] & 0xffn)));
      return 0n;
    },
  ],
  [
    2n,
    function sbi_console_getchar(_call, { console }) {
      const byte = console.read();
      return byte === undefined ? NO_CHARACTER : BigInt(byte);
    },
  ],
  [
    8n,
    function sbi_shutdown({ hart }, { ended }) {
      hart.stop();
      ended({ kind: 'poweroff' });
      return undefined;
    },
  ],
]);
