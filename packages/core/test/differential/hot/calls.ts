/** Statements that call, and ways to return: to the caller, to somewhere else, and past several callers at once. */

import { addressOf } from '../code-builder.ts';
import { plainWord } from '../plain-word.ts';
import {
  CELL_REGISTER,
  type Callee,
  DEPTH,
  type HotFunction,
  LINK,
  OTHER_LINK,
  type Remote,
  STACK_POINTER,
} from './function.ts';
import { PLAIN_TRAP, type Statement } from './statement.ts';

/** Instructions of the call itself. */
const CALL_COST = 8;

function affordable(f: HotFunction): Callee[] {
  return f.world.callees.filter(
    (callee) => f.affords(callee.cost + CALL_COST, callee.traps) && !(f.isRecursing && callee.usesDepth),
  );
}

function call(f: HotFunction): void {
  const { random, code, world } = f;
  // The costliest ones seldom leave room for others.
  const callee = random.pick(affordable(f));
  f.charge(callee.cost, callee.traps);
  const isPlain = callee.callable === 'plain';
  if (callee.callable === 'recursive') f.loadImmediate(DEPTH, BigInt(random.below((callee.depth ?? 0) + 1)));
  const link = callee.callable === 'millicode' ? OTHER_LINK : LINK;
  switch (random.below(isPlain ? 6 : 4)) {
    case 0:
      f.holding((target) => {
        f.loadAddress(target, callee.label);
        if (link === LINK && random.below(2) === 0) f.emit('c.jalr', { rs1: target });
        else f.emit('jalr', { rd: link, rs1: target, imm: 0 });
      });
      break;
    case 1:
      if (!world.cells.hasRoom(1)) return;
      f.holding((target) => {
        f.loadCell(
          target,
          world.cells.add(() => BigInt(addressOf(callee.label))),
        );
        if (link === LINK && random.below(2) === 0) f.emit('c.jalr', { rs1: target });
        else f.emit('jalr', { rd: link, rs1: target, imm: 0 });
      });
      break;
    case 4: {
      // Comes back elsewhere than behind the jump.
      const back = code.label();
      f.loadAddress(LINK, back);
      f.jump(callee.label);
      f.plain(random.below(3));
      code.place(back);
      break;
    }
    case 5:
      callByTable(f, callee);
      break;
    default:
      f.jump(callee.label, link);
  }
  if (callee.callable === 'skipping')
    f.place(
      plainWord(random, (register) => f.writable.includes(register)),
      4,
    );
}

/** One of several, by an index that changes from call to call. */
function callByTable(f: HotFunction, first: Callee): void {
  const { random, world } = f;
  const others = affordable(f).filter(
    ({ callable, cost, traps }) => callable === 'plain' && cost <= first.cost && traps <= first.traps,
  );
  const count = random.pick([2, 4]);
  if (!world.cells.hasRoom(count)) return;
  const list = [first, ...Array.from({ length: count - 1 }, () => (others.length > 0 ? random.pick(others) : first))];
  const table = world.cells.add(
    ...list.map(
      ({ label }) =>
        () =>
          BigInt(addressOf(label)),
    ),
  );
  f.holding((target) => {
    const index = f.busyCounters.length > 0 && random.below(3) > 0 ? random.pick(f.busyCounters) : random.below(32);
    f.emit('andi', { rd: target, rs1: index, imm: count - 1 });
    f.emit('sh3add', { rd: target, rs1: target, rs2: CELL_REGISTER });
    f.emit('ld', { rd: target, rs1: target, imm: table });
    f.emit('jalr', { rd: LINK, rs1: target, imm: 0 });
  });
}

/** A call of the next instruction: nobody returns from it. */
function callNext(f: HotFunction): void {
  const next = f.code.label();
  f.jump(next, f.random.pick([LINK, OTHER_LINK]));
  f.code.place(next);
}

/** What is thrown in here, however deep, comes to its end. */
function catching(f: HotFunction): void {
  const { code, world } = f;
  const { stack, address } = world.catcher;
  const saved = [...f.busyCounters, DEPTH].map((register) => ({ register, slot: f.slot() }));
  const outer = [stack, address].map((cell) => ({ cell, slot: f.slot() }));
  const caught = code.label();
  for (const { register, slot } of saved) f.emit('sd', { rs1: STACK_POINTER, rs2: register, imm: slot });
  f.holding((register) => {
    for (const { cell, slot } of outer) {
      f.loadCell(register, cell);
      f.emit('sd', { rs1: STACK_POINTER, rs2: register, imm: slot });
    }
    f.storeCell(STACK_POINTER, stack);
    f.loadAddress(register, caught);
    f.storeCell(register, address);
  });
  f.enclosed(() => f.statements(2 + f.random.below(3)));
  code.place(caught);
  f.holding((register) => {
    for (const { cell, slot } of outer) {
      f.emit('ld', { rd: register, rs1: STACK_POINTER, imm: slot });
      f.storeCell(register, cell);
    }
  });
  for (const { register, slot } of saved) f.emit('ld', { rd: register, rs1: STACK_POINTER, imm: slot });
}

