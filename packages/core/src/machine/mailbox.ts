/**
 * How a thread that executes harts has the machine's thread do something: an access to a device, or what the SBI leaves to it. One request
 * at a time, in words of the domain's memory.
 *
 *     pCPU      request, ASKED, doorbell ── waits ──────────────> takes the answer
 *     machine                     serve ── answer, ANSWERED ──┘
 *
 * A store that only has a device look for work (`MmioDevice.isNotice`) is LEFT there, and nobody waits: the machine's thread takes the request away before the
 * device looks, so that one which is still there is as good as another one. Where such stores go is learned from the first answer.
 */

import { defined } from '../base/assert.ts';
import { CONTROL, HART, type PCPU } from '../engine/layout.ts';
import type { PcpuWords } from '../engine/pcpu-words.ts';
import type { Clock } from '../base/ports.ts';
import type { Ending } from './ending.ts';

const MAIL = { NONE: 0, ASKED: 1, ANSWERED: 2, LEFT: 3 } as const;
const KIND = { LOAD: 0, STORE: 1, WRITE: 2, READ: 3, END: 4, KEEP: 5 } as const;
const ENDINGS: readonly Ending['kind'][] = ['poweroff', 'reboot', 'failure'];
/** The answer to a store that was a notice. */
const WAS_NOTICE = 2;
/** Places of notices that are remembered; with more all are forgotten. */
const MAX_NOTICES = 64;
/** Looks for the answer before the thread lets go of its processor. */
const LOOKS = 500;

/** What the machine's thread does when it is asked. */
export interface MailHandlers {
  /** Load and store as the engine asks for them (EngineHost): 0 when nobody answers there; values in hart.value. */
  load(hart: number, low: number, high: number, bytes: number): number;
  store(hart: number, low: number, high: number, bytes: number): number;
  /** Whether a store at that address only has a device look for work (MmioDevice.isNotice). */
  isNotice(address: number): boolean;
  /** A store of `low` (and `high`) by a hart that did not wait for it. */
  notice(address: number, bytes: number, low: number, high: number): void;
  /** The debug console. */
  write(byte: number): void;
  read(): number | undefined;
  ended(ending: Ending): void;
  /** A page of a snapshot that is being taken will be written. */
  keep(index: number): void;
}

export class Mailbox {
  readonly #i32: Int32Array;
  readonly #words: PcpuWords;
  readonly #clock: Clock;
  /** Where this thread's stores were notices. */
  readonly #notices = new Set<number>();
  /** Time spent waiting for answers, for whoever sets it to 0 before. */
  waitedNs = 0;

  constructor(i32: Int32Array, words: PcpuWords, clock: Clock) {
    this.#i32 = i32;
    this.#words = words;
    this.#clock = clock;
  }

  // What a pCPU asks for.

  load(hart: number, low: number, high: number, bytes: number): number {
    return this.#ask(KIND.LOAD, hart, low, high, bytes);
  }

