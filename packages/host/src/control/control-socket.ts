/** The socket of this process's virtual machine. What answers there (server.ts) is loaded when somebody asks for the first time. */

import { createServer } from 'node:net';
import { serveConnections } from './connections.ts';
import type { ServedVM } from './server.ts';
import { listenAs } from './vm-folder.ts';

/** Clients at once; others are turned away. */
const MAXIMUM_CONNECTIONS = 64;

export interface ControlSocket {
  /** Nobody finds it any more; what is under way may come to its end for a while (connections.ts). */
  close(): Promise<void>;
}

/** Listens for who asks for the virtual machine by its name; rejects with `name-taken` when there is one. */
export async function openControlSocket(folder: string, name: string, vm: ServedVM): Promise<ControlSocket> {
  const server = createServer({ allowHalfOpen: false });
  const close = serveConnections(
    server,
    () => MAXIMUM_CONNECTIONS,
    (socket) => {
      // Ringfence may have been moved away since the machine began to run, which is no reason for the machine to end.
      import('./server.ts').then(
        ({ serveConnection }) => serveConnection(vm, socket),
        () => socket.destroy(),
      );
    },
  );
  await listenAs(server, folder, name);
  server.on('error', () => undefined);
  // A machine keeps its process alive, and not who might ask for it.
  server.unref();
  return { close };
}
