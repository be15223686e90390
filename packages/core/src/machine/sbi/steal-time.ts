/**
 * Steal-time accounting (SBI 2.0, chapter 16): a hart names 64 bytes of its memory, and finds there how long it could not run although it had
 * something to do. Who executes harts keeps that up to date (machine/steal-time.ts).
 */

import { SBI_ERR_INVALID_ADDRESS, SBI_ERR_INVALID_PARAM, failure, success } from './extension.ts';
import type { SbiExtension } from './extension.ts';

export const STEAL_BYTES = 64;
const NOWHERE = 0xffff_ffff_ffff_ffffn;

export const STA: SbiExtension = {
  id: 0x53_5441n,
  name: 'STA',
  functions: [
    function sbi_steal_time_set_shmem({ hart, a: [low, high, flags] }, { memory }) {
      if (flags !== 0n) return failure(SBI_ERR_INVALID_PARAM);
      if (low === NOWHERE && high === NOWHERE) {
        hart.setStealMemory(undefined);
        return success();
      }
      if ((low & BigInt(STEAL_BYTES - 1)) !== 0n) return failure(SBI_ERR_INVALID_PARAM);
      const isThere = high === 0n && low <= BigInt(Number.MAX_SAFE_INTEGER);
      if (!isThere || !memory.write(Number(low), new Uint8Array(STEAL_BYTES))) return failure(SBI_ERR_INVALID_ADDRESS);
      hart.setStealMemory(Number(low));
      return success();
    },
  ],
};
