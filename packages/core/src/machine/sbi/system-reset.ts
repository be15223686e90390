/** Shutdown and reboot (SBI 2.0, chapter 10). The machine hears of it by callback; the calling hart runs no further. */

import type { Ending } from '../ending.ts';
import { SBI_ERR_INVALID_PARAM, failure, u32 } from './extension.ts';
import type { SbiExtension } from './extension.ts';

/** Reset types and reasons. */
const SHUTDOWN = 0;
const COLD_REBOOT = 1;
const WARM_REBOOT = 2;
const NO_REASON = 0;
const SYSTEM_FAILURE = 1;

export const SRST: SbiExtension = {
  id: 0x5352_5354n,
  name: 'SRST',
  functions: [
    function sbi_system_reset({ hart, a }, { ended }) {
      const [type, reason] = [u32(a[0]), u32(a[1])];
      if (reason !== NO_REASON && reason !== SYSTEM_FAILURE) return failure(SBI_ERR_INVALID_PARAM);
      const ending = endingOf(type, reason);
      if (ending === undefined) return failure(SBI_ERR_INVALID_PARAM);
      hart.stop();
      ended(ending);
      return undefined;
    },
  ],
};

function endingOf(type: number, reason: number): Ending | undefined {
  if (type === SHUTDOWN) return reason === SYSTEM_FAILURE ? { kind: 'failure', code: 1 } : { kind: 'poweroff' };
  return type === COLD_REBOOT || type === WARM_REBOOT ? { kind: 'reboot' } : undefined;
}
