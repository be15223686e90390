/**
 * Who a daemon is to others: an Ed25519 key (RFC 8032), and a certificate for TLS (RFC 5280, RFC 8410) that nobody but itself has signed. Others know it by
 * the certificate's SHA-256; names, dates and signers in it say nothing.
 */

import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostError, systemReason } from '../failure.ts';

const FILE = 'identity.pem';

export interface Identity {
  /** Private key and certificate, as TLS takes them. */
  readonly pem: string;
  readonly fingerprint: string;
}

/** The identity in a daemon's state folder; made when there is none. */
export function identityIn(stateFolder: string): Identity {
  const path = join(stateFolder, FILE);
  let pem: string;
  try {
    pem = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw new HostError('unavailable', `the key ${path} cannot be read: ${systemReason(error)}`, error);
    pem = newIdentity();
    writeFileSync(`${path}.new`, pem, { mode: 0o600, flush: true });
    renameSync(`${path}.new`, path);
  }
  try {
    return { pem, fingerprint: fingerprintOf(new X509Certificate(pem).raw) };
  } catch (error) {
    throw new HostError('unavailable', `the key ${path} is damaged; remove it to get another one`, error);
  }
}

/** SHA-256 of a certificate, as 64 hexadecimal digits. */
export function fingerprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('hex');
}

function newIdentity(): string {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  // X.690: DER.
  const algorithm = sequence(Buffer.from([0x06, 0x03, 0x2b, 0x65, 0x70]));
  const commonName = sequence(Buffer.from([0x06, 0x03, 0x55, 0x04, 0x03]), tagged(0x0c, Buffer.from('ringfence')));
  const name = sequence(tagged(0x31, commonName));
  const dates = sequence(tagged(0x17, Buffer.from('000101000000Z')), tagged(0x18, Buffer.from('99991231235959Z')));
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const key = publicKey.export({ type: 'spki', format: 'der' });
  const content = sequence(tagged(0x02, serial), algorithm, name, dates, name, key);
  const signature = sign(null, content, privateKey);
  const certificate = sequence(content, algorithm, tagged(0x03, Buffer.concat([Buffer.of(0), signature])));
  const base64 = certificate.toString('base64').replaceAll(/(.{64})/g, '$1\n');
  return `${privateKey.export({ type: 'pkcs8', format: 'pem' })}-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const head =
    length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >>> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}
