/** Connections between daemons: TLS 1.3 (RFC 8446), each end with its certificate, which the other knows by its fingerprint. */

import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import { type AddressInfo, isIPv6, Socket } from 'node:net';
import { FrameLink } from '../control/frames.ts';
import { HostError, systemReason } from '../failure.ts';
import { fingerprintOf, type Identity } from './identity.ts';
import type { Trust } from './trust.ts';

/** Where daemons listen when nobody says otherwise. */
export const MIGRATION_PORT = 7411;
/** Connections at once of daemons that are trusted; others are told so. */
const MAXIMUM_CONNECTIONS = 32;
/** Connections of whom it is not known, or known that they are not. */
const MAXIMUM_STRANGERS = 64;
/** How long the other end may take to say who it is, and to read that it is not trusted. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Silence after which the operating system asks whether the other end is there. */
const KEEP_ALIVE_MS = 2000;

const TLS = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', rejectUnauthorized: false } as const;

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Like `host`, `host:7411` or `[::1]:7411`; throws `bad-argument`. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-f:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?$/i.exec(text);
  const port = Number(match?.[3] ?? MIGRATION_PORT);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > 65_535 || (match?.[1] !== undefined && !isIPv6(host)))
    throw new HostError(
      'bad-argument',
      `"${text}" is no address of a daemon; write it like host:${MIGRATION_PORT} or [::1]:${MIGRATION_PORT}`,
    );
  return { host, port };
}

export interface DaemonLink {
  readonly link: FrameLink;
  /** Of the other daemon. */
  readonly fingerprint: string;
}

/** Connects with a daemon that is trusted, and no other than the one with that fingerprint if one is given; rejects with `unavailable` or `untrusted`. */
export async function connectToDaemon(
  identity: Identity,
  trust: Trust,
  address: Address,
  expected?: string,
): Promise<DaemonLink> {
  const name = `${address.host}:${address.port}`;
  const socket = connect({
    ...address,
    ...TLS,
    key: identity.pem,
    cert: identity.pem,
    checkServerIdentity: () => undefined,
  });
  socket.setTimeout(HANDSHAKE_TIMEOUT_MS, () => socket.destroy(new Error('it does not answer')));
  try {
    await once(socket, 'secureConnect');
  } catch (error) {
    socket.destroy();
    throw new HostError('unavailable', `the daemon at ${name} cannot be reached: ${reasonOf(error)}`, error);
  }
  const fingerprint = fingerprintOfPeer(socket);
  if (fingerprint === identity.fingerprint) {
    socket.destroy();
    throw new HostError('bad-argument', `the daemon at ${name} is this one`);
  }
  if (fingerprint === undefined || !trust.has(fingerprint)) {
    socket.destroy();
    throw new HostError(
      'untrusted',
      `the daemon at ${name} is not trusted; if its fingerprint is ${fingerprint ?? 'not known'}, say so with: ringfence trust ${fingerprint ?? 'FINGERPRINT'}`,
    );
  }
  if (expected !== undefined && fingerprint !== expected) {
    socket.destroy();
    throw new HostError(
      'untrusted',
      `the daemon at ${name} is another one than the one whose fingerprint is ${expected}`,
    );
  }
  return { link: framed(socket), fingerprint };
}

export interface Listening {
  /** HOST:PORT. */
  readonly address: string;
  close(): Promise<void>;
}

