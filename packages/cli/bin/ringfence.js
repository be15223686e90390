#!/usr/bin/env node
/**
 * Starts Ringfence under a Node that can run it, and in the way that suits a virtual machine (node-start.js). The sources are TypeScript
 * that Node 26 runs as it stands; a machine's own Node may be older, so this file is JavaScript that Node 18 understands, and hands over
 * to the Node 26 that `npm ci` brought.
 *
 *     ringfence ───── a shell: becomes ─────────────┐
 *                  ├─ Node 26: becomes ─────────────┼── node FLAGS [--snapshot-blob build/program/run.blob] start.js ── build/program/main.js or src/main.ts
 *                  └─ older Node: starts ───────────┘
 */

import { argv, env, execArgv, execPath, exit, platform, stderr, versions } from 'node:process';
import { fileURLToPath } from 'node:url';
import { startSnapshot } from './built-program.js';
import { findNode, isNewEnough, NODE_NEEDED } from './find-node.js';
import { nodeStart } from './node-start.js';
import { becomeNode, relaunch } from './relaunch.js';

/** As `ringfence run` ends when the virtual machine could not be started. */
const EXIT_NOT_STARTED = 125;

const command = [fileURLToPath(new URL('start.js', import.meta.url)), ...argv.slice(2)];
/** @type {(node: string) => string[]} */
const snapshotOf = (node) => {
  const isWanted = argv[2] === 'run' && execArgv.length === 0 && !env['NODE_OPTIONS'] && platform !== 'win32';
  const snapshot = isWanted ? startSnapshot(node) : undefined;
  return snapshot === undefined ? [] : ['--snapshot-blob', snapshot];
};
if (isNewEnough(versions.node)) {
  const start = nodeStart(env, execArgv);
  if (!becomeNode([...start.flags, ...snapshotOf(execPath), ...command], start.env)) await import('./start.js');
} else {
  const node = findNode(import.meta.url);
  if (node === undefined) {
    stderr.write(
      `ringfence: needs Node ${NODE_NEEDED} and this is Node ${versions.node}; ` +
        `run "npm ci" in the repository, which brings it along, or install Node ${NODE_NEEDED}\n`,
    );
    exit(EXIT_NOT_STARTED);
  }
  const start = nodeStart(env, []);
  await relaunch(node, [...start.flags, ...snapshotOf(node), ...command], start.env, (problem) => {
    stderr.write(`ringfence: cannot start ${node}: ${problem}\n`);
    exit(EXIT_NOT_STARTED);
  });
}
