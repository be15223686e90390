/** A thread that executes harts: see pcpus.ts. */

import { hrtime } from 'node:process';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { type CompilerReply, RemoteCompiler } from '@ringfence/core/compiler';
import { type PcpuSurroundings, runPcpu } from '@ringfence/core/pcpu';
import type { SharedPages } from '../snapshot/shared-pages.ts';
import type { PcpuThreadData } from './pcpus.ts';
import { giveUp } from './permissions.ts';
import { processNs, threadProcessorNs } from './ports.ts';
import { withdraw } from './withdrawal.ts';
import { threadEnd } from './thread-end.ts';

const { setup, clockOffsetNs, stoodNs, isAlone, compiler } = workerData as PcpuThreadData;
const remote = new RemoteCompiler((message) => compiler.postMessage(message));

giveUp('worker', 'child', 'net', 'inspector', 'fs.write');
withdraw();
const surroundings: PcpuSurroundings = {
  pageSource: async (shared) => {
    const { sharedPageSource } = await import('../snapshot/shared-pages.ts');
    return sharedPageSource(shared as SharedPages);
  },
  clock: {
    monotonicNs: () =>
      Number(hrtime.bigint() + clockOffsetNs - (stoodNs === undefined ? 0n : Atomics.load(stoodNs, 0))),
    hostNs: () => Number(hrtime.bigint() + clockOffsetNs),
    // Devices have the wall clock, and these are on the machine's thread.
    wallNs: () => 0n,
    threadNs: threadProcessorNs,
    ...(isAlone ? { processNs } : {}),
  },
  compiler: {
    compile: (batch, memory) => remote.compile(batch, memory),
    poll() {
      for (let got = receiveMessageOnPort(compiler); got; got = receiveMessageOnPort(compiler))
        remote.receive(got.message as CompilerReply);
    },
  },
};
try {
  await runPcpu(setup, surroundings);
} catch (error) {
  // Nobody may be left to catch it: a process that began from a snapshot of Node's heap aborts then, without a word of what it was.
  parentPort?.postMessage(threadEnd(error));
}
