/** Names of machines and forks: each is one's, or about to be. */

import { HostError } from '../failure.ts';
import { checkedName, nearNames, randomName } from '../vm/names.ts';

const ATTEMPTS = 100;
const MAXIMUM_NEAR = 3;

export class Names {
  /** The id of whose it is. */
  readonly #owners = new Map<string, string>();
  readonly #isReached: (name: string) => Promise<boolean>;
  readonly #runsAs: (id: string, name: string) => boolean;

  /** With whether some machine that runs is reached by a name, and whether it is that of `id`. */
  constructor(isReached: (name: string) => Promise<boolean>, runsAs: (id: string, name: string) => boolean) {
    this.#isReached = isReached;
    this.#runsAs = runsAs;
  }

  ownerOf(name: string): string | undefined {
    return this.#owners.get(name);
  }

  /** That nobody has it, with those that may have been meant, which may be forks'. */
  notFound(name: string, forks: readonly string[]): HostError {
    const near = nearNames(name, [...this.#owners.keys(), ...forks]).slice(0, MAXIMUM_NEAR);
    const hint = near.length > 0 ? `; there is ${near.map((each) => `"${each}"`).join(', ')}` : '';
    return new HostError('not-found', `there is no virtual machine "${name}"${hint}`);
  }

  set(name: string, id: string): void {
    this.#owners.set(name, id);
  }

  /** It is nobody's any more, where it was `id`'s. */
  release(name: string, id: string): void {
    if (this.#owners.get(name) === id) this.#owners.delete(name);
  }

  async isTaken(name: string): Promise<boolean> {
    return this.#owners.has(name) || (await this.#isReached(name));
  }

  /** Takes the name, or one of ours; throws `name-taken`. */
  async take(wanted: string | undefined, id: string): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      const name = wanted === undefined ? randomName() : checkedName(wanted);
      if (!this.#owners.has(name)) {
        // From here on nobody else gets it while the sockets are looked at.
        this.#owners.set(name, id);
        if (this.#runsAs(id, name) || !(await this.#isReached(name))) return name;
        this.#owners.delete(name);
      }
      if (wanted !== undefined || attempt === ATTEMPTS)
        throw new HostError('name-taken', `there is a virtual machine "${name}" already; choose another name`);
    }
  }
}
