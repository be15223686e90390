/**
 * The end that a machine leaves. It runs while its memory is sent, round by round, each round what was written during the one before; then it stands
 * still, the rest and the devices follow, and it is handed over:
 *
 *     greet ── rounds ── stand still ── rest, state ──┬── COMMIT said ── RUNNING heard ── moved
 *     '── the machine is this end's: it goes on here ─'└── the other's when it has kept that it heard COMMIT: it never goes on here unless the other says
 *            after whatever goes wrong                     that it does not have it, and never will (REFUSE, or `settle`)
 *
 * Disks come first: all of them, then what was written meanwhile, and what is written from then on comes with the rounds. A guest that writes to them faster
 * than the link carries waits for its writes (disk-mirror.ts).
 *
 * A guest that writes faster than the link carries is slowed down (convergence.ts, guest-throttle.ts), until the rest can be sent while it stands still, for
 * LONGEST_STAND_MS at most. If that does not help, either it stays, or, where that was asked for (post-copy), it is handed over before all pages are there,
 * and the rest is sent while it runs, over another link when one is lost (resume.ts): the machine stands still here meanwhile, and keeps its pages.
 *
 * Nothing is waited for longer than MAXIMUM_SILENCE_MS while the machine stands still: it goes on here, or it is asked whose it is.
 */

import { PAGE_SIZE } from '../../base/numbers.ts';
import { Machine } from '../../machine/machine.ts';
import type { PageChanges } from '../../machine/page-changes.ts';
import { savedToJson } from '../../vm/snapshot/saved-json.ts';
import { UnsaidCode } from './code-messages.ts';
import { Convergence, DOWNTIME_MS } from './convergence.ts';
import { GuestThrottle } from './guest-throttle.ts';
import { type Rest, withHot } from './hot-pages.ts';
import type { MigrationProgress, MigrationReport } from './migration-report.ts';
import { LatePages } from './late-pages.ts';
import { OutgoingDisks } from './outgoing-disks.ts';
import { missingIn, resumeOf } from './resume.ts';
import { SentPages } from './sent-pages.ts';
import { Silence } from './silence.ts';
import {
  BATCH_BYTES,
  BATCH_PAGES,
  bitmapOf,
  jsonOf,
  type Message,
  MESSAGE,
  MessageReader,
  MessageWriter,
  MIGRATION_VERSION,
  PageBatch,
  wordOf,
  garbled,
} from './messages.ts';
import { MigrationError } from './migration-error.ts';
import type { OutgoingMigration } from './outgoing-migration.ts';
import type { MigrationLink } from './ports.ts';

type Phase = 'greeting' | 'sending' | 'committed' | 'running' | 'resuming' | 'over';

export class MigrationSource {
  readonly #migration: OutgoingMigration;
  #link: MigrationLink;
  #writer: MessageWriter;
  #reader: MessageReader;
  readonly #sent: SentPages;
  readonly #disks: OutgoingDisks;
  readonly #startNs: number;
  #phase: Phase = 'greeting';
  #failure: MigrationError | undefined;
  /** What `#run` waits for now: something that is heard, or room for what it sends. */
  #waiting: PromiseWithResolvers<void> | undefined;
  #sending: PromiseWithResolvers<void> | undefined;
  readonly #silence: Silence;
  #heard = new Set<number>();
  /** Pages that were not sent when the machine was handed over. */
  #missing = new LatePages([], 0);
  /** All that were missing then. */
  #following: ReadonlySet<number> = new Set();
  #rounds = 0;
  #pagesAfter = 0;
  readonly #code = new UnsaidCode();
  #diskBytes = 0;
  #hasGivenAway = false;
  /** Of messages that are sent. */
  readonly #buffers: Uint8Array[] = [];
  /** What may be left of disks while the machine runs. */
  #diskLimitBytes = Infinity;
  /** The same when nothing but what is written comes any more. */
  #restLimitBytes = SMALLEST_DISK_LIMIT_BYTES;
  #resumesOnFailure = false;
  /** Undefined when it runs. */
  #standsSinceNs: number | undefined;
  readonly #throttle: GuestThrottle;

