/**
 * Suspending the whole system to RAM (SBI 2.0, chapter 13): the last running hart waits for an interrupt that it has enabled, and goes on
 * at its resume address.
 */

import {
  SBI_ERR_DENIED,
  SBI_ERR_INVALID_ADDRESS,
  SBI_ERR_INVALID_PARAM,
  failure,
  isCodeAddress,
  u32,
} from './extension.ts';
import type { SbiExtension } from './extension.ts';

/** The only sleep type that is neither reserved nor a platform's own. */
const SUSPEND_TO_RAM = 0;

export const SUSP: SbiExtension = {
  id: 0x5355_5350n,
  name: 'SUSP',
  functions: [
    function sbi_system_suspend({ hart, a: [type, resumeAddress, opaque] }, { harts, memory }) {
      if (u32(type) !== SUSPEND_TO_RAM) return failure(SBI_ERR_INVALID_PARAM);
      if (!isCodeAddress(resumeAddress, memory)) return failure(SBI_ERR_INVALID_ADDRESS);
      if (harts.some((other) => other !== hart && other.runState !== 'stopped')) return failure(SBI_ERR_DENIED);
      hart.startSupervisor(resumeAddress, opaque);
      hart.suspend();
      return undefined;
    },
  ],
};
