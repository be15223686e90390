/** Which other daemons machines may come from and go to: by the fingerprints of their certificates, in a file that is replaced whole. */

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { HostError, systemReason } from '../failure.ts';

const FILE = 'trusted.json';
/** Daemons that are trusted. */
const MAXIMUM_TRUSTED = 256;
/** Migrations that came here and are remembered, until who has not heard of it cannot ask any more. */
const MAXIMUM_ARRIVED = 16_384;

const FORM = z.object({ trusted: z.array(z.string()), arrived: z.array(z.string()) });

export class Trust {
  readonly #path: string;
  #trusted: readonly string[];
  #arrived: readonly string[];

  constructor(stateFolder: string) {
    this.#path = join(stateFolder, FILE);
    let text: string | undefined;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw this.#unusable(systemReason(error), error);
    }
    try {
      const { trusted, arrived } = text === undefined ? { trusted: [], arrived: [] } : z.parse(FORM, JSON.parse(text));
      this.#trusted = trusted;
      this.#arrived = arrived;
    } catch (error) {
      throw this.#unusable('it is damaged', error);
    }
  }

  get all(): readonly string[] {
    return this.#trusted;
  }

  has(fingerprint: string): boolean {
    return this.#trusted.includes(fingerprint);
  }

  add(fingerprint: string): void {
    if (this.has(fingerprint)) return;
    if (this.#trusted.length >= MAXIMUM_TRUSTED)
      throw new HostError('too-many', `${MAXIMUM_TRUSTED} daemons are trusted already, which is the most`);
    this.#trusted = [...this.#trusted, fingerprint];
    this.#write();
  }

  remove(fingerprint: string): void {
    if (!this.has(fingerprint))
      throw new HostError('not-found', `no daemon with the fingerprint ${fingerprint} is trusted`);
    this.#trusted = this.#trusted.filter((each) => each !== fingerprint);
    this.#write();
  }

  /** The machine of that migration is here, or was. */
  hasArrived(migration: string): boolean {
    return this.#arrived.includes(migration);
  }

  arrived(migration: string): void {
    this.#arrived = [...this.#arrived, migration];
    this.#write();
  }

  /** Throws `too-many` when no more can be remembered: to forget one would be to say of a machine that is here that it is not. */
  checkRoom(): void {
    if (this.#arrived.length < MAXIMUM_ARRIVED) return;
    throw new HostError(
      'too-many',
      `of ${MAXIMUM_ARRIVED} machines that came there it is not known yet whether those that they came from know it, which is the most`,
    );
  }

  /** Who it came from has nothing of it any more, and does not ask. */
  forget(migration: string): void {
    if (!this.hasArrived(migration)) return;
    this.#arrived = this.#arrived.filter((each) => each !== migration);
    this.#write();
  }

  #write(): void {
    try {
      const text = JSON.stringify({ trusted: this.#trusted, arrived: this.#arrived });
      writeFileSync(`${this.#path}.new`, `${text}\n`, { mode: 0o600, flush: true });
      renameSync(`${this.#path}.new`, this.#path);
    } catch (error) {
      throw this.#unusable(systemReason(error), error);
    }
  }

  #unusable(why: string, error: unknown): HostError {
    return new HostError('unavailable', `${this.#path} cannot be used: ${why}`, error);
  }
}
