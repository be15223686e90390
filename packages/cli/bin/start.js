/**
 * What the launcher starts Node with: the command line, out of the built program where that is as new as the sources, else out of the
 * sources, which Node 26 runs as they stand.
 */

import module from 'node:module';
import { builtProgram } from './built-program.js';
import { compileCacheFolder } from './compile-cache.js';

const folder = compileCacheFolder();
// Compiled code of the last run: saves a good part of the start-up. Where it cannot be written Node goes on without.
if (folder !== undefined) module.enableCompileCache(folder);
await import(builtProgram('main.js') ?? '../src/main.ts');
