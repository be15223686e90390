/** The thread that compiles: see region-compiler.ts. */

import { parentPort } from 'node:worker_threads';
import { type CompilerMessage, CompilerThread } from '@ringfence/core/compiler';

const compiler = new CompilerThread();

parentPort?.on('message', (message: CompilerMessage) => {
  const reply = compiler.receive(message);
  if (reply) parentPort?.postMessage(reply);
});
