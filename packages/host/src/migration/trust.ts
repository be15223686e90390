/** Which other daemons machines may come from and go to, by the fingerprints of their certificates, which trust labels these may keep here, and what is still to be heard from, or said to them: in a file that is replaced whole. */

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { HostError, systemReason } from '../failure.ts';
import { LEAVING, type Leaving } from './leaving.ts';

const FILE = 'trusted.json';
/** Daemons that are trusted. */
const MAXIMUM_TRUSTED = 256;
/** Labels that machines of one of them may keep. */
const MAXIMUM_KEPT_LABELS = 256;
/** Migrations that came here and are remembered, until who has not heard of it cannot ask any more. */
const MAXIMUM_ARRIVED = 16_384;

/** Machines of which the daemon that they went to has not been told that nothing is here any more; of more it remembers for longer that it has them. */
const MAXIMUM_OWED = 4096;

const FORM = z.object({
  trusted: z.array(z.string()),
  /** Which labels machines of a daemon may keep, by its fingerprint. */
  labels: z.optional(z.record(z.string(), z.array(z.string()))),
  arrived: z.array(z.string()),
  owed: z.optional(z.array(LEAVING)),
});

const NOTHING = { trusted: [], arrived: [] };

export class Trust {
  readonly #path: string;
  #trusted: readonly string[];
  /** By fingerprint; of those that are trusted. */
  #labels: Readonly<Record<string, readonly string[]>>;
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
      const form = z.parse(FORM, text === undefined ? NOTHING : JSON.parse(text));
      const { trusted, labels = {}, arrived, owed = [] } = form;
      this.#trusted = trusted;
      this.#labels = labels;
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

  /** Labels that machines which come from there may keep, of those daemons where there are some. */
  get labels(): Readonly<Record<string, readonly string[]>> {
    return this.#labels;
  }

  /** Whether a machine that comes from there with that label has it here, too. */
  mayKeep(fingerprint: string, label: string): boolean {
    return this.has(fingerprint) && this.#labelsOf(fingerprint).includes(label);
  }

  /** Machines from there may keep those labels, beside those that they may keep already. */
  add(fingerprint: string, labels: readonly string[] = []): void {
    const before = this.#labelsOf(fingerprint);
    const all = [...new Set([...before, ...labels])];
    if (all.length > MAXIMUM_KEPT_LABELS)
      throw new HostError(
        'too-many',
        `machines from there may keep ${all.length} labels then; ${MAXIMUM_KEPT_LABELS} are the most`,
      );
    const isNew = !this.has(fingerprint);
    if (isNew && this.#trusted.length >= MAXIMUM_TRUSTED)
      throw new HostError('too-many', `${MAXIMUM_TRUSTED} daemons are trusted already, which is the most`);
    if (isNew || all.length > before.length)
      this.#trust(isNew ? [...this.#trusted, fingerprint] : this.#trusted, fingerprint, all);
  }

  /** It is not trusted any more; where labels are given it is, and its machines may not keep those. */
  remove(fingerprint: string, labels?: readonly string[]): void {
    if (!this.has(fingerprint))
      throw new HostError('not-found', `no daemon with the fingerprint ${fingerprint} is trusted`);
    const unknown = labels?.find((label) => !this.mayKeep(fingerprint, label));
    if (unknown !== undefined)
      throw new HostError('not-found', `machines from there may not keep the label "${unknown}"`);
    if (labels === undefined)
      this.#trust(
        this.#trusted.filter((each) => each !== fingerprint),
        fingerprint,
        [],
      );
    else {
      const kept = this.#labelsOf(fingerprint).filter((label) => !labels.includes(label));
      this.#trust(this.#trusted, fingerprint, kept);
    }
  }

  #labelsOf(fingerprint: string): readonly string[] {
    return (Object.hasOwn(this.#labels, fingerprint) ? this.#labels[fingerprint] : undefined) ?? [];
  }

  /** What cannot be written down is as it was. */
  #trust(trusted: readonly string[], fingerprint: string, labels: readonly string[]): void {
    const before = [this.#trusted, this.#labels] as const;
    const others = Object.entries(this.#labels).filter(([each]) => each !== fingerprint);
    this.#trusted = trusted;
    this.#labels = Object.fromEntries(labels.length === 0 ? others : [...others, [fingerprint, labels]]);
    try {
      this.#write();
    } catch (error) {
      [this.#trusted, this.#labels] = before;
      throw error;
    }
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
      const [trusted, labels, arrived, owed] = [this.#trusted, this.#labels, this.#arrived, this.#owed];
      const text = JSON.stringify({ trusted, labels, arrived, owed });
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
