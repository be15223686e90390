/**
 * Starting, stopping and suspending harts (SBI 2.0, chapter 9). The state of a hart is the hart's own run state: nothing is kept here, and
 * of the states in between only START_PENDING is ever seen, and not for long.
 */

import type { HartPort, HartRunState } from '../hart-port.ts';
import {
  SBI_ERR_ALREADY_AVAILABLE,
  SBI_ERR_INVALID_ADDRESS,
  SBI_ERR_INVALID_PARAM,
  failure,
  isCodeAddress,
  success,
  u32,
} from './extension.ts';
import type { SbiExtension } from './extension.ts';

/** HSM hart states, those that can be seen. */
const STATES: Readonly<Record<HartRunState, bigint>> = {
  running: 0n, // STARTED
  waiting: 0n,
  stopped: 1n, // STOPPED
  starting: 2n, // START_PENDING
  suspended: 4n, // SUSPENDED
};

/** Suspend types: the two that need no platform of their own. */
const RETENTIVE = 0;
const NON_RETENTIVE = 0x8000_0000;

function hartOf(id: bigint, harts: readonly HartPort[]): HartPort | undefined {
  return id < BigInt(harts.length) ? harts[Number(id)] : undefined;
}

export const HSM: SbiExtension = {
  id: 0x48_534dn,
  name: 'HSM',
  functions: [
    function sbi_hart_start({ a: [hartid, startAddress, opaque] }, { harts, memory }) {
      const target = hartOf(hartid, harts);
      if (target === undefined) return failure(SBI_ERR_INVALID_PARAM);
      if (target.runState !== 'stopped') return failure(SBI_ERR_ALREADY_AVAILABLE);
      if (!isCodeAddress(startAddress, memory)) return failure(SBI_ERR_INVALID_ADDRESS);
      if (!target.claim()) return failure(SBI_ERR_ALREADY_AVAILABLE);
      target.startSupervisor(startAddress, opaque);
      return success();
    },
    function sbi_hart_stop({ hart }) {
      hart.stop();
      return undefined;
    },
    function sbi_hart_get_status({ a: [hartid] }, { harts }) {
      const target = hartOf(hartid, harts);
      return target === undefined ? failure(SBI_ERR_INVALID_PARAM) : success(STATES[target.runState]);
    },
    /** A retentive suspend returns like a WFI; a non-retentive one goes on at the resume address, with all else undefined but `mie`. */
    function sbi_hart_suspend({ hart, a: [type, resumeAddress, opaque] }, { memory }) {
      switch (u32(type)) {
        case RETENTIVE:
          hart.suspend();
          return success();
        case NON_RETENTIVE:
          if (!isCodeAddress(resumeAddress, memory)) return failure(SBI_ERR_INVALID_ADDRESS);
          hart.startSupervisor(resumeAddress, opaque);
          hart.suspend();
          return undefined;
        default:
          return failure(SBI_ERR_INVALID_PARAM);
      }
    },
  ],
};
