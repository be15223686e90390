/**
 * All packages of a suite, to look up by name and by what they provide. A suite has 60,000 of them and an image some hundred, so stanzas
 * are kept as text and read when they are asked for.
 */

import { parsePackage, stanzaName, stanzas, type Package } from './packages.ts';
import { compareVersions } from './version.ts';

export class PackageIndex {
  readonly #stanzas = new Map<string, string[]>();
  readonly #packages = new Map<string, Package>();
  /** Names of packages by the virtual package that they provide. */
  readonly #providers = new Map<string, string[]>();
  readonly #required = new Set<string>();

  static async read(stream: AsyncIterable<Uint8Array>): Promise<PackageIndex> {
    const index = new PackageIndex();
    for await (const stanza of stanzas(stream)) index.#add(stanza);
    return index;
  }

  #add(stanza: string): void {
    const name = stanzaName(stanza);
    if (name === undefined) return;
    const known = this.#stanzas.get(name);
    if (known === undefined) this.#stanzas.set(name, [stanza]);
    else known.push(stanza);
    const provided = /^Provides:(.*(?:\n[ \t].*)*)/m.exec(stanza)?.[1];
    for (const [, virtual = ''] of provided?.matchAll(/(?:^|,)\s*([a-z0-9][a-z0-9.+-]*)/g) ?? []) {
      const providers = this.#providers.get(virtual);
      if (providers === undefined) this.#providers.set(virtual, [name]);
      else if (!providers.includes(name)) providers.push(name);
    }
    if (/^Priority:[ \t]*required|^Essential:[ \t]*yes/m.test(stanza)) this.#required.add(name);
  }

  /** The newest version of a package; undefined when there is none. */
  get(name: string): Package | undefined {
    const known = this.#packages.get(name);
    if (known !== undefined) return known;
    const [first, ...others] = this.#stanzas.get(name) ?? [];
    if (first === undefined) return undefined;
    let newest = parsePackage(name, first);
    for (const stanza of others) {
      const found = parsePackage(name, stanza);
      if (compareVersions(newest.version, found.version) < 0) newest = found;
    }
    this.#packages.set(name, newest);
    return newest;
  }

  /** Packages that provide a virtual package, in the order of the index. */
  providersOf(name: string): Package[] {
    return (this.#providers.get(name) ?? []).flatMap((provider) => this.get(provider) ?? []);
  }

  /** What every Debian system has: the packages that are essential, or of the priority `required`. */
  required(): Package[] {
    return [...this.#required].flatMap((name) => this.get(name) ?? []);
  }
}
