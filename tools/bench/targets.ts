/** What each engine has to reach, measured against QEMU in the same run. */

export interface Targets {
  /** Speed of a program as a part of QEMU's. */
  readonly computeSpeedAtLeast: number;
  /** Process start to userland, as a multiple of QEMU's time. */
  readonly userlandTimeAtMost: number;
  /** Peak resident memory of the process over the memory that the guest used. */
  readonly memoryOverGuestAtMostMb: number;
}

/** Known engines. A new one gets its label and its targets here. */
const TARGETS: ReadonlyMap<string, Targets> = new Map([
  ['interpreter', { computeSpeedAtLeast: 0.25, userlandTimeAtMost: 3, memoryOverGuestAtMostMb: 150 }],
]);

/** An Error that lists the engines when this is none of them. */
export function targetsOf(engine: string): Targets {
  const targets = TARGETS.get(engine);
  if (targets === undefined) {
    throw new Error(`There is no engine called ${engine}. The engines are: ${[...TARGETS.keys()].join(', ')}.`);
  }
  return targets;
}
