/**
 * A machine that is moved again and again while it runs, on this tier or another, over links that break at random: exactly one runs each time, and
 * in the end it has left the same behind as one that never was moved.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../src/engine/float/testing/vectors.ts';
import type { Tier } from '../../src/engine/testing/tiers.ts';
import { MigrationError } from '../../src/hypervisor/migration/migration-error.ts';
import { MigrationSource } from '../../src/hypervisor/migration/source.ts';
import { MigrationTarget } from '../../src/hypervisor/migration/target.ts';
import type { WaitingLink } from '../../src/hypervisor/migration/ports.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { PAGE_SIZE } from '../../src/base/numbers.ts';
import { RAM_BASE, RAM_BYTES } from '../differential/places.ts';
import { endingOf, imageOf, MOST_TURNS, pacedMachine } from '../differential/paced-machine.ts';
import type { Program, Without } from '../differential/program.ts';
import type { Ending, Subject } from '../differential/subject.ts';
import { BrokenLink, brokenLinkCodec, type End, type Fault, FAULTS } from './broken-link.ts';

const MOST_MOVES = 14;

/** Messages of one migration, about: faults are spread over so many. */
const MESSAGES = 44;

export class MovedMachine implements Subject {
  readonly isForeign = false;
  readonly name: string;
  /** Migrations that moved the machine, that left it where it was, and that had pages follow. */
  moved = 0;
  stayed = 0;
  followed = 0;
  /** Of those, where the pages came over more than one link. */
  resumed = 0;
  readonly #tiers: readonly Tier[];
  readonly #follows: boolean;
  /** Turns between two migrations, at most. */
  readonly #turns: number;

  /** `follows` has pages follow each time, and links break while they do. */
  constructor(tiers: readonly Tier[], turns: number, follows = false) {
    this.#follows = follows;
    this.#tiers = tiers;
    this.#turns = turns;
    this.name = `Ringfence's ${tiers.join(' and ')}, moved`;
  }

