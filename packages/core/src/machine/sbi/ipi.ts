/** Interrupts from hart to hart (SBI 2.0, chapter 7). */

import { MIP } from '../hart-port.ts';
import { SBI_ERR_INVALID_PARAM, failure, success } from './extension.ts';
import type { SbiExtension } from './extension.ts';
import { selectHarts } from './hart-mask.ts';

export const IPI: SbiExtension = {
  id: 0x73_5049n,
  name: 'sPI',
  functions: [
    function sbi_send_ipi({ a }, { harts }) {
      const targets = selectHarts(a[0], a[1], harts);
      if (targets === undefined) return failure(SBI_ERR_INVALID_PARAM);
      // A stopped hart is not to find an old interrupt when it starts.
      for (const hart of targets)
        if (hart.runState !== 'stopped' && hart.runState !== 'starting') hart.setPending(MIP.SSIP, true);
      return success();
    },
  ],
};
