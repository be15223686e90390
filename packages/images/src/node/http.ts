/** One HTTP request as a mirror needs it: timeouts, redirections, proxies, ranges, and failures told apart. */

import { Agent as HttpAgent, get as httpGet, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, get as httpsGet } from 'node:https';
import type { AptConfiguration } from '../debian/apt-configuration.ts';

export interface HttpSettings {
  readonly signal: AbortSignal | undefined;
  /** How long a connection, or a connection's next bytes, may take. */
  readonly timeoutMs: number;
  /** How long to wait before the second try; each further pause is twice as long. */
  readonly retryPauseMs: number;
  readonly apt: AptConfiguration;
  /** Where the proxies stand that apt's settings say nothing of: http_proxy, https_proxy, no_proxy. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface HttpResponse {
  /** Offset within the file of the body's first byte. */
  readonly start: number;
  /** Size of the whole file, if the server says it. */
  readonly bytesTotal: number | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

/** The server was not reached, or did not do its part. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
  /** Whether trying again may help. */
  readonly isPassing: boolean;

  constructor(message: string, isPassing = true, cause?: unknown) {
    super(message, { cause });
    this.isPassing = isPassing;
  }

  sentence(): string {
    return `The mirror cannot be reached: ${this.message}. Check the network, or choose another mirror with --mirror.`;
  }
}

const MAX_REDIRECTIONS = 5;

/** Asks for `url` from byte `start` on; undefined when the server has no such file. */
export async function request(url: string, start: number, settings: HttpSettings): Promise<HttpResponse | undefined> {
  let address = new URL(url);
  for (let count = 0; count <= MAX_REDIRECTIONS; count++) {
    const response = await get(address, start, settings);
    const { statusCode = 0, headers } = response;
    if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
      response.resume();
      const next = URL.canParse(headers.location, address) ? new URL(headers.location, address) : undefined;
      if (
        next === undefined ||
        !/^https?:$/.test(next.protocol) ||
        (address.protocol === 'https:' && next.protocol === 'http:')
      ) {
        throw new Unreachable(`${address.href} redirects to ${headers.location}, which is not safe to follow`, false);
      }
      address = next;
      continue;
    }
    if (statusCode === 404 || statusCode === 410) {
      response.resume();
      return undefined;
    }
    if (statusCode === 206) {
      const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '');
      if (Number(range?.[1]) === start)
        return { start, bytesTotal: Number(range?.[2]), body: bodyOf(response, address, settings) };
    }
    if (statusCode === 200) {
      const length = headers['content-length'];
      return {
        start: 0,
        bytesTotal: length === undefined ? undefined : Number(length),
        body: bodyOf(response, address, settings),
      };
    }
    response.destroy();
    const isPassing = statusCode >= 500 || statusCode === 429 || statusCode === 408 || statusCode === 206;
    throw new Unreachable(`${address.href} answers "${statusCode} ${response.statusMessage ?? ''}"`, isPassing);
  }
  throw new Unreachable(`${url} redirects more than ${MAX_REDIRECTIONS} times`, false);
}

function get(address: URL, start: number, { signal, timeoutMs, apt, env }: HttpSettings): Promise<IncomingMessage> {
  const scheme = address.protocol === 'https:' ? 'https' : 'http';
  const proxyEnv = proxyEnvironment(apt.proxy(scheme, address.hostname), env);
  const options = {
    agent: scheme === 'https' ? new HttpsAgent({ proxyEnv }) : new HttpAgent({ proxyEnv }),
    headers: { 'user-agent': 'ringfence', ...(start > 0 ? { range: `bytes=${start}-` } : {}) },
    timeout: timeoutMs,
    ...(signal === undefined ? {} : { signal }),
  };
  return new Promise((resolve, reject) => {
    let response: IncomingMessage | undefined;
    const pending = (scheme === 'https' ? httpsGet : httpGet)(address, options, (incoming) => {
      response = incoming;
      resolve(incoming);
    });
    pending.on('timeout', () => {
      const silence = new Unreachable(`${address.host} does not answer within ${timeoutMs / 1000} s`);
      if (response === undefined) pending.destroy(silence);
      else response.destroy(silence);
    });
    pending.on('error', (error) => reject(explained(error, address, signal)));
  });
}

async function* bodyOf(
  response: IncomingMessage,
  address: URL,
  { signal }: HttpSettings,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const chunk of response) yield chunk;
  } catch (error) {
    throw explained(error, address, signal);
  }
}

/** apt's own setting counts before the environment. */
function proxyEnvironment(proxy: string | undefined, env: HttpSettings['env']): Record<string, string> {
  if (proxy?.toUpperCase() === 'DIRECT') return {};
  if (proxy !== undefined) return { http_proxy: proxy, https_proxy: proxy };
  const names = ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}

function explained(error: unknown, address: URL, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted === true || error instanceof Unreachable) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const message = error instanceof Error ? error.message : String(error);
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new Unreachable(`the name ${address.hostname} has no address`, code === 'EAI_AGAIN', error);
    case 'ECONNREFUSED':
      return new Unreachable(`${address.host} refuses the connection`, false, error);
    case 'ECONNRESET':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return new Unreachable(`${address.host} broke off the connection`, true, error);
    default:
      return new Unreachable(`${address.host}: ${code === '' ? message : `${message} (${code})`}`, true, error);
  }
}
