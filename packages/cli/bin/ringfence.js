#!/usr/bin/env node
/**
 * Starts Ringfence under a Node that can run it. The sources are TypeScript that Node 26 runs as it stands; a machine's own Node may be
 * older, so this file is JavaScript that Node 18 understands, and hands over to the Node 26 that `npm ci` brought.
 */

import module from 'node:module';
import { argv, exit, stderr, versions } from 'node:process';
import { fileURLToPath } from 'node:url';
import { compileCacheFolder } from './compile-cache.js';
import { findNode, isNewEnough, NODE_NEEDED } from './find-node.js';
import { relaunch } from './relaunch.js';

/** As `ringfence run` ends when the virtual machine could not be started. */
const EXIT_NOT_STARTED = 125;

if (isNewEnough(versions.node)) {
  const folder = compileCacheFolder();
  // Compiled code of the last run: saves a good part of the start-up. Where it cannot be written Node goes on without.
  if (folder !== undefined) module.enableCompileCache(folder);
  await import('../src/main.ts');
} else {
  const node = findNode(import.meta.url);
  if (node === undefined) {
    stderr.write(
      `ringfence: needs Node ${NODE_NEEDED} and this is Node ${versions.node}; ` +
        `run "npm ci" in the repository, which brings it along, or install Node ${NODE_NEEDED}\n`,
    );
    exit(EXIT_NOT_STARTED);
  }
  relaunch(node, [fileURLToPath(import.meta.url), ...argv.slice(2)], (problem) => {
    stderr.write(`ringfence: cannot start ${node}: ${problem}\n`);
    exit(EXIT_NOT_STARTED);
  });
}
