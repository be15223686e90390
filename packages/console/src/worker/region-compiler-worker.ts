/** The worker that compiles: see region-compiler.ts. */

import { type CompilerMessage, CompilerThread } from '@ringfence/core/compiler';

const compiler = new CompilerThread();

addEventListener('message', ({ data }: MessageEvent<CompilerMessage>) => {
  const reply = compiler.receive(data);
  if (reply) postMessage(reply);
});
