/**
 * The life of a virtual machine, as data: the daemon obeys this table, tests walk it at random, and the documentation prints it.
 *
 *     create, register         start               pause
 *          creating --> stopped --> starting --> running <--> paused
 *                        |  ^                      |  resetting, restoring (also of one that is stopped)
 *           rm: removing |  +----- stopping <------+  (from every state with a process, and whenever that ends by itself)
 *                        v                    '-- migrating --> gone: it runs elsewhere; arriving --> running
 *                       gone
 *
 * A state that ends in -ing is one of the daemon's work: nothing else is done with the machine until it is over, but that it can be stopped
 * where it has a process, which then breaks that work off.
 */

export const STATES = [
  'creating',
  'stopped',
  'starting',
  'running',
  'pausing',
  'paused',
  'resuming',
  'resetting',
  'restoring',
  'stopping',
  'removing',
  'migrating',
  'arriving',
] as const;

export type State = (typeof STATES)[number];

interface Transition {
  /** The states it may be asked for in. */
  readonly from: readonly State[];
  /** While it is being done. */
  readonly via: State;
  /** When it is done; `gone` is no state any more. */
  readonly to: State | 'gone';
  /** When it could not be done. */
  readonly failed: State | 'gone';
}

/** States in which there may be a process, which may be one that does nothing any more. */
const WITH_PROCESS = [
  'starting',
  'running',
  'pausing',
  'paused',
  'resuming',
  'resetting',
  'restoring',
  'stopping',
  'migrating',
] as const;

/** What people ask for and changes the state. */
export const TRANSITIONS = {
  create: { from: [], via: 'creating', to: 'stopped', failed: 'gone' },
  start: { from: ['stopped'], via: 'starting', to: 'running', failed: 'stopped' },
  pause: { from: ['running'], via: 'pausing', to: 'paused', failed: 'running' },
  resume: { from: ['paused'], via: 'resuming', to: 'running', failed: 'paused' },
  reset: { from: ['running', 'paused'], via: 'resetting', to: 'running', failed: 'stopped' },
  restore: { from: ['stopped', 'running', 'paused'], via: 'restoring', to: 'running', failed: 'stopped' },
  stop: { from: WITH_PROCESS, via: 'stopping', to: 'stopped', failed: 'running' },
  migrate: { from: ['running'], via: 'migrating', to: 'gone', failed: 'running' },
  arrive: { from: [], via: 'arriving', to: 'running', failed: 'gone' },
  rm: { from: ['stopped'], via: 'removing', to: 'gone', failed: 'stopped' },
} as const satisfies Readonly<Record<string, Transition>>;

export type TransitionName = keyof typeof TRANSITIONS;

/** What people ask for and leaves the state as it is; `isBrokenOff` where its process does it, and a stop that asks no guest ends that. */
export const STEADY = {
  rename: { from: ['stopped', 'running', 'paused'] },
  snapshot: { from: ['running', 'paused'], isBrokenOff: true },
  fork: { from: ['running'], isBrokenOff: true },
  'rm-snapshot': { from: ['stopped', 'running', 'paused'] },
  cpu: { from: ['stopped', 'running', 'paused'] },
} as const satisfies Readonly<Record<string, { readonly from: readonly State[]; readonly isBrokenOff?: boolean }>>;

/**
 * What can be asked for of a fork, too. Its states are those of a machine with a process, and its own: that its machine is paused says nothing of it. One
 * that has ended is gone, as are all of them when their machine's process has.
 */
export const FORK_OPERATIONS = ['pause', 'resume', 'stop', 'rename', 'snapshot', 'fork'] as const satisfies readonly (
  | TransitionName
  | keyof typeof STEADY
)[];

/** What happens without being asked for. */
export const HAPPENINGS = {
  /** Its process has ended: the guest switched off, or somebody killed it. */
  exited: { from: WITH_PROCESS, to: 'stopped' },
  /** Its guest restarts the machine. */
  rebooted: { from: ['running'], to: 'resetting' },
  /** It was another daemon's already when it was to be stopped here. */
  moved: { from: ['stopping'], to: 'gone' },
} as const satisfies Readonly<Record<string, { readonly from: readonly State[]; readonly to: State | 'gone' }>>;

/** States in which the machine has a process. */
export const LIVE_STATES: readonly State[] = HAPPENINGS.exited.from;

export type Asked = TransitionName | keyof typeof STEADY;

/** The states an operation may be asked for in. */
export function allowedStates(operation: Asked): readonly State[] {
  return { ...TRANSITIONS, ...STEADY }[operation].from;
}

/** Whether a stop that asks no guest ends what is being done. */
export function isBrokenOff(operation: Asked): boolean {
  return operation in STEADY && 'isBrokenOff' in STEADY[operation as keyof typeof STEADY];
}

export function isAllowed(operation: Asked, state: State): boolean {
  return allowedStates(operation).includes(state);
}

/** Why an operation is refused in a state, as the end of a sentence that begins with the machine's name. */
export function refusal(operation: Asked, state: State): string {
  const allowed = allowedStates(operation);
  const to = operation in TRANSITIONS ? TRANSITIONS[operation as TransitionName].to : undefined;
  if (state === to) return `is ${state} already`;
  return `is ${state}, and "${operation}" is for one that is ${allowed.join(' or ')}`;
}
