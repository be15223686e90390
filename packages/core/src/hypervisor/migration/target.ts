/**
 * The end that a machine comes to. A blank machine gets pages, as often as they come, and the state of its devices; it runs when the other end has said
 * that it is this one's (COMMIT), and not before. Whatever goes wrong until then leaves nothing of it here.
 *
 * Where pages follow when it runs (MISSING), each is "elsewhere" until it is here: one that the guest touches is asked for, and the guest waits for it
 * where it stands. What came unasked is put in its place between turns (`pump`). When the link is lost, the guest runs on to the first page that is missing,
 * and waits there for another link (resume.ts); it ends there where none can come.
 */

import type { PageSource } from '../../base/page-source.ts';
import { type Saved, SavedStateError } from '../../base/saved.ts';
import { defined } from '../../base/assert.ts';
import { codeOf } from './code-messages.ts';
import { type IncomingDisk, IncomingDisks } from './incoming-disks.ts';
import { Machine } from '../../machine/machine.ts';
import { type Json, savedFromJson } from '../../vm/snapshot/saved-json.ts';
import {
  garbled,
  jsonOf,
  type Message,
  MESSAGE,
  MessageReader,
  MessageWriter,
  MIGRATION_VERSION,
  pagesOf,
  readPages,
} from './messages.ts';
import { MigrationError } from './migration-error.ts';
import { checkResume, resumedOf, secretIn } from './resume.ts';
import type { MigrationCodec, MigrationLink, MigrationTimers, WaitingLink } from './ports.ts';

/** What comes. */
export interface Arrival {
  readonly memoryBytes: number;
  readonly harts: number;
  /** As the other end's host says it: an allegation. */
  readonly about: Json;
}

export interface IncomingMigration {
  readonly link: MigrationLink;
  readonly codec: MigrationCodec;
  readonly clock: MigrationTimers;
  /** Makes a blank machine like it. Throws when that cannot be; an error's `code` is told, too. */
  readonly make: (arrival: Arrival) => Promise<Machine>;
  /** The machine's disks, in their order, once it is made. They are written to until `prepare`. */
  readonly disks?: (() => readonly IncomingDisk[]) | undefined;
  /** Everything else that it needs is opened; `beside` is what went with its state. Throws when that cannot be. */
  readonly prepare?: ((beside: Json) => Promise<void>) | undefined;
  /** It is this end's from now on: kept for good before it runs. Throws `lost` where that may be kept, or not. */
  readonly owned?: (() => Promise<void>) | undefined;
  /** Lets it run. */
  readonly run: (machine: Machine) => void;
  /** The link from now on, where pages are missing; undefined where nobody can wait for them. */
  readonly wait?: (() => WaitingLink) | undefined;
}

type Phase = 'greeting' | 'making' | 'taking' | 'restoring' | 'starting' | 'running' | 'complete' | 'failed';