/** Listens for daemons; gives connections of those that are trusted to `serve`, and tells the others that they are not. */
export async function listenForDaemons(
  identity: Identity,
  trust: Trust,
  address: Address,
  serve: (link: FrameLink, fingerprint: string) => void,
  refuse: (link: FrameLink, error: HostError) => void,
): Promise<Listening> {
  const sockets = new Set<TLSSocket>();
  const strangers = new Strangers();
  let served = 0;
  const server: Server = createServer(
    { ...TLS, key: identity.pem, cert: identity.pem, requestCert: true, handshakeTimeout: HANDSHAKE_TIMEOUT_MS },
    (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      const fingerprint = fingerprintOfPeer(socket);
      const link = framed(socket);
      const isTrusted = fingerprint !== undefined && trust.has(fingerprint);
      if (isTrusted && served < MAXIMUM_CONNECTIONS) {
        served++;
        socket.once('close', () => served--);
        strangers.isKnown(socket);
        return serve(link, fingerprint);
      }
      limitSilence(link, HANDSHAKE_TIMEOUT_MS, 'heard');
      refuse(
        link,
        isTrusted
          ? new HostError(
              'too-many',
              `the daemon there has ${MAXIMUM_CONNECTIONS} connections already, which is the most`,
            )
          : new HostError(
              'untrusted',
              `the daemon there does not trust this one; say there: ringfence trust ${fingerprint ?? 'FINGERPRINT'}`,
            ),
      );
    },
  );
  server.on('connection', (socket) => strangers.add(socket));
  server.on('tlsClientError', () => undefined);
  server.listen(address.port, address.host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new HostError(
      'unavailable',
      `daemons cannot be listened for at ${address.host}:${address.port}: ${reasonOf(error)}`,
      error,
    );
  }
  const { address: host, port } = server.address() as AddressInfo;
  return {
    address: isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`,
    close() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      strangers.close();
      return closed;
    },
  };
}

/** Connections of whom it is not known yet that they are trusted. When there are too many, the oldest one goes of the address that has most of them. */
class Strangers {
  readonly #sockets = new Map<string, Socket>();

  add(socket: Socket): void {
    const name = portOf(socket);
    this.#sockets.set(name, socket);
    socket.once('close', () => {
      if (this.#sockets.get(name) === socket) this.#sockets.delete(name);
    });
    if (this.#sockets.size > MAXIMUM_STRANGERS) this.#mostOfOne()?.destroy();
  }

  isKnown(socket: Socket): void {
    this.#sockets.delete(portOf(socket));
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }

  /** In the order in which they came. */
  #mostOfOne(): Socket | undefined {
    const byAddress = Map.groupBy(this.#sockets.values(), ({ remoteAddress }) => remoteAddress);
    let most: readonly Socket[] = [];
    for (const sockets of byAddress.values()) if (sockets.length > most.length) most = sockets;
    return most[0];
  }
}

/** The same for a connection and the TLS that is spoken over it. */
function portOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** Of each connection with a limit, what looks whether it is silent. */
const LOOKS = new WeakMap<Socket, NodeJS.Timeout>();
/** Looks within such a limit. */
const LOOKS_IN_LIMIT = 10;

/**
 * From now on nobody waits for longer than that for who is at the other end and says nothing, and takes nothing either (or only says nothing, where that
 * is what counts: `heard`); 0 for as long as it takes. Of
 * Node's own time limit for sockets it may be twice as long: what was written before counts as a sign of life.
 */
export function limitSilence({ stream }: FrameLink, ms: number, counts: 'heard' | 'carried' = 'carried'): void {
  if (!(stream instanceof Socket)) return;
  clearInterval(LOOKS.get(stream));
  if (ms === 0 || stream.destroyed) return;
  const carried = (): string =>
    counts === 'heard' ? `${stream.bytesRead}` : `${stream.bytesRead} ${stream.bytesWritten - stream.writableLength}`;
  let [was, sinceMs] = [carried(), performance.now()];
  const look = setInterval(() => {
    const is = carried();
    if (is !== was) [was, sinceMs] = [is, performance.now()];
    else if (performance.now() - sinceMs >= ms) stream.destroy();
  }, ms / LOOKS_IN_LIMIT);
  if (!LOOKS.has(stream)) stream.once('close', () => clearInterval(LOOKS.get(stream)));
  LOOKS.set(stream, look.unref());
}

function framed(socket: TLSSocket): FrameLink {
  socket.setTimeout(0);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  return new FrameLink(socket);
}

function fingerprintOfPeer(socket: TLSSocket): string | undefined {
  const raw = socket.getPeerX509Certificate()?.raw;
  return raw && fingerprintOf(raw);
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ECONNREFUSED':
      return 'nobody listens there; "ringfence host --listen" does';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'no such host is known';
    case 'EADDRINUSE':
      return 'the port is taken already';
    default:
      return systemReason(error);
  }
}
