/** The timer extension (SBI 2.0, chapter 6). The harts have Sstc; this is for kernels that do not use it. */

import { success } from './extension.ts';
import type { SbiExtension } from './extension.ts';

export const TIME: SbiExtension = {
  id: 0x5449_4d45n,
  name: 'TIME',
  functions: [
    /** Also withdraws a timer interrupt that is pending; a time of all ones asks for none. */
    function sbi_set_timer({ hart, a }) {
      hart.setSupervisorTimer(a[0]);
      return success();
    },
  ],
};
