/** The interpreter of most machines, in a heap that a benchmark begins with (heap-start.ts). */

import { readFileSync } from 'node:fs';

/** Written in by the build: what it is called, and where it lies while this is built. */
const INTERPRETER = '' as string;

const { key, path } = JSON.parse(INTERPRETER) as { key: string; path: string };

export const builtInterpreter = { key, bytes: new Uint8Array(readFileSync(path)) };