/** To the innermost catcher, if there is one and chance will have it. */
function throwing(f: HotFunction): void {
  const { random, code, world } = f;
  const over = code.label();
  f.holding((target) => {
    f.loadCell(target, world.catcher.address);
    f.emit('beq', (at) => ({ rs1: target, rs2: 0, imm: addressOf(over) - at }));
    f.holding((chance) => {
      f.emit('andi', { rd: chance, rs1: random.below(32), imm: random.pick([7, 15, 63]) });
      f.emit('bne', (at) => ({ rs1: chance, rs2: 0, imm: addressOf(over) - at }));
    });
    f.loadCell(STACK_POINTER, world.catcher.stack);
    f.emit('jalr', { rd: 0, rs1: target, imm: 0 });
  });
  code.place(over);
}

/** Code in a page that is not there at times, or that shows another page's. */
function callRemote(f: HotFunction): void {
  const { random, world } = f;
  enter(f, random.pick(world.remote.filter(({ cost, traps }) => f.affords(cost + CALL_COST, traps))));
}

/** Calls what a window of code shows, where that is possible. */
export function callWindow(f: HotFunction, window: number): void {
  const callee = f.world.remote.find((remote) => remote.window === window);
  if (callee !== undefined && f.isFramed && f.affords(callee.cost + CALL_COST, callee.traps)) enter(f, callee);
}

function enter(f: HotFunction, callee: Remote): void {
  f.charge(callee.cost, callee.traps);
  f.holding((target) => {
    f.loadImmediate(target, callee.address);
    f.emit('jalr', { rd: LINK, rs1: target, imm: 0 });
  });
}

/** A jump to where nothing is; the handler comes back by x1. */
function jumpNowhere(f: HotFunction): void {
  f.holding((target) => {
    f.loadImmediate(target, f.random.pick([0x9000_0000n, 1n << 60n, 0x1f_0000_0000n]));
    f.emit('jalr', { rd: LINK, rs1: target, imm: f.random.pick([0, 2, -4]) });
  });
  f.charge(0, 1);
}

export const calls: readonly Statement[] = [
  { share: 16, place: call, isBound: true, isPossible: (f) => f.isFramed && affordable(f).length > 0 },
  { share: 1, place: callNext, isPossible: (f) => f.isFramed },
  {
    share: 3,
    place: catching,
    isNest: true,
    isPossible: (f) => f.isCatcher && f.hasSlots(3 + f.busyCounters.length),
  },
  { share: 2, place: throwing },
  {
    share: 5,
    place: callRemote,
    isBound: true,
    isPossible: (f) => f.isFramed && f.world.remote.some(({ cost, traps }) => f.affords(cost + CALL_COST, traps)),
  },
  { share: 1, place: jumpNowhere, isPossible: (f) => f.isFramed && f.affords(0, PLAIN_TRAP) },
];

/** Back to the caller, or for a skipping function sometimes to the instruction behind. */
export function giveBack(f: HotFunction, callable: Callee['callable']): void {
  const { random } = f;
  const link = callable === 'millicode' ? OTHER_LINK : LINK;
  if (callable === 'skipping') {
    f.holding((distance) => {
      f.emit('andi', { rd: distance, rs1: random.below(32), imm: 1 });
      f.emit('sh2add', { rd: LINK, rs1: distance, rs2: LINK });
    });
  }
  switch (random.below(4)) {
    case 0:
      f.emit('c.jr', { rs1: link });
      break;
    case 1: {
      const other = f.another(link);
      f.emit('c.mv', { rd: other, rs2: link });
      f.emit('jalr', { rd: 0, rs1: other, imm: 0 });
      break;
    }
    default:
      f.emit('jalr', { rd: 0, rs1: link, imm: 0 });
  }
}

/** As its last deed calls another, which returns to this one's caller. */
export function tailCall(f: HotFunction): boolean {
  const possible = affordable(f).filter(({ callable }) => callable === 'plain');
  if (possible.length === 0) return false;
  const callee = f.random.pick(possible);
  f.charge(callee.cost, callee.traps);
  f.epilogue();
  f.jump(callee.label);
  return true;
}
