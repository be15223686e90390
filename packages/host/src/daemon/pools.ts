/** What is known of the pools of processes: that of one machine and its forks, or of all machines of one label, by what their processes say. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { MemoryUsage } from '@ringfence/api';
import type { RunningMachine } from '../vm-process/running.ts';
import type { Pooled } from './memory-balance.ts';

/** How long a machine may take to answer. One that takes longer has what it had. */
const ANSWER_MS = 1000;

interface Known {
  /** Of its process; undefined of one that is on its way. */
  readonly pid: number | undefined;
  /** What it is to have, and what it may have until it has said that it has no more than that. */
  readonly poolBytes: number;
  readonly mostBytes: number;
  /** Of all of its machines together. */
  readonly usage: MemoryUsage | undefined;
}

export class Pools {
  /** By what `Memory` calls them. */
  readonly #known = new Map<string, Known>();

  of(key: string): Known | undefined {
    return this.#known.get(key);
  }

  /** Forgets all others. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#known.keys()) if (!keys.has(key)) this.#known.delete(key);
  }

  /** One whose process is on its way has what it was promised. */
  promise(key: string, poolBytes: number): void {
    this.#known.set(key, { pid: undefined, poolBytes, mostBytes: poolBytes, usage: undefined });
  }

  /** Asks the machines of one process, and tells them what they are to have together; nobody waits for one that does not answer. */
  async ask(key: string, runs: readonly RunningMachine[], poolBytes?: number): Promise<void> {
    const answers = await Promise.all(
      runs.map((run) => {
        const asked = run.memory(poolBytes === undefined ? {} : { poolBytes }).catch(() => undefined);
        return Promise.race([asked, sleep(ANSWER_MS, undefined, { ref: false })]);
      }),
    );
    const usage = together(answers.filter((each) => each !== undefined));
    const pid = runs[0]?.pid;
    const before = this.#known.get(key);
    const known = before?.pid === pid || before?.pid === undefined ? before : undefined;
    if (usage === undefined && known === undefined) {
      this.#known.delete(key);
      return;
    }
    const told = poolBytes ?? known?.poolBytes ?? 0;
    const { pool } = usage ?? {};
    this.#known.set(key, {
      pid,
      poolBytes: pool?.targetBytes ?? told,
      mostBytes: pool?.bytes ?? Math.max(told, known?.mostBytes ?? 0),
      usage: usage ?? known?.usage,
    });
  }

  /** Of one that never said anything to this daemon, that it has what it can have. */
  figures(key: string, machines: number, unknownBytes: number): NonNullable<Pooled['figures']> {
    const { usage, mostBytes: poolBytes } = this.#known.get(key) ?? { mostBytes: unknownBytes };
    if (usage?.pool === undefined)
      return { poolBytes, usedBytes: poolBytes, touchedBytes: 0, awayBytes: 0, machines, activePart: 1 };
    const { usedBytes, touchedBytes = usedBytes, activeBytes } = usage.pool;
    return {
      poolBytes,
      usedBytes,
      touchedBytes,
      awayBytes: usage.compressedBytes + usage.pagedBytes + usage.balloonBytes,
      machines,
      activePart: usedBytes === 0 ? 1 : Math.min(1, activeBytes / usedBytes),
    };
  }

  /** Whether it has less than its machines want, or is to have less than it has. */
  isPressed(key: string): boolean {
    const { pool } = this.#known.get(key)?.usage ?? {};
    return pool !== undefined && (pool.state !== 'high' || pool.targetBytes < pool.bytes);
  }
}

/** Of machines of one pool: each tells the same of that, and of its own pages. */
function together([first, ...others]: readonly MemoryUsage[]): MemoryUsage | undefined {
  if (first?.pool === undefined) return first;
  const sum = (of: (usage: MemoryUsage) => number): number => others.reduce((all, each) => all + of(each), of(first));
  return {
    ...first,
    compressedBytes: sum(({ compressedBytes }) => compressedBytes),
    pagedBytes: sum(({ pagedBytes }) => pagedBytes),
    balloonBytes: sum(({ balloonBytes }) => balloonBytes),
    pool: { ...first.pool, activeBytes: sum(({ pool }) => pool?.activeBytes ?? 0) },
  };
}
