/** Pages that are missing when the link is lost come over another one, from the machine's other end and from nobody else. */

import { expect, test } from 'vitest';
import { bitmapOf, MESSAGE, type Message, MessageWriter, pagesOf } from '../../src/hypervisor/migration/messages.ts';
import { MigrationError } from '../../src/hypervisor/migration/migration-error.ts';
import { checkResume, missingIn, resumedOf, resumeOf, secretIn } from '../../src/hypervisor/migration/resume.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { Arriving, CUT, firstByte, GIVEN_AWAY, NEEDED } from './arriving.ts';
import { brokenLinkCodec } from './broken-link.ts';

const SECRET = '0123456789abcdef'.repeat(2) + 'fedcba9876543210'.repeat(2);
const OTHER = '00'.repeat(32);
const PROOF_BYTES = 32;

/** It runs, and there is a link whenever it is asked for one, over which comes what the next of `links` says. */
async function arrived(
  ...links: readonly ((arriving: Arriving) => readonly Uint8Array[])[]
): Promise<{ arriving: Arriving; machine: Machine; waits: boolean[] }> {
  const arriving = new Arriving();
  const waits: boolean[] = [];
  const left = [...links];
  arriving.rejoin = (wait) => {
    waits.push(wait);
    const next = left.shift();
    if (next === undefined) throw new Error('no other link comes');
    arriving.anew();
    arriving.late.length = 0;
    arriving.late.push(...next(arriving));
    return true;
  };
  await arriving.comes(1, SECRET);
  return { arriving, machine: await arriving.target.arrived, waits };
}

const resumed = (arriving: Arriving): Uint8Array => resumeOf(SECRET, arriving.writer);

/** Said by the machine in a link's first message. */
function missingOf({ messages }: Arriving, machine: Machine): number[][] {
  return messages
    .filter(({ kind }) => kind === MESSAGE.RESUMED)
    .map((message) => pagesOf({ ...message, body: message.body.subarray(PROOF_BYTES) }, machine.pages.count));
}

test('a guest that waits for a page when the link is cut has it over the next link', async () => {
  const { arriving, machine, waits } = await arrived((next) => [resumed(next), next.pages(NEEDED)]);
  arriving.late.push(CUT);
  expect(firstByte(machine, NEEDED)).toBe(NEEDED);
  expect(waits).toEqual([true]);
  expect(missingOf(arriving, machine)).toEqual([[GIVEN_AWAY, NEEDED]]);
  arriving.late.push(arriving.pages(GIVEN_AWAY));
  expect(arriving.target.pump()).toBe(false);
  await arriving.target.complete;
});

test('a page that has come, and was written, is not asked for again, and is not taken again', async () => {
  const { arriving, machine } = await arrived(
    (next) => [resumed(next), next.pages(NEEDED), next.pages(GIVEN_AWAY)],
    (next) => [resumed(next), next.pages(GIVEN_AWAY)],
  );
  arriving.late.push(arriving.pages(NEEDED), CUT);
  // One that has come is in its place although nothing more comes now.
  while (arriving.target.isPartial) arriving.target.pump();
  expect(firstByte(machine, NEEDED)).toBe(NEEDED);
  expect(missingOf(arriving, machine)).toEqual([[GIVEN_AWAY], [GIVEN_AWAY]]);
  await arriving.target.complete;
});

test.each([
  ['with another secret', (next: Arriving) => resumeOf(OTHER, next.writer), true],
  [
    'of another version',
    (next: Arriving) => next.writer.json(MESSAGE.RESUME, { version: 1, proof: SECRET.slice(0, 32) }),
    true,
  ],
  ["with the target's own proof", (next: Arriving) => resumeOf(SECRET.slice(32) + SECRET.slice(32), next.writer), true],
  ['that says nothing of itself before it gives pages', (next: Arriving) => next.pages(NEEDED), false],
])('somebody else %s gives the machine nothing, and it waits on for its own', async (_who, first, isTold) => {
  const { arriving, machine } = await arrived(
    (next) => [first(next), next.pages(NEEDED)],
    (next) => [resumed(next), next.pages(NEEDED)],
  );
  arriving.late.push(CUT);
  expect(firstByte(machine, NEEDED)).toBe(NEEDED);
  expect([arriving.heard.includes(MESSAGE.REFUSE), arriving.closed]).toEqual([isTold, 2]);
  expect(missingOf(arriving, machine)).toEqual([[GIVEN_AWAY, NEEDED]]);
});

test('a machine whose link is cut with COMMIT has its pages over the next one', async () => {
  const arriving = new Arriving();
  arriving.rejoin = () => {
    arriving.anew();
    arriving.late.push(resumed(arriving), arriving.pages(NEEDED, GIVEN_AWAY));
    return true;
  };
  arriving.owned = () => arriving.lost();
  await arriving.comes(1, SECRET);
  const machine = await arriving.target.arrived;
  expect(firstByte(machine, NEEDED)).toBe(NEEDED);
  arriving.target.pump();
  await arriving.target.complete;
});

test('a machine whose daemon is gone before it can say that it runs has its pages of the next one', async () => {
  const arriving = new Arriving();
  arriving.rejoin = () => {
    arriving.isDead = false;
    arriving.anew();
    arriving.late.push(resumed(arriving), arriving.pages(NEEDED, GIVEN_AWAY));
    return true;
  };
  arriving.owned = () => void (arriving.isDead = true);
  await arriving.comes(1, SECRET);
  const machine = await arriving.target.arrived;
  expect(arriving.heard.includes(MESSAGE.RUNNING)).toBe(false);
  expect(firstByte(machine, NEEDED)).toBe(NEEDED);
  arriving.target.pump();
  await arriving.target.complete;
});

test.each([
  ['no link comes any more', SECRET],
  ['the other end knows no secret', undefined],
])('a machine ends at the first page that is missing when %s', async (_why, secret) => {
  const arriving = new Arriving();
  arriving.rejoin = () => {
    throw new Error('no other link comes');
  };
  await arriving.comes(1, secret);
  const machine = await arriving.target.arrived;
  arriving.late.push(CUT);
  expect(() => firstByte(machine, NEEDED)).toThrow('cannot be had any more');
  await expect(arriving.target.complete).rejects.toBeInstanceOf(MigrationError);
});

test('the source gives pages to the machine that left alone, and only those that had to follow', () => {
  const writer = new MessageWriter(brokenLinkCodec());
  const said = (secret: string, missing: readonly number[]): Message => ({
    kind: MESSAGE.RESUMED,
    number: 0,
    body: resumedOf(secret, missing, 100, writer).subarray(12),
  });
  const following = new Set([1, 5, 99]);
  expect(missingIn(said(SECRET, [5, 99]), SECRET, following, 100)).toEqual([5, 99]);
  expect(() => missingIn(said(OTHER, [5]), SECRET, following, 100)).toThrow('is not the one that left');
  expect(() => missingIn(said(SECRET, [2]), SECRET, following, 100)).toThrow('did not have to follow');
  expect(() => missingIn({ ...said(SECRET, [1]), body: bitmapOf([1], 100) }, SECRET, following, 100)).toThrow(
    'too short',
  );
  expect(() => secretIn('short')).toThrow('a secret that is none');
  expect(() => checkResume({ kind: MESSAGE.RESUME, number: 0, body: new Uint8Array(0) }, SECRET)).toThrow('is no JSON');
});
