/** The entry: bin/ringfence.js starts it under a Node that can. */

import { commandLine } from './command-line.ts';

await commandLine();