  async run(program: Program, without?: Without): Promise<Ending> {
    const random = new Random(program.seed);
    let driven = new Driven(await pacedMachine(random.pick(this.#tiers), imageOf(program, without)));
    for (let move = 0; move < MOST_MOVES && !(await driven.run(1 + random.below(this.#turns))); move++) {
      const fault = { kind: this.#follows ? 'none' : random.pick(FAULTS), at: random.below(MESSAGES) };
      driven = await this.#move(driven, random, fault);
    }
    return endingOf(driven.machine, await driven.run(MOST_TURNS));
  }

  close(): void {}

  /** Gives the one that runs afterwards; throws when that is none, or both. */
  async #move(from: Driven, random: Random, fault: Fault): Promise<Driven> {
    let link = new BrokenLink(random, fault);
    const [here, there] = link.ends;
    let to: Driven | undefined;
    let [isOver, isLost, idle, links] = [false, false, 0, 1];
    const follows = new FollowingLinks(there);
    const codec = brokenLinkCodec();
    const tier = random.pick(this.#tiers);
    const target = new MigrationTarget({
      link: {
        send: (message, sent) => there.send(message, sent),
        listen: (onMessage, onLost) => there.listen(onMessage, onLost),
        close: () => follows.end.close(),
      },
      codec,
      clock: REAL_CLOCK,
      make: () => pacedMachine(tier),
      run: (machine) => {
        to = new Driven(machine);
        if (this.#follows) link.breakSoon({ kind: random.pick(FAULTS), at: random.below(SOON) });
      },
      wait: () => follows.waiting,
    });
    // A downtime that is met only where nothing is left has pages follow.
    const isHasty = !this.#follows && random.below(2) === 0;
    const source = new MigrationSource({
      machine: from.machine,
      runner: from,
      clock: REAL_CLOCK,
      codec,
      link: here,
      about: null,
      ...(isHasty
        ? { downtimeMs: 1000 }
        : { downtimeMs: 0, rounds: this.#follows ? 1 : random.pick([1, 1, 3]), postCopy: true }),
      onProgress: ({ phase }) => {
        if (phase !== 'rounds' || isHasty) return;
        if (this.#follows) touch(from.machine, random);
        else from.turn();
      },
      secret: SECRET,
      rejoin: async () => {
        for (let turn = random.below(20); turn > 0; turn--) await nextTurn();
        if (!target.isPartial) return 'complete';
        links++;
        if (isLost) return undefined;
        link = new BrokenLink(random, {
          kind: links > SOME_LINKS ? 'none' : random.pick(FAULTS),
          at: random.below(SOON),
        });
        idle = 0;
        follows.next = link.ends[1];
        return link.ends[0];
      },
      settle: () => target.arrived.then(() => 'target' as const).catch(() => 'source' as const),
    });
    const moving = source.run().finally(() => (isOver = true));
    moving.catch(() => undefined);
    // A message that never comes is waited for until the link is seen to be dead.
    for (; !isOver; idle++) {
      if (idle > LONGEST_WAIT_TURNS) link.close();
      // It writes something between two rounds, and has not ended when it arrives.
      if (random.below(TURNS_OF_LINK) === 0) {
        from.turn();
        try {
          if (!isLost && follows.hears && link.isSafeFor(MESSAGES_OF_TURN)) to?.turn();
        } catch (error) {
          // It touched a page that it cannot have any more.
          if (!(error instanceof MigrationError && error.code === 'lost')) throw error;
          isLost = true;
        }
      }
      if (target.isPartial && to !== undefined) target.pump();
      await nextTurn();
    }
    const report = await moving.catch((error: unknown) => {
      if (error instanceof MigrationError) return undefined;
      throw error;
    });
    if (report === undefined) {
      this.stayed++;
      if (to !== undefined) throw new Error('both ends run the machine');
      return from;
    }
    this.moved++;
    if (report.pagesAfter > 0) this.followed++;
    if (links > 1 && report.isComplete) this.resumed++;
    if (to === undefined) throw new Error('no end runs the machine');
    if (!from.isPaused) throw new Error('the machine runs where it left');
    // What was lost with its link cannot be compared; that it says so is looked at elsewhere.
    if (isLost || !report.isComplete) throw new LostPages();
    return to;
  }
}

/**
 * The links that pages come over, one after the other, where the guest waits. Here nothing else happens meanwhile, and so no other link comes while it
 * stands: a guest that needs a page in the very moment that a link breaks is lost, and does not begin a turn between two links.
 */
class FollowingLinks {
  end: End;
  next: End | undefined;

  constructor(end: End) {
    this.end = end;
  }

  /** Whether what is asked for is answered, as far as can be told. */
  get hears(): boolean {
    return this.next === undefined && this.end.isOpen && this.end.hasHeard;
  }

  get waiting(): WaitingLink {
    let waiting = this.end.waiting;
    return {
      send: (message) => waiting.send(message),
      receive: (wait) => waiting.receive(wait),
      rejoin: (wait) => {
        if (this.next === undefined && wait) throw new Error('no other link comes while the guest stands');
        if (this.next === undefined) return false;
        [this.end, this.next] = [this.next, undefined];
        waiting = this.end.waiting;
        return true;
      },
    };
  }
}

/** Messages of a link over which pages follow, about. */
const SOON = 16;
const SECRET = '0123456789abcdef'.repeat(2) + 'fedcba9876543210'.repeat(2);
/** Of one migration so many links may break while pages follow. */
const SOME_LINKS = 4;
/** About so many messages are heard and said for what the guest needs in one turn. */
const MESSAGES_OF_TURN = 8;

/** Writes what is there already to some pages, so that they have to follow. */
function touch({ ram }: Machine, random: Random): void {
  const byte = new Uint8Array(1);
  for (let count = 0; count < TOUCHED_PAGES; count++) {
    const at = RAM_BASE + PAGE_SIZE * random.below(RAM_BYTES / PAGE_SIZE);
    ram.read(at, byte);
    ram.write(at, byte);
  }
}

const TOUCHED_PAGES = 200;

/** Turns of the link for each of a machine. */
const TURNS_OF_LINK = 120;
const LONGEST_WAIT_TURNS = 3000;
const REAL_CLOCK = { monotonicNs: () => performance.now() * 1e6, sleep };

/** The link was lost while pages followed. */
export class LostPages extends Error {}

/** A machine that runs a little in each turn of the test. */
class Driven {
  readonly machine: Machine;
  isPaused = false;
  #hasEnded = false;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  async pause(): Promise<boolean> {
    if (this.#hasEnded) return false;
    this.isPaused = true;
    await this.machine.quiesce();
    return true;
  }

  resume(): void {
    this.isPaused = false;
    this.machine.resume();
  }

  async runFor(): Promise<boolean> {
    this.resume();
    this.turn();
    return this.pause();
  }

  turn(): void {
    if (!this.isPaused && !this.#hasEnded) this.#hasEnded = this.machine.run(0.01).kind === 'ended';
  }

  /** Runs on for some turns; true when the program has ended. */
  async run(turns: number): Promise<boolean> {
    for (let turn = 1; turn <= turns && !this.#hasEnded; turn++) {
      this.turn();
      if (turn % 16 === 0) await nextTurn();
    }
    return this.#hasEnded;
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
