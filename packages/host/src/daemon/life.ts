/** One machine's place in the table of states (api's states.ts). Every change of state goes through here. */

import {
  type Asked,
  HAPPENINGS,
  isAllowed,
  isBrokenOff,
  LIVE_STATES,
  refusal,
  type State,
  type STEADY,
  type TransitionName,
  TRANSITIONS,
} from '@ringfence/api';
import { HostError } from '../failure.ts';

export class Life {
  #state: State | 'gone';
  /** Something that leaves the state as it is and must not be disturbed. */
  #steady: Asked | undefined;
  /** Resolves when that is over. */
  #steadyOver: Promise<void> = Promise.resolve();
  readonly #onChange: (state: State | 'gone', before: State | 'gone') => void;

  constructor(state: State, onChange: (state: State | 'gone', before: State | 'gone') => void = () => undefined) {
    this.#state = state;
    this.#onChange = onChange;
  }

  get state(): State | 'gone' {
    return this.#state;
  }

  /** Whether nothing is being done with it. */
  get isAtRest(): boolean {
    return this.#steady === undefined && ['stopped', 'running', 'paused'].includes(this.#state);
  }

  /** Whether it takes something of this computer, or is about to. */
  get isLive(): boolean {
    return (LIVE_STATES as readonly string[]).includes(this.#state);
  }

  /** As `isLive`, or it comes from another daemon. */
  get isHere(): boolean {
    return this.isLive || this.#state === 'arriving';
  }

  /** Begins what was asked for; throws `wrong-state` when it is not allowed now. With `isForced` it breaks off what can be broken off. */
  begin(operation: TransitionName, name: string, isForced = false): void {
    this.#check(operation, name, isForced);
    this.#move(TRANSITIONS[operation].via);
  }

  /** It is done. False when something else has come in between, which counts. */
  done(operation: TransitionName): boolean {
    const { via, to } = TRANSITIONS[operation];
    return this.#moveFrom(via, to);
  }

  /** It could not be done. */
  failed(operation: TransitionName): boolean {
    const { via, failed } = TRANSITIONS[operation];
    return this.#moveFrom(via, failed);
  }

  /** Something happened by itself. False when that means nothing in this state. */
  happened(what: keyof typeof HAPPENINGS): boolean {
    const { from, to } = HAPPENINGS[what];
    if (!(from as readonly string[]).includes(this.#state)) return false;
    this.#move(to);
    return true;
  }

  /** Runs what leaves the state as it is; nothing else begins meanwhile. */
  async steadily<T>(operation: keyof typeof STEADY, name: string, work: () => Promise<T>): Promise<T> {
    const end = this.hold(operation, name);
    try {
      return await work();
    } finally {
      end();
    }
  }

  /** Leaves the state as it is until it is called what this gives, and begins nothing else meanwhile; throws `wrong-state`. */
  hold(operation: Asked, name: string): () => void {
    this.#check(operation, name);
    this.#steady = operation;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#steadyOver = promise;
    return () => {
      this.#steady = undefined;
      resolve();
    };
  }

  /** Resolves when what was broken off has cleared up, so that something else can begin. */
  get free(): Promise<void> {
    return this.#steadyOver;
  }

  #check(operation: Asked, name: string, isForced = false): void {
    const { state } = this;
    if (state === 'gone') throw new HostError('not-found', `there is no virtual machine "${name}"`);
    if (this.#steady !== undefined && !(isForced && isBrokenOff(this.#steady)))
      throw new HostError('wrong-state', `the virtual machine "${name}" is in the middle of "${this.#steady}"`);
    if (!isAllowed(operation, state))
      throw new HostError('wrong-state', `the virtual machine "${name}" ${refusal(operation, state)}`);
  }

  #moveFrom(via: State, to: State | 'gone'): boolean {
    if (this.#state !== via) return false;
    this.#move(to);
    return true;
  }

  #move(to: State | 'gone'): void {
    const before = this.#state;
    this.#state = to;
    this.#onChange(to, before);
  }
}
