/**
 * How large the balloons of a pool's machines are to be: one grows a little while frames are few, that of the machine with the least shares for a page, and
 * shrinks when there are many. A guest says what it could give without harm; one that has not so much left is not asked for more, and gets some back
 * at once when it has little: it has nothing to page out to.
 */

import { PAGE_SIZE } from '../base/numbers.ts';
import type { PoolMember } from './pool-member.ts';

/** A balloon has at most this part of a machine's memory (ESXi's `sched.mem.maxmemctl`), and grows by so much at a time. */
const MOST_BALLOON = 0.65;
const STEP_BYTES = 8 * 1024 ** 2;
/** Part of its memory that a guest keeps available, and what of that it has at least. */
const KEPT_PART = 0.15;
const LEAST_KEPT = 0.5;
/** Ticks between two questions to a guest. */
const QUESTION_TICKS = 3;
/** Looks at a balloon that does not grow before it is let alone. */
const PATIENCE = 20;

/** What a pool needs. */
export interface BalloonNeed {
  /** Of free frames, until it is content; 0 or less when it is. */
  readonly missingBytes: number;
  /** There are so many that balloons may shrink. */
  readonly hasMuch: boolean;
}

export class Balloons {
  #ticks = 0;

  /** By and by: a step at most. */
  move(members: readonly PoolMember[], { missingBytes, hasMuch }: BalloonNeed): void {
    const able = members.filter(({ machine }) => machine.balloon !== undefined);
    const isInUse = missingBytes > 0 || able.some((member) => targetOf(member) > 0);
    if (!isInUse) return;
    if (this.#ticks++ % QUESTION_TICKS === 0)
      for (const { machine } of able) void machine.balloon?.statistics()?.catch(() => undefined);
    for (const member of able) noteAnswer(member);
    for (const member of able) {
      const lacking = LEAST_KEPT * keptOf(member) - availableOf(member);
      if (lacking > 0 && targetOf(member) > 0)
        setTarget(member, Math.min(targetOf(member), balloonOf(member)) - STEP_BYTES);
    }
    if (hasMuch) {
      const [taker] = able
        .filter((member) => targetOf(member) > 0)
        .toSorted((one, other) => other.sharesPerPage - one.sharesPerPage);
      if (taker) setTarget(taker, targetOf(taker) - STEP_BYTES);
    }
    if (missingBytes <= 0) return;
    for (const member of able) {
      const bytes = balloonOf(member);
      member.balloonStalls = bytes > member.balloonBytes || bytes >= targetOf(member) ? 0 : member.balloonStalls + 1;
      member.balloonBytes = bytes;
    }
    // What is asked for already comes yet, unless its balloon does not grow.
    const coming = able.reduce(
      (sum, member) => sum + (member.balloonStalls > PATIENCE ? 0 : Math.max(0, targetOf(member) - balloonOf(member))),
      0,
    );
    if (coming >= missingBytes) return;
    const [giver] = able
      .filter((member) => member.balloonStalls <= PATIENCE && canGive(member))
      .toSorted((one, other) => one.sharesPerPage - other.sharesPerPage);
    if (giver) setTarget(giver, Math.min(mostBalloon(giver), targetOf(giver) + STEP_BYTES));
  }
}

/** How large it is, as the guest says. */
export function balloonOf({ machine }: PoolMember): number {
  return machine.balloon?.state.actualBytes ?? 0;
}

function targetOf({ machine }: PoolMember): number {
  return machine.balloon?.state.targetBytes ?? 0;
}

function setTarget({ machine }: PoolMember, bytes: number): void {
  machine.balloon?.setTarget(Math.max(0, bytes));
}

function mostBalloon({ machine, reservedPages }: PoolMember): number {
  return Math.min(MOST_BALLOON * machine.memoryBytes, machine.memoryBytes - reservedPages * PAGE_SIZE);
}

/** What the guest could give without harm, its word; one that does not say has nothing to give. */
function availableOf({ machine }: PoolMember): number {
  return machine.balloon?.lastStatistics.availableBytes ?? 0;
}

function keptOf({ machine }: PoolMember): number {
  return KEPT_PART * machine.memoryBytes;
}

/** What a guest says that it has available, it has before what its balloon took since: that is counted until it says something newer. */
function noteAnswer(member: PoolMember): void {
  const answer = member.machine.balloon?.lastStatistics;
  if (member.answer !== answer) {
    member.answer = answer;
    member.balloonAtAnswer = member.balloonSeen;
  }
  member.balloonSeen = balloonOf(member);
  member.balloonAtAnswer = Math.min(member.balloonAtAnswer, member.balloonSeen);
}

function canGive(member: PoolMember): boolean {
  const coming = Math.max(0, targetOf(member) - member.balloonAtAnswer);
  return targetOf(member) < mostBalloon(member) && availableOf(member) - coming - STEP_BYTES >= keptOf(member);
}
