/**
 * The process that is measured on our side: one machine, as a program of one's own would start it, with the serial line on stdout.
 *
 *     node ringfence-machine.ts ENGINE MEMORY_BYTES KERNEL INITRD COMMAND_LINE [SAMPLE_EVERY_MS]
 *
 * ENGINE `default` is what a machine takes when nobody asks. When the machine is off it writes what it counted to stderr, as one line that
 * says so (machine-report.ts); with SAMPLE_EVERY_MS a line each time while it runs (machine-sample.ts), and no marks in the report.
 */

import process from 'node:process';
import { runMachine } from './machine-process.ts';

await runMachine(process.argv.slice(2));
