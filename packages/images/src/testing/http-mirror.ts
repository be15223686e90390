/** A web server on the loopback with an archive on it, and with the faults that tests ask for. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ArchiveFiles } from './debian-archive.ts';

/** Handles a request instead of the archive; `false` leaves it to the archive. */
export type Fault = (path: string, response: ServerResponse, request: IncomingMessage) => boolean;

export interface HttpMirror extends AsyncDisposable {
  readonly url: string;
  /** Paths asked for, below the root. */
  readonly requests: string[];
  files: ArchiveFiles;
  fault: Fault;
  close(): Promise<void>;
}

const ROOT = '/debian/';

export async function serveArchive(files: ArchiveFiles): Promise<HttpMirror> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const path = decodeURIComponent(url.pathname).replace(ROOT, '');
    requests.push(path);
    if (mirror.fault(path, response, request)) return;
    const content = mirror.files.get(path);
    if (content === undefined) {
      response.writeHead(404).end('no such file');
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const body = content.subarray(start);
    response.writeHead(start === 0 ? 200 : 206, {
      'content-length': body.length,
      ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` }),
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  const mirror: HttpMirror = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`,
    requests,
    files,
    fault: () => false,
    close,
    [Symbol.asyncDispose]: close,
  };
  return mirror;
}