  constructor(migration: OutgoingMigration) {
    const { codec, clock } = migration;
    this.#migration = migration;
    this.#link = migration.link;
    this.#writer = new MessageWriter(codec);
    this.#reader = new MessageReader(codec);
    this.#sent = new SentPages(clock);
    this.#silence = new Silence(clock);
    this.#disks = new OutgoingDisks(migration.disks ?? [], (ms) => clock.sleep(ms));
    this.#throttle = new GuestThrottle(clock, {
      stand: () => this.#stand().then(() => undefined),
      resume: () => this.#resume(),
      run: (ms) => this.#runFor(ms),
      isSilent: () => this.#sent.isSilent,
      pagesPerMs: () => this.#sent.bytesPerMs / PAGE_SIZE,
    });
    this.#startNs = clock.monotonicNs();
  }

  /** Stops it, as long as the machine is this end's. */
  abort(): void {
    this.#fail(new MigrationError('aborted', 'somebody asked for it to be stopped'));
  }

  /**
   * Moves the machine; resolves when the other end has all of it, and it does not run here any more. Rejects with a MigrationError when it goes on here as if
   * nothing had been.
   */
  async run(): Promise<MigrationReport> {
    const { machine, link, about } = this.#migration;
    if (machine.pages.isProtected) throw new MigrationError('not-now', 'a snapshot of the machine is being taken');
    this.#listen();
    const changes = machine.pages.follow();
    let stoodSinceNs: number;
    // A machine that runs has time.
    void this.#silence.watch(
      () => this.#standsSinceNs,
      () => this.#fail(new MigrationError('lost', 'the other side says nothing any more')),
    );
    try {
      await this.#send(
        this.#writer.json(MESSAGE.HELLO, {
          version: MIGRATION_VERSION,
          stateLayout: Machine.stateLayout,
          memoryBytes: machine.memoryBytes,
          harts: machine.hartCount,
          about,
        }),
      );
      await this.#until(MESSAGE.ACCEPT);
      this.#phase = 'sending';
      await this.#sendDisks();
      const rest = await this.#converge(changes);
      stoodSinceNs = rest.stoodSinceNs;
      await this.#handOver(changes, rest);
      this.#silence.end();
    } catch (error) {
      this.#silence.end();
      await this.#throttle.end().catch(() => undefined);
      const failure = error instanceof MigrationError ? error : this.#failure;
      // Who refuses it has not got it, and never will.
      if (this.#phase !== 'committed' || failure?.code === 'refused') {
        this.#phase = 'over';
        void link.send(
          this.#writer.json(MESSAGE.CANCEL, { code: failure?.code ?? 'lost', message: failure?.message ?? '' }),
        );
        link.close();
        await this.#goOn(changes);
        throw error;
      }
      // Whose it is now, the other side alone knows.
      link.close();
      if ((await this.#migration.settle()) === 'source') {
        this.#phase = 'over';
        await this.#goOn(changes);
        throw failure ?? error;
      }
      const isWhole = await this.#sendMissing();
      this.#phase = 'over';
      this.#end(changes);
      return this.#report(0, isWhole);
    }
    const downtimeNs = this.#nowNs - stoodSinceNs;
    const isComplete = await this.#sendMissing();
    this.#phase = 'over';
    this.#end(changes);
    return this.#report(downtimeNs, isComplete);
  }

  /** Sends all of the disks, and what was written to them meanwhile, until little is left. */
  async #sendDisks(): Promise<void> {
    if (!this.#disks.areSent) return;
    await this.#stand();
    this.#disks.follow();
    this.#resume();
    while (!this.#disks.areSwept) await this.#sendPieces();
    const affordable = (this.#sent.bytesPerMs * (this.#migration.downtimeMs ?? DOWNTIME_MS)) / 4;
    const limit = Math.max(SMALLEST_DISK_LIMIT_BYTES, Math.min(DISK_LIMIT_BYTES, affordable));
    // Each time what is left is sent, and no more than that can be left then; the next time half of it is the most.
    for (let most = this.#disks.leftBytes; most > limit; most = Math.min(most / 2, this.#disks.leftBytes)) {
      this.#limitDisks(most);
      const untilBytes = this.#diskBytes + most;
      while (this.#disks.leftBytes > limit && this.#diskBytes < untilBytes) await this.#sendPieces();
    }
    this.#restLimitBytes = limit;
    this.#limitDisks(limit);
  }

  #limitDisks(bytes: number): void {
    this.#diskLimitBytes = this.#disks.limitBytes = bytes;
  }

  /** Sends some of what is left of the disks. */
  async #sendPieces(): Promise<void> {
    // Where the disks give nothing nobody else looks.
    if (this.#failure !== undefined) throw this.#failure;
    for (const message of await this.#disks.next(this.#writer)) {
      this.#diskBytes += message.length;
      this.#sent.sent(message.length, 0);
      await this.#send(message);
    }
    await this.#allTaken(WINDOW_BYTES);
    this.#tell(this.#rounds === 0 ? 'disks' : 'rounds', 0);
    await this.#migration.codec.turn();
  }

  /** Sends rounds until what is left can be sent while the machine stands still; it does then. */
  async #converge(changes: PageChanges): Promise<Rest> {
    const { downtimeMs, postCopy = false, rounds, machine } = this.#migration;
    const throttle = this.#throttle;
    await this.#stand();
    let pages = changes.take();
    this.#resume();
    const convergence = new Convergence(throttle, pages.length, {
      downtimeMs,
      rounds,
      mayFollow: postCopy && !machine.isThreaded,
    });
    for (;;) {
      const takenNs = this.#nowNs;
      this.#rounds++;
      throttle.begin();
      await this.#sendRound(changes, pages, convergence);
      await this.#sendCode();
      await this.#sendMostOfDisks();
      await this.#allTaken();
      await throttle.end();
      const stoodSinceNs = await this.#stand();
      pages = changes.take();
      const next = convergence.after({
        pages: pages.length,
        diskBytes: this.#disks.leftBytes,
        bytesPerMs: this.#sent.bytesPerMs,
        tookMs: (stoodSinceNs - takenNs) / 1e6,
      });
      if (next === 'stand') return { pages, hot: [], isPartial: false, stoodSinceNs };
      if (next === 'follow') return withHot(changes, pages, (ms) => this.#runOn(ms));
      if (next === 'never')
        throw new MigrationError(
          'not-converged',
          'the guest writes faster than the link carries its memory and disks, even when it is slowed down',
        );
      if (!throttle.isNeeded) this.#resume();
    }
  }

  /** Says what was executed during this round, whose pages are there: what of them is written again is decoded when it is executed. */
  async #sendCode(): Promise<void> {
    for (const body of this.#code.bodies(this.#migration.machine.pages)) {
      const message = this.#writer.bytes(MESSAGE.CODE, body);
      this.#sent.sent(message.length, 0);
      await this.#send(message);
      await this.#migration.codec.turn();
    }
  }

  /** Little is left of the disks when the machine stands still after a round, and little to be made durable then. */
  async #sendMostOfDisks(): Promise<void> {
    if (!this.#disks.areSent) return;
    await this.#sendSomeOfDisks(0);
    await this.#send(this.#writer.bytes(MESSAGE.DISK_SYNC));
  }

  /** Until no more than so many bytes are left; a guest that writes faster than that has more left afterwards, and does not hold up who asks. */
  async #sendSomeOfDisks(leftBytes: number): Promise<void> {
    const untilBytes = this.#diskBytes + 2 * this.#restLimitBytes;
    while (this.#disks.leftBytes > leftBytes && this.#diskBytes < untilBytes) await this.#sendPieces();
  }

  async #handOver(changes: PageChanges, { pages, hot, isPartial, stoodSinceNs }: Rest): Promise<void> {
    const { machine, held, givingUp } = this.#migration;
    this.#tell('handing over', pages.length);
    const state = savedToJson(machine.save());
    while (this.#disks.leftBytes > 0) await this.#sendPieces();
    if (isPartial) {
      this.#missing = new LatePages(pages, machine.pages.count);
      this.#following = new Set(pages);
      await this.#sendRound(changes, hot);
      await this.#send(this.#writer.bytes(MESSAGE.MISSING, bitmapOf(pages, machine.pages.count)));
    } else await this.#sendRound(changes, pages);
    this.#hasGivenAway = true;
    const beside = (await held?.()) ?? null;
    const secret = isPartial ? this.#migration.secret : undefined;
    await this.#send(this.#writer.json(MESSAGE.STATE, { state, beside, ...(secret ? { secret } : {}) }));
    await givingUp?.();
    if (this.#failure) throw this.#failure;
    // Nothing is waited for before that, for the machine stands still. Whose it is is decided there, and said.
    this.#phase = 'committed';
    const stoodNs = this.#nowNs - stoodSinceNs;
    await this.#send(this.#writer.json(MESSAGE.COMMIT, { stoodNs }));
    await this.#until(MESSAGE.RUNNING);
    this.#phase = 'running';
  }

  /** Sends what the other end has not got, over as many links as that takes. False when it cannot have all. */
  async #sendMissing(): Promise<boolean> {
    const { secret, rejoin } = this.#migration;
    if (this.#following.size === 0) return true;
    while (!(await this.#sendRest())) {
      this.#link.close();
      const next = secret === undefined ? undefined : await rejoin?.(this.#missing.size);
      if (next === undefined || next === 'complete') return next === 'complete';
      await this.#sendOver(next, secret ?? '');
    }
    return true;
  }

  /** What is missing there is said by the other end; that it does not say it is seen when the rest is sent. */
  async #sendOver(link: MigrationLink, secret: string): Promise<void> {
    const { codec } = this.#migration;
    [this.#link, this.#writer, this.#reader] = [link, new MessageWriter(codec), new MessageReader(codec)];
    this.#failure = undefined;
    this.#heard.clear();
    this.#sent.restart();
    this.#phase = 'resuming';
    this.#listen();
    try {
      await this.#send(resumeOf(secret, this.#writer));
      await this.#until(MESSAGE.RESUMED);
    } catch (error) {
      this.#failure ??=
        error instanceof MigrationError ? error : new MigrationError('lost', 'it cannot be heard', { cause: error });
    }
  }

  /** Sends what the other end has not got and has not asked for yet. False when the link is lost before it has all. */
  async #sendRest(): Promise<boolean> {
    try {
      while (this.#missing.size > 0 && this.#failure === undefined) {
        this.#sendLate(this.#missing.take());
        this.#tell('sending the rest', this.#missing.size);
        // One that is asked for must not wait behind many that are not.
        await this.#allTaken(AFTER_WINDOW_BYTES);
        await this.#migration.codec.turn();
      }
      await this.#until(MESSAGE.COMPLETE);
      return true;
    } catch {
      return false;
    }
  }

  #sendLate(pages: readonly number[]): void {
    if (pages.length === 0) return;
    this.#pagesAfter += pages.length;
    const buffer = this.#buffer();
    const message = new PageBatch(pages, this.#copy, buffer).finishPlain(this.#writer);
    this.#sent.sent(message.length, pages.length);
    void this.#link.send(message, () => this.#buffers.push(buffer));
  }

  #buffer(): Uint8Array {
    return this.#buffers.pop() ?? new Uint8Array(BATCH_BYTES);
  }

  /** Sends those that have not been written again already: these are the next round's. */
  async #sendRound(changes: PageChanges, pages: readonly number[], convergence?: Convergence): Promise<void> {
    const { codec } = this.#migration;
    const beganNs = this.#nowNs;
    let [turnNs, isLooked] = [beganNs, false];
    for (let at = 0, batch = 0; at < pages.length; batch++) {
      if (this.#failure) throw this.#failure;
      const [batchOf, next] = changes.unwritten(pages, at, BATCH_PAGES);
      at = next;
      if (batchOf.length === 0) break;
      const buffer = this.#buffer();
      const message = await new PageBatch(batchOf, this.#copy, buffer).finish(this.#writer, codec);
      this.#sent.sent(message.length, batchOf.length);
      await this.#send(message, () => this.#buffers.push(buffer));
      await this.#allTaken(WINDOW_BYTES);
      await this.#sendSomeOfDisks(this.#restLimitBytes / 2);
      if (this.#nowNs - turnNs > SEND_MS * 1e6) {
        await codec.turn();
        turnNs = this.#nowNs;
        if (!isLooked && turnNs - beganNs > LOOK_MS * 1e6) {
          isLooked = true;
          const written = changes.writtenOf(pages, LOOK_AT);
          if (convergence?.during(written, (turnNs - beganNs) / 1e6, this.#sent.bytesPerMs) === true)
            this.#throttle.begin();
        }
      }
      if (batch % REPORT_BATCHES === 0) this.#tell('rounds', pages.length - at);
    }
  }

  readonly #copy = (pages: readonly number[], into: Uint8Array): number[] =>
    this.#migration.machine.pages.copyHeld(pages, into);

  /** The machine stands still; since when. */
  async #stand(): Promise<number> {
    if (this.#standsSinceNs !== undefined) return this.#standsSinceNs;
    const stoodSinceNs = this.#nowNs;
    // A write that waits would have the machine wait for it.
    this.#disks.limitBytes = Infinity;
    if (!(await this.#migration.runner.pause())) throw new MigrationError('not-now', 'the machine does not run');
    this.#resumesOnFailure = true;
    this.#standsSinceNs = stoodSinceNs;
    if (this.#failure) throw this.#failure;
    return stoodSinceNs;
  }

  /** It stands still, and does so again after it has run for so long. */
  async #runFor(ms: number): Promise<number> {
    const { runner, machine } = this.#migration;
    const before = machine.pages.rewritten;
    if (!(await runner.runFor(ms))) throw new MigrationError('not-now', 'the machine does not run');
    this.#standsSinceNs = this.#nowNs;
    return machine.pages.rewritten - before;
  }

  /** It runs as if nothing were, and stands still after so long; since when. */
  async #runOn(ms: number): Promise<number> {
    this.#resume();
    await this.#migration.clock.sleep(ms);
    return this.#stand();
  }

  #resume(): void {
    this.#standsSinceNs = undefined;
    this.#resumesOnFailure = false;
    this.#disks.limitBytes = this.#diskLimitBytes;
    this.#migration.runner.resume();
  }

  /** The machine is this end's, and goes on as it would have. */
  async #goOn(changes: PageChanges): Promise<void> {
    this.#end(changes);
    if (this.#hasGivenAway) await this.#migration.kept?.();
    if (this.#resumesOnFailure) this.#resume();
  }

  /** Nobody asks any more what is written. */
  #end(changes: PageChanges): void {
    changes.end();
    this.#disks.end();
  }

  async #send(message: Uint8Array, sent?: () => void): Promise<void> {
    if (this.#failure) throw this.#failure;
    this.#sending = Promise.withResolvers();
    this.#link.send(message, sent).then(this.#sending.resolve, this.#sending.reject);
    await this.#silence.during(this.#sending.promise);
    if (this.#failure) throw this.#failure;
  }

  /** Resolves when no more than so many bytes of pages are on their way, and not too many messages. */
  async #allTaken(windowBytes = 0): Promise<void> {
    while (this.#sent.bytesUnderWay > windowBytes || this.#sent.messagesUnderWay > WINDOW_MESSAGES) await this.#wait();
  }

  #listen(): void {
    const link = this.#link;
    link.listen(
      (message) => void (link === this.#link && this.#hear(message)),
      () => void (link === this.#link && this.#fail(new MigrationError('lost', NOT_HEARD))),
    );
  }

  async #until(kind: number): Promise<void> {
    while (!this.#heard.has(kind)) await this.#wait();
  }

  /** Resolves with the next thing that is heard. */
  async #wait(): Promise<void> {
    if (this.#failure) throw this.#failure;
    this.#waiting = Promise.withResolvers();
    await this.#silence.during(this.#waiting.promise);
  }

  #fail(error: MigrationError): void {
    if (this.#failure !== undefined || this.#phase === 'over') return;
    // What was said cannot be taken back.
    if (error.code === 'aborted' && this.#phase !== 'greeting' && this.#phase !== 'sending') return;
    this.#failure = error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    this.#sending?.reject(error);
  }

  #hear(bytes: Uint8Array): void {
    if (this.#failure !== undefined || this.#phase === 'over') return;
    this.#silence.heard();
    try {
      this.#handle(this.#reader.read(bytes));
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      this.#fail(error);
      this.#link.close();
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve();
  }

  #handle(message: Message): void {
    const { kind } = message;
    switch (kind) {
      case MESSAGE.TAKEN:
        if (!this.#sent.taken(wordOf(message))) throw garbled('says that more came than was sent');
        return;
      case MESSAGE.REFUSE: {
        const { code, message: why } = jsonOf(message);
        if (this.#phase === 'running') throw garbled('comes too late');
        const text = typeof why === 'string' ? why : 'the other side will not have it';
        return this.#fail(new MigrationError('refused', text, typeof code === 'string' ? { reason: code } : {}));
      }
      case MESSAGE.FETCH: {
        const index = wordOf(message);
        if (this.#phase !== 'running' && this.#phase !== 'committed') throw garbled('comes too soon');
        // It may be on its way already.
        return this.#sendLate(this.#missing.takeFrom(index));
      }
      case MESSAGE.RESUMED: {
        if (this.#phase !== 'resuming') throw garbled('comes when it cannot');
        const { count } = this.#migration.machine.pages;
        this.#missing = new LatePages(missingIn(message, this.#migration.secret ?? '', this.#following, count), count);
        this.#phase = 'running';
        return void this.#heard.add(kind);
      }
      default:
        if (EXPECTED[this.#phase] !== kind) throw garbled('comes when it cannot');
        this.#heard.add(kind);
    }
  }

  #tell(phase: MigrationProgress['phase'], pagesLeft: number): void {
    this.#migration.onProgress?.({
      phase,
      round: this.#rounds,
      pagesSent: this.#sent.pages,
      pagesLeft,
      diskBytesSent: this.#diskBytes,
      diskBytesLeft: this.#disks.leftBytes,
    });
  }

  #report(downtimeNs: number, isComplete: boolean): MigrationReport {
    return {
      rounds: this.#rounds,
      pagesSent: this.#sent.pages,
      bytesSent: this.#sent.bytes,
      diskBytesSent: this.#diskBytes,
      pagesAfter: Math.min(this.#pagesAfter, this.#following.size),
      downtimeNs,
      totalNs: this.#nowNs - this.#startNs,
      isComplete,
    };
  }

  get #nowNs(): number {
    return this.#migration.clock.monotonicNs();
  }
}

const NOT_HEARD = 'the other side cannot be heard any more';

/** What the other end says, by what this one waits for. */
const EXPECTED: Partial<Record<Phase, number>> = {
  greeting: MESSAGE.ACCEPT,
  committed: MESSAGE.RUNNING,
  running: MESSAGE.COMPLETE,
};

/**
 * Bytes of pages on their way while the machine runs: they fill the link and what carries it, also where each of these waits for its turn on a processor.
 * Nothing is on its way any more when the machine stands still.
 */
const WINDOW_BYTES = 8 * 1024 * 1024;
/** Messages on their way: those of parts of disks that are zero have no bytes of their own. */
const WINDOW_MESSAGES = 4096;
/** Pages are sent for so long before others, the guest among them, have the thread. */
const SEND_MS = 1;
/** So long after a round began it is looked once how many of its pages were written again already: at one of so many. */
const LOOK_MS = 20;
const LOOK_AT = 16;
/** Of each disk so much may be left while rounds are sent, where the link is fast and where it is slow. */
const DISK_LIMIT_BYTES = 1024 * 1024;
const SMALLEST_DISK_LIMIT_BYTES = 256 * 1024;
/** The same when pages follow. */
const AFTER_WINDOW_BYTES = 512 * 1024;
/** Batches before progress is told. */
const REPORT_BATCHES = 32;