export class MigrationTarget {
  /** Resolves when the machine runs here; rejects with a MigrationError when it never will. */
  readonly arrived: Promise<Machine>;
  /** Resolves when it has all of its pages; rejects when it never will: it has to end when it touches one that is missing. */
  readonly complete: Promise<void>;
  readonly #migration: IncomingMigration;
  #writer: MessageWriter;
  #reader: MessageReader;
  readonly #missing = new MissingPages((index) => this.#fetch(index));
  #phase: Phase = 'greeting';
  #machine: Machine | undefined;
  #disks: IncomingDisks | undefined;
  #takenMessages = 0;
  #isSayingTaken = false;
  /** From when its state was heard until it was restored: time that its clock does not know of. */
  #restoringNs = 0;
  /** Resolves with what COMMIT says. */
  #committed = Promise.withResolvers<{ readonly [key: string]: Json }>();
  #waitingLink: WaitingLink | undefined;
  /** What the other end knows too, whatever link it comes over; undefined where no other one can come. */
  #secret: string | undefined;
  /** The link was lost, and another one is not there yet. */
  #isCut = false;
  /** Whether the other end of the link is known to be that of the first one. */
  #isKnown = true;
  /** Why nothing more is heard. */
  #broken: MigrationError | undefined;
  #settle = {
    arrived: Promise.withResolvers<Machine>(),
    complete: Promise.withResolvers<void>(),
  };

  constructor(migration: IncomingMigration) {
    this.#migration = migration;
    this.#writer = new MessageWriter(migration.codec);
    this.#reader = new MessageReader(migration.codec);
    this.arrived = this.#settle.arrived.promise;
    this.complete = this.#settle.complete.promise;
    for (const promise of [this.arrived, this.complete]) promise.catch(() => undefined);
    migration.link.listen(
      (message) => this.#hear(message),
      () => this.#lost(),
    );
  }

  /** Whether pages are still to come. */
  get isPartial(): boolean {
    return this.#missing.size > 0;
  }

  /** Puts what came unasked in its place, between two turns of the machine. False when nothing is missing any more, or ever will come. */
  pump(): boolean {
    const link = this.#waitingLink;
    if (link === undefined || this.#broken || this.#phase !== 'running') return false;
    try {
      if (!this.#isCut || this.#rejoin(link, false))
        for (let message = link.receive(false); message !== undefined; message = link.receive(false))
          this.#handle(this.#reader.read(message));
      this.#place();
      return this.isPartial;
    } catch (error) {
      if (this.#cut()) return true;
      this.#fail(asMigrationError(error));
      return false;
    }
  }

  #hear(bytes: Uint8Array): void {
    if (this.#broken || this.#phase === 'complete') return;
    try {
      this.#handle(this.#reader.read(bytes));
    } catch (error) {
      this.#fail(asMigrationError(error));
    }
  }

  #handle(message: Message): void {
    if (!this.#isKnown && message.kind !== MESSAGE.RESUME) throw garbled('comes when it cannot');
    switch (message.kind) {
      case MESSAGE.RESUME:
        return this.#resume(message);
      case MESSAGE.HELLO:
        this.#expect('greeting');
        this.#phase = 'making';
        return void this.#attempt(() => this.#greeted(jsonOf(message)));
      case MESSAGE.PAGES:
        return this.#take(message);
      case MESSAGE.CODE: {
        this.#expect('taking');
        const { pages } = defined(this.#machine, 'the machine');
        pages.decodeAhead(codeOf(message, pages.count));
        return this.#sayTaken();
      }
      case MESSAGE.DISK:
        this.#expect('taking');
        return this.#disks?.take(message, () => this.#sayTaken());
      case MESSAGE.DISK_SYNC:
        this.#expect('taking');
        return this.#disks?.sync();
      case MESSAGE.MISSING:
        this.#expect('taking');
        return this.#miss(message);
      case MESSAGE.STATE:
        this.#expect('taking');
        this.#phase = 'restoring';
        return void this.#attempt(() => this.#handOver(jsonOf(message)));
      case MESSAGE.COMMIT:
        this.#expect('restoring');
        return this.#committed.resolve(jsonOf(message));
      case MESSAGE.CANCEL: {
        if (this.#phase === 'starting' || this.#phase === 'running') throw garbled('comes too late');
        const { message: why } = jsonOf(message);
        return this.#fail(new MigrationError('aborted', typeof why === 'string' ? why : 'it was stopped'));
      }
      default:
        throw garbled('comes when it cannot');
    }
  }

  async #greeted({ version, stateLayout, memoryBytes, harts, about }: { readonly [key: string]: Json }): Promise<void> {
    if (version !== MIGRATION_VERSION || stateLayout !== Machine.stateLayout)
      throw new MigrationError('version', 'the two ends are of different versions of Ringfence');
    if (typeof memoryBytes !== 'number' || typeof harts !== 'number' || about === undefined)
      throw garbled('says no machine');
    const machine = await this.#migration.make({ memoryBytes, harts, about });
    this.#machine = machine;
    if (machine.memoryBytes !== memoryBytes || machine.hartCount !== harts)
      throw new MigrationError('other-machine', 'the machine here is of another make');
    this.#disks = new IncomingDisks(this.#migration.disks?.() ?? [], (error) => this.#fail(error));
    this.#goOn('making', 'taking');
    await this.#send(this.#writer.bytes(MESSAGE.ACCEPT));
  }

  #take(message: Message): void {
    const { codec } = this.#migration;
    const isLate = this.#phase === 'running' || this.#phase === 'starting';
    if (!isLate) this.#expect('taking');
    const { pages } = defined(this.#machine, 'the machine');
    readPages(message, pages.count, codec, (index, bytes) => {
      if (!isLate) pages.put(index, bytes);
      else if (!this.#missing.came(index, bytes)) throw garbled('has a page that is here');
    });
    this.#sayTaken();
  }

  #sayTaken(): void {
    this.#takenMessages++;
    if (this.#waitingLink) this.#sayTakenNow();
    else if (!this.#isSayingTaken) void this.#sayTakenSoon();
  }

  /** Of all that come in this turn at once. */
  async #sayTakenSoon(): Promise<void> {
    this.#isSayingTaken = true;
    await this.#migration.codec.turn();
    this.#isSayingTaken = false;
    if (this.#phase !== 'failed') this.#sayTakenNow();
  }

  #sayTakenNow(): void {
    if (this.#broken) return;
    const taken = this.#writer.word(MESSAGE.TAKEN, this.#takenMessages);
    if (this.#waitingLink) this.#waitingLink.send(taken);
    else void this.#migration.link.send(taken);
  }

  #miss(message: Message): void {
    const { pages, isThreaded } = defined(this.#machine, 'the machine');
    if (pages.source !== undefined) throw garbled('comes twice');
    if (this.#migration.wait === undefined || isThreaded)
      throw garbled('has pages follow where nobody can wait for them');
    const missing = pagesOf(message, pages.count);
    pages.source = this.#missing;
    pages.lose(missing);
    this.#missing.expect(missing);
  }

  async #handOver({ state, beside, secret }: { readonly [key: string]: Json }): Promise<void> {
    const heardNs = this.#nowNs;
    const machine = defined(this.#machine, 'the machine');
    if (state === undefined || beside === undefined) throw garbled('says no state');
    this.#secret = secretIn(secret);
    let saved: Saved;
    try {
      saved = savedFromJson(state);
    } catch (error) {
      throw garbled('has a state that is none', error);
    }
    try {
      machine.restore(saved);
    } catch (error) {
      const why = error instanceof SavedStateError ? `: ${error.message}` : '';
      throw new MigrationError('other-machine', `the state does not fit the machine${why}`, { cause: error });
    }
    this.#restoringNs = this.#nowNs - heardNs;
    await this.#disks?.durable();
    await this.#migration.prepare?.(beside);
    const { stoodNs } = await this.#committed.promise;
    this.#goOn('restoring', 'starting');
    try {
      await this.#migration.owned?.();
    } catch (error) {
      // Nothing says that it is this end's, and so it is the other's; of what is `lost` nobody knows here, and so it is not refused.
      this.#phase = 'restoring';
      throw error;
    }
    if (this.isPartial && this.#broken === undefined) this.#wait();
    // Its time goes on from when it stood still there: what passed here since its state was restored is counted already.
    if (typeof stoodNs === 'number' && stoodNs > 0 && stoodNs < LONGEST_STAND_NS)
      machine.pass(stoodNs + this.#restoringNs);
    machine.resume();
    this.#phase = 'running';
    // Before anything that `run` has its host do: the other end waits for it, and tells how long the machine stood still.
    const running = this.#writer.bytes(MESSAGE.RUNNING);
    try {
      if (this.#waitingLink) this.#waitingLink.send(running);
      else void this.#migration.link.send(running);
    } catch (error) {
      // It is this end's, whoever hears of it.
      if (!this.#cut()) this.#broken = asMigrationError(error);
    }
    this.#migration.run(machine);
    this.#settle.arrived.resolve(machine);
    if (!this.isPartial) this.#isComplete();
    else if (this.#broken) this.#fail(this.#broken);
  }

  /** The link is read where the guest stands from now on. One that is gone makes no difference to whose the machine is. */
  #wait(): void {
    try {
      this.#waitingLink = this.#migration.wait?.();
      if (this.#isCut && this.#waitingLink?.rejoin === undefined) throw new MigrationError('lost', NOT_HEARD);
    } catch (error) {
      this.#broken = asMigrationError(error);
    }
  }

  /** A page that the guest waits for. */
  #fetch(index: number): void {
    const link = this.#waitingLink;
    if (link === undefined || this.#broken) throw new MigrationError('lost', LOST_PAGES);
    const hear = (): void =>
      this.#handle(this.#reader.read(defined(link.receive(true), 'a message that was waited for')));
    while (!this.#missing.isHere(index))
      try {
        if (this.#isCut) this.#rejoin(link, true);
        while (!this.#isKnown) hear();
        link.send(this.#writer.word(MESSAGE.FETCH, index));
        while (!this.#missing.isHere(index)) hear();
      } catch (error) {
        if (this.#cut()) continue;
        this.#fail(asMigrationError(error));
        throw new MigrationError('lost', LOST_PAGES, { cause: error });
      }
  }

  /** Gives up a link that is lost, or says what cannot be. False when no other one can come. */
  #cut(): boolean {
    if (this.#isCut || this.#secret === undefined || this.#waitingLink?.rejoin === undefined || !this.isPartial)
      return false;
    this.#isCut = true;
    this.#migration.link.close();
    return true;
  }

  /** Whether there is another link; throws when there never will be. */
  #rejoin(link: WaitingLink, wait: boolean): boolean {
    if (link.rejoin?.(wait) !== true) return false;
    const { codec } = this.#migration;
    [this.#reader, this.#writer] = [new MessageReader(codec), new MessageWriter(codec)];
    [this.#isCut, this.#isKnown, this.#takenMessages] = [false, false, 0];
    return true;
  }

  /** Whoever is at the other end of the new link. */
  #resume(message: Message): void {
    const link = this.#waitingLink;
    if (this.#isKnown || link === undefined || this.#secret === undefined) throw garbled('comes when it cannot');
    try {
      checkResume(message, this.#secret);
    } catch (error) {
      const { code, message: why } = asMigrationError(error);
      link.send(this.#writer.json(MESSAGE.REFUSE, { code, message: why }));
      throw error;
    }
    this.#isKnown = true;
    const { pages } = defined(this.#machine, 'the machine');
    link.send(resumedOf(this.#secret, this.#missing.absent, pages.count, this.#writer));
  }

  /** Pages that came while nobody asked for them. */
  #place(): void {
    const { pages } = defined(this.#machine, 'the machine');
    for (const index of this.#missing.waiting) {
      pages.bring(index);
      // One that the guest has given away meanwhile is not to be brought any more.
      this.#missing.drop(index);
    }
    if (!this.isPartial) this.#isComplete();
  }

  #isComplete(): void {
    this.#phase = 'complete';
    try {
      if (!this.#isCut && this.#isKnown) this.#waitingLink?.send(this.#writer.bytes(MESSAGE.COMPLETE));
    } catch {
      // Who asks for it hears it.
    }
    this.#settle.complete.resolve();
  }

  #lost(): void {
    if (this.#phase === 'complete') return;
    const isOurs = this.#phase === 'running' || this.#phase === 'starting';
    if (isOurs && !this.isPartial) return;
    // Another one may come where the guest waits: it is seen there that this one is lost.
    if (this.#phase === 'running' && this.#secret !== undefined && this.#waitingLink?.rejoin !== undefined) return;
    if (this.#phase === 'starting' && this.#secret !== undefined) return void (this.#isCut = true);
    // One that runs is told when it asks for the next page: nothing comes any more, and what the link was may be something else by then.
    this.#fail(new MigrationError('lost', NOT_HEARD));
  }

  #fail(error: MigrationError): void {
    if (this.#phase === 'failed' || this.#phase === 'complete') return;
    // It is kept that COMMIT was heard: whatever comes after it, the machine runs here, and nowhere else.
    const isOurs = this.#phase === 'starting' || this.#phase === 'running';
    if (!isOurs && error.code !== 'lost' && error.code !== 'aborted')
      void this.#migration.link.send(
        this.#writer.json(MESSAGE.REFUSE, { code: error.reason ?? error.code, message: error.message }),
      );
    this.#migration.link.close();
    void this.#disks?.stop();
    this.#broken = error;
    if (this.#phase === 'starting') return;
    this.#phase = 'failed';
    this.#settle.complete.reject(error);
    this.#settle.arrived.reject(error);
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#fail(asMigrationError(error));
    }
  }

  #expect(phase: Phase): void {
    if (this.#phase !== phase) throw garbled('comes when it cannot');
  }

  /** Unless something went wrong meanwhile. */
  #goOn(from: Phase, to: Phase): void {
    if (this.#phase !== from) throw new MigrationError('lost', 'the other side cannot be heard any more');
    this.#phase = to;
  }

  #send(message: Uint8Array): Promise<void> {
    return this.#migration.link.send(message);
  }

  get #nowNs(): number {
    return this.#migration.clock.monotonicNs();
  }
}

/** Pages that were not here when the machine began to run. */
class MissingPages implements PageSource {
  readonly #fetch: (index: number) => void;
  readonly #expected = new Set<number>();
  /** Bytes of those that came and are not in their place yet; undefined for zeroes. */
  readonly #came = new Map<number, Uint8Array | undefined>();

  constructor(fetch: (index: number) => void) {
    this.#fetch = fetch;
  }

  get size(): number {
    return this.#expected.size;
  }

  get waiting(): readonly number[] {
    return [...this.#came.keys()];
  }

  expect(pages: readonly number[]): void {
    for (const index of pages) this.#expected.add(index);
  }

  isHere(index: number): boolean {
    return this.#came.has(index);
  }

  /** Those that have not come. */
  get absent(): readonly number[] {
    return [...this.#expected].filter((index) => !this.#came.has(index));
  }

  /** False for one that nobody expects, or that came already. */
  came(index: number, bytes: Uint8Array | undefined): boolean {
    if (!this.#expected.has(index) || this.#came.has(index)) return false;
    this.#came.set(index, bytes?.slice());
    return true;
  }

  load(index: number, into: Uint8Array): void {
    if (!this.#came.has(index)) this.#fetch(index);
    const bytes = this.#came.get(index);
    if (bytes) into.set(bytes);
    else into.fill(0);
    this.drop(index);
  }

  drop(index: number): void {
    this.#came.delete(index);
    this.#expected.delete(index);
  }
}

const NOT_HEARD = 'the other side cannot be heard any more';
const LOST_PAGES =
  'a part of its memory was still where it came from, and cannot be had any more: what it did since it was moved is lost';
/** More is no downtime. */
const LONGEST_STAND_NS = 60e9;

/** What a host's own error says, with its code. */
function asMigrationError(error: unknown): MigrationError {
  if (error instanceof MigrationError) return error;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'bug';
  return new MigrationError('refused', error instanceof Error ? error.message : String(error), {
    cause: error,
    reason: code,
  });
}
