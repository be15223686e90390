/** The thread that compiles: for who started it (region-compiler.ts), and for others at ports that it is given (pcpus.ts). */

import process from 'node:process';
import { type MessagePort, parentPort } from 'node:worker_threads';
import { type CompilerMessage, CompilerThread } from '@ringfence/core/compiler';
import { giveWay } from './background-threads.ts';
import { giveUp } from './permissions.ts';
import { withdraw } from './withdrawal.ts';

type Message = CompilerMessage | { readonly kind: 'port'; readonly port: MessagePort };

function serve(port: MessagePort): void {
  const compiler = new CompilerThread();
  port.on('message', (message: Message) => {
    if (message.kind === 'port') serve(message.port);
    else {
      try {
        const reply = compiler.receive(message);
        if (reply) port.postMessage(reply);
      } catch {
        // Who asked hears that the thread is no more. In a process that began from a snapshot of Node's heap nobody else would catch it, and it would abort.
        process.exit(1);
      }
    }
  });
}

giveWay();
giveUp('worker', 'child', 'net', 'inspector', 'fs.write', 'fs.read');
withdraw();
if (parentPort) serve(parentPort);
