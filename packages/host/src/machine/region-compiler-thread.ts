/** The thread that compiles: for who started it (region-compiler.ts), and for others at ports that it is given (pcpus.ts). */

import { type MessagePort, parentPort } from 'node:worker_threads';
import { type CompilerMessage, CompilerThread } from '@ringfence/core/compiler';
import { giveWay } from './background-threads.ts';
import { giveUp } from './permissions.ts';

type Message = CompilerMessage | { readonly kind: 'port'; readonly port: MessagePort };

function serve(port: MessagePort): void {
  const compiler = new CompilerThread();
  port.on('message', (message: Message) => {
    if (message.kind === 'port') serve(message.port);
    else {
      const reply = compiler.receive(message);
      if (reply) port.postMessage(reply);
    }
  });
}

giveWay();
giveUp('worker', 'child', 'net', 'inspector', 'fs.write', 'fs.read');
if (parentPort) serve(parentPort);
