/**
 * Which packages a system needs so that some can be installed (Debian Policy, chapter 7; Recommends and Suggests are not followed). As
 * apt does without recommendations: what is chosen already counts first, then the first alternative that can be had; of a virtual package
 * the real one of that name, then the provider of the highest priority.
 *
 *     wanted --> dependencies without a choice --> one with a choice --> its dependencies without a choice ... --> conflicts
 *
 * Nothing that was chosen is taken back. A set with a conflict in it is refused with a sentence.
 */

import { ImageError } from '../image-error.ts';
import type { PackageIndex } from './package-index.ts';
import type { Package } from './packages.ts';
import { accepts, relationText, type Relation } from './relations.ts';

export interface Resolution {
  /** What is asked for by name. */
  readonly wanted: readonly Package[];
  /** What is there already. */
  readonly installed?: readonly Package[];
}

const PRIORITIES = ['required', 'important', 'standard', 'optional', 'extra'];
/** A system with more would not be one that an image is made of. */
const MAX_PACKAGES = 5_000;

/** `wanted` and all that they need, without what is installed; in the order in which they were found. */
export function resolve(index: PackageIndex, { wanted, installed = [] }: Resolution, suite: string): Package[] {
  const resolver = new Resolver(index, suite, installed);
  for (const found of wanted) resolver.choose(found);
  return resolver.resolve();
}

/** The package of this name, or the best that provides it; refused with a sentence when there is none. */
export function wantedPackage(index: PackageIndex, name: string, suite: string): Package {
  const found = index.get(name) ?? bestOf(index.providersOf(name));
  if (found !== undefined) return found;
  throw new ImageError('no-package', `Suite ${suite} has no package "${name}".`);
}

class Resolver {
  readonly #index: PackageIndex;
  readonly #suite: string;
  readonly #installed: ReadonlySet<string>;
  /** Everything that will be on the system, by name. */
  readonly #chosen = new Map<string, Package>();
  /** Chosen packages by the virtual packages that they provide. */
  readonly #provided = new Map<string, { readonly by: Package; readonly relation: Relation }[]>();
  readonly #open: Package[] = [];

  constructor(index: PackageIndex, suite: string, installed: readonly Package[]) {
    this.#index = index;
    this.#suite = suite;
    this.#installed = new Set(installed.map(({ name }) => name));
    for (const found of installed) this.#take(found);
  }

  choose(found: Package): void {
    if (this.#chosen.has(found.name)) return;
    this.#take(found);
    this.#open.push(found);
    if (this.#chosen.size > MAX_PACKAGES)
      throw new ImageError('no-package', `More than ${MAX_PACKAGES} packages would be needed.`);
  }

  #take(found: Package): void {
    this.#chosen.set(found.name, found);
    for (const relation of found.provides) {
      const providers = this.#provided.get(relation.name) ?? [];
      providers.push({ by: found, relation });
      this.#provided.set(relation.name, providers);
    }
  }

  resolve(): Package[] {
    const choices: { readonly dependent: Package; readonly group: readonly Relation[] }[] = [];
    for (;;) {
      const dependent = this.#open.shift();
      if (dependent !== undefined) {
        for (const group of dependent.depends) {
          if (this.#isSatisfied(group)) continue;
          const candidates = this.#candidates(group);
          const [only] = candidates;
          if (only === undefined) throw this.#missing(dependent, group);
          if (candidates.length === 1) this.choose(only);
          else choices.push({ dependent, group });
        }
        continue;
      }
      const choice = choices.shift();
      if (choice === undefined) break;
      if (this.#isSatisfied(choice.group)) continue;
      const best = this.#candidates(choice.group).find((candidate) => this.#conflictOf(candidate) === undefined);
      if (best === undefined) throw this.#missing(choice.dependent, choice.group);
      this.choose(best);
    }
    this.#checkConflicts();
    return [...this.#chosen.values()].filter(({ name }) => !this.#installed.has(name));
  }

  #isSatisfied(group: readonly Relation[]): boolean {
    return group.some((relation) => {
      const real = this.#chosen.get(relation.name);
      if (real !== undefined && accepts(relation, real.version)) return true;
      return (this.#provided.get(relation.name) ?? []).some((one) => isProvided(relation, one.relation));
    });
  }

  /** What could satisfy `group`, the best first. */
  #candidates(group: readonly Relation[]): Package[] {
    const found = new Set<Package>();
    for (const relation of group) {
      const real = this.#index.get(relation.name);
      if (real !== undefined && accepts(relation, real.version) && !this.#chosen.has(real.name)) found.add(real);
      const providers = this.#index
        .providersOf(relation.name)
        .filter(({ name, provides }) => !this.#chosen.has(name) && provides.some((one) => isProvided(relation, one)));
      for (const provider of providers.toSorted(byPriority)) found.add(provider);
    }
    return [...found];
  }

  /** A chosen package that `candidate` cannot stand beside. */
  #conflictOf(candidate: Package): Package | undefined {
    for (const other of this.#chosen.values()) {
      if (other === candidate) continue;
      if (excludes(candidate, other) || excludes(other, candidate)) return other;
    }
    return undefined;
  }

  #checkConflicts(): void {
    for (const found of this.#chosen.values()) {
      for (const relation of found.conflicts) {
        const real = this.#chosen.get(relation.name);
        const virtual = this.#provided.get(relation.name)?.find((one) => isProvided(relation, one.relation))?.by;
        const other = real !== undefined && real !== found && accepts(relation, real.version) ? real : virtual;
        if (other !== undefined && other !== found)
          throw new ImageError(
            'no-package',
            `${found.name} ${found.version} and ${other.name} ${other.version} of suite ${this.#suite} cannot be installed together.`,
          );
      }
    }
  }

  #missing(dependent: Package, group: readonly Relation[]): ImageError {
    const words = group.map(relationText).join(' or ');
    return new ImageError(
      'no-package',
      `${dependent.name} ${dependent.version} needs ${words}, which suite ${this.#suite} does not have.`,
    );
  }
}

/** A versioned relation is satisfied by a versioned Provides only (Debian Policy, 7.5). */
function isProvided(relation: Relation, provided: Relation): boolean {
  if (relation.name !== provided.name) return false;
  return relation.operator === undefined || (provided.version !== undefined && accepts(relation, provided.version));
}

/** Whether `found` says that it cannot stand beside `other`. A package may conflict with what it provides itself. */
function excludes(found: Package, other: Package): boolean {
  return found.conflicts.some(
    (relation) =>
      (relation.name === other.name && accepts(relation, other.version)) ||
      other.provides.some((provided) => isProvided(relation, provided)),
  );
}

function bestOf(packages: readonly Package[]): Package | undefined {
  return packages.toSorted(byPriority)[0];
}

function byPriority(a: Package, b: Package): number {
  return rank(a) - rank(b);
}

function rank({ priority }: Package): number {
  const at = PRIORITIES.indexOf(priority);
  return at < 0 ? PRIORITIES.length : at;
}