  store(hart: number, low: number, high: number, bytes: number): number {
    // Of each size apart: a store of another one may be an access fault.
    const place = addressOf(low, high) * 8 + bytes - 1;
    if (this.#notices.has(place)) {
      this.#leave(hart, low, high, bytes);
      return 1;
    }
    const answer = this.#ask(KIND.STORE, hart, low, high, bytes);
    if (answer !== WAS_NOTICE) return answer;
    if (this.#notices.size >= MAX_NOTICES) this.#notices.clear();
    this.#notices.add(place);
    return 1;
  }

  write(bytes: Uint8Array): void {
    for (const byte of bytes) this.#ask(KIND.WRITE, 0, byte, 0, 1);
  }

  read(): number | undefined {
    const answer = this.#ask(KIND.READ, 0, 0, 0, 1);
    return answer < 0 ? undefined : answer;
  }

  ended(ending: Ending): void {
    this.#ask(KIND.END, 0, ENDINGS.indexOf(ending.kind), ending.kind === 'failure' ? ending.code : 0, 0);
  }

  keep(index: number): void {
    this.#ask(KIND.KEEP, 0, index, 0, 0);
  }

  /** A store that nobody waits for. */
  #leave(hart: number, low: number, high: number, bytes: number): void {
    const [i32, words] = [this.#i32, this.#words];
    const word = (name: keyof typeof PCPU): number => words.word(words.own, name);
    const value = (hart + HART.value) >>> 2;
    const [valueLow, valueHigh] = [i32[value] ?? 0, i32[value + 1] ?? 0];
    const mail = word('mail');
    // What the guest wrote before is written when this is answered: a request that is still there will find it.
    if (Atomics.compareExchange(i32, mail, MAIL.LEFT, MAIL.LEFT) === MAIL.LEFT) {
      const isSame = i32[word('mailLow')] === low && i32[word('mailHigh')] === high && i32[word('mailBytes')] === bytes;
      if (isSame && i32[word('mailValueLow')] === valueLow && i32[word('mailValueHigh')] === valueHigh) return;
      words.outside(() => this.#untilTaken(mail));
    }
    i32[word('mailLow')] = low;
    i32[word('mailHigh')] = high;
    i32[word('mailBytes')] = bytes;
    i32[word('mailValueLow')] = valueLow;
    i32[word('mailValueHigh')] = valueHigh;
    Atomics.store(i32, mail, MAIL.LEFT);
    words.ring();
  }

  #untilTaken(mail: number): void {
    for (let looks = 0; Atomics.load(this.#i32, mail) === MAIL.LEFT; looks++)
      if (looks > LOOKS) Atomics.wait(this.#i32, mail, MAIL.LEFT);
  }

  /** Nobody waits for this thread meanwhile: no store of its hart is on its way. */
  #ask(kind: number, hart: number, low: number, high: number, bytes: number): number {
    const [i32, words] = [this.#i32, this.#words];
    const word = (name: keyof typeof PCPU): number => words.word(words.own, name);
    const mail = word('mail');
    const startNs = this.#clock.monotonicNs();
    return words.outside(() => {
      this.#untilTaken(mail);
      i32[word('mailKind')] = kind;
      i32[word('mailHart')] = hart;
      i32[word('mailLow')] = low;
      i32[word('mailHigh')] = high;
      i32[word('mailBytes')] = bytes;
      Atomics.store(i32, mail, MAIL.ASKED);
      words.ring();
      for (let looks = 0; Atomics.load(i32, mail) !== MAIL.ANSWERED; looks++)
        if (looks > LOOKS) Atomics.wait(i32, mail, MAIL.ASKED);
      i32[mail] = MAIL.NONE;
      this.waitedNs += this.#clock.monotonicNs() - startNs;
      return defined(i32[word('mailValueLow')], 'an answer');
    });
  }

  // What the machine's thread does.

  /** The present value of the doorbell: `wait` and `whenRung` end when it changes. */
  get rung(): number {
    return Atomics.load(this.#i32, CONTROL.doorbell >>> 2);
  }

  wait(seen: number, forMs: number): void {
    Atomics.wait(this.#i32, CONTROL.doorbell >>> 2, seen, forMs);
  }

  /** Resolves when somebody asks for something. */
  async whenRung(seen: number): Promise<void> {
    await Atomics.waitAsync(this.#i32, CONTROL.doorbell >>> 2, seen).value;
  }

  /** Does what is asked for; false when nothing was. */
  serve(handlers: MailHandlers): boolean {
    let served = false;
    for (let number = 0; number < this.#words.count; number++) {
      const mail = this.#words.word(number, 'mail');
      const state = Atomics.load(this.#i32, mail);
      if (state === MAIL.LEFT) {
        served = true;
        this.#takeNotice(number, mail, handlers);
        continue;
      }
      if (state !== MAIL.ASKED) continue;
      served = true;
      this.#i32[this.#words.word(number, 'mailValueLow')] = this.#answer(number, handlers);
      Atomics.store(this.#i32, mail, MAIL.ANSWERED);
      Atomics.notify(this.#i32, mail);
    }
    return served;
  }

  #answerStore(handlers: MailHandlers, hart: number, low: number, high: number, bytes: number): number {
    const stored = handlers.store(hart, low, high, bytes);
    return stored !== 0 && handlers.isNotice(addressOf(low, high)) ? WAS_NOTICE : stored;
  }

  #takeNotice(number: number, mail: number, handlers: MailHandlers): void {
    const of = (name: keyof typeof PCPU): number => defined(this.#i32[this.#words.word(number, name)], name);
    const address = addressOf(of('mailLow'), of('mailHigh'));
    const [bytes, low, high] = [of('mailBytes'), of('mailValueLow'), of('mailValueHigh')];
    Atomics.store(this.#i32, mail, MAIL.NONE);
    Atomics.notify(this.#i32, mail);
    handlers.notice(address, bytes, low, high);
  }

  #answer(number: number, handlers: MailHandlers): number {
    const of = (name: keyof typeof PCPU): number => defined(this.#i32[this.#words.word(number, name)], name);
    const [hart, low, high, bytes] = [of('mailHart'), of('mailLow'), of('mailHigh'), of('mailBytes')];
    switch (of('mailKind')) {
      case KIND.LOAD:
        return handlers.load(hart, low, high, bytes);
      case KIND.STORE:
        return this.#answerStore(handlers, hart, low, high, bytes);
      case KIND.WRITE:
        handlers.write(low);
        return 0;
      case KIND.READ:
        return handlers.read() ?? -1;
      case KIND.KEEP:
        handlers.keep(low);
        return 0;
      default: {
        const kind = defined(ENDINGS[low], 'an ending');
        handlers.ended(kind === 'failure' ? { kind, code: high } : { kind });
        return 0;
      }
    }
  }
}

/** The address of which these are the halves. */
export const addressOf = (low: number, high: number): number => (high >>> 0) * 2 ** 32 + (low >>> 0);
