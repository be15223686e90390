/** What the daemon starts for a virtual machine where there is no start snapshot (start-snapshot.ts). */

import { vmProcess } from './program.ts';

vmProcess();
