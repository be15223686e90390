/** Which other daemons machines may come from and go to, by the fingerprints of their certificates, and what is still to be heard from, or said to them: in a file that is replaced whole. */

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { HostError, systemReason } from '../failure.ts';
import { LEAVING, type Leaving } from './leaving.ts';

const FILE = 'trusted.json';
/** Daemons that are trusted. */
const MAXIMUM_TRUSTED = 256;
/** Migrations that came here and are remembered, until who has not heard of it cannot ask any more. */
const MAXIMUM_ARRIVED = 16_384;

/** Machines of which the daemon that they went to has not been told that nothing is here any more; of more it remembers for longer that it has them. */
const MAXIMUM_OWED = 4096;

const FORM = z.object({
  trusted: z.array(z.string()),
  arrived: z.array(z.string()),
  owed: z.optional(z.array(LEAVING)),
});

const NOTHING = { trusted: [], arrived: [] };

export class Trust {
  readonly #path: string;
  #trusted: readonly string[];
  #arrived: readonly string[];
  #owed: readonly Leaving[];

  constructor(stateFolder: string) {
    this.#path = join(stateFolder, FILE);
    let text: string | undefined;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw this.#unusable(systemReason(error), error);
    }
    try {
      const { trusted, arrived, owed = [] } = z.parse(FORM, text === undefined ? NOTHING : JSON.parse(text));
      this.#trusted = trusted;
      this.#arrived = arrived;
      this.#owed = owed;
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

  /** Of these machines nothing is here any more, and who has them has not heard of it. */
  get owed(): readonly Leaving[] {
    return this.#owed;
  }

  owe(leaving: Leaving): void {
    const others = this.#owed.filter(({ migration }) => migration !== leaving.migration);
    this.#owed = [...others, leaving].slice(-MAXIMUM_OWED);
    this.#write();
  }

  /** Who has the machine has heard of it. */
  told(migration: string): void {
    if (!this.#owed.some((each) => each.migration === migration)) return;
    this.#owed = this.#owed.filter((each) => each.migration !== migration);
    this.#write();
  }

  #write(): void {
    try {
      const text = JSON.stringify({ trusted: this.#trusted, arrived: this.#arrived, owed: this.#owed });
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
