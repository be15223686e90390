/**
 * `node launch.js SCRIPT ARGUMENTS...`: runs a script of the benchmark in a Node that is started as the launcher starts it for a user.
 * JavaScript, as the launcher is, so that starting it costs what starting the launcher costs.
 */

import { argv, env, execArgv } from 'node:process';
import { pathToFileURL } from 'node:url';
import { nodeStart } from 'ringfence/node-start';
import { becomeNode } from 'ringfence/relaunch';

const command = argv.slice(2);
const start = nodeStart(env, execArgv);
if (!becomeNode([...start.flags, ...command], start.env)) {
  argv.splice(1, 1);
  await import(pathToFileURL(command[0] ?? '').href);
}
