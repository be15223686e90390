/** The daemon as another process asks it, over its socket. Loads nothing of what runs a machine. */

import { type IncomingMessage, request } from 'node:http';
import { ApiClient, type ApiRequest, errorOf, type Transport } from '@ringfence/api/client';
import { HostError, systemReason } from '../failure.ts';
import { daemonSocket } from './daemon-folder.ts';

export { daemonSocket } from './daemon-folder.ts';

/** Of an answer in one piece. */
const MAXIMUM_ANSWER_BYTES = 64 * 1024 * 1024;

/** Asks nothing yet; what is asked rejects with `unavailable` when no daemon runs. */
export function connectDaemon(socket = daemonSocket()): ApiClient {
  return new ApiClient(transport(socket));
}

function transport(socketPath: string): Transport {
  const ask = ({ method, path, body }: ApiRequest, signal?: AbortSignal): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const asked = request({ socketPath, method, path, headers, agent: false, ...(signal ? { signal } : {}) });
      asked.once('response', resolve);
      asked.once('error', (error) => reject(notThere(error, socketPath)));
      asked.end(body);
    });
  const whole = async (response: IncomingMessage): Promise<string> => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > MAXIMUM_ANSWER_BYTES) throw new HostError('protocol', 'the daemon answers with too much');
        chunks.push(chunk);
      }
    } catch (error) {
      throw notThere(error, socketPath);
    }
    return Buffer.concat(chunks).toString();
  };
  return {
    async send(asked, signal) {
      const response = await ask(asked, signal);
      return { status: response.statusCode ?? 0, body: await whole(response) };
    },
    async *stream(asked, signal) {
      const response = await ask(asked, signal);
      if ((response.statusCode ?? 0) >= 300) throw errorOf(JSON.parse(await whole(response)));
      const decoder = new TextDecoder();
      try {
        for await (const chunk of response as AsyncIterable<Buffer>) yield decoder.decode(chunk, { stream: true });
      } catch (error) {
        if (signal?.aborted !== true) throw notThere(error, socketPath);
      }
    },
  };
}

function notThere(error: unknown, socket: string): HostError {
  if (error instanceof HostError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ECONNREFUSED')
    return new HostError('unavailable', 'no daemon runs; start one with: ringfence host', error);
  if (code === 'ECONNRESET') return new HostError('interrupted', 'the daemon ended before it had answered', error);
  return new HostError('unavailable', `the daemon's socket ${socket} cannot be used: ${systemReason(error)}`, error);
}
