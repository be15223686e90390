/** A process of its own that goes on from a snapshot: FOLDER and NAME (restoring.ts). */

import process from 'node:process';
import { restoreAndAsk } from './restoring.ts';

await restoreAndAsk(process.argv.slice(2));
