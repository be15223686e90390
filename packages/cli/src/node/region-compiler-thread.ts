/** The thread that compiles: see region-compiler.ts. */

import { parentPort } from 'node:worker_threads';
import { type BatchAnswer, compileBatch } from '@ringfence/core/compiler';
import type { CompilerMessage, CompilerReply } from './region-compiler.ts';

let code: { readonly u16: Uint16Array; readonly u32: Uint32Array } | undefined;

parentPort?.on('message', (message: CompilerMessage) => {
  if (message.kind === 'memory') {
    const { buffer } = message.memory;
    code = { u16: new Uint16Array(buffer), u32: new Uint32Array(buffer) };
    return;
  }
  const reply: CompilerReply = { number: message.number, answer: answer(message) };
  parentPort?.postMessage(reply);
});

function answer({ batch }: Extract<CompilerMessage, { kind: 'batch' }>): BatchAnswer | undefined {
  try {
    return code && compileBatch(batch, code);
  } catch {
    // Code that changes while it is read may be anything; the answer would be thrown away.
    return undefined;
  }
}
