/**
 * The index of an archive's packages (`Packages`; Debian wiki, "DebianRepository/Format"): 60 MB of stanzas, of which a handful
 * matter. It is read as a stream, and only the stanzas that `wanted` names are kept.
 */

import { ImageError } from '../image-error.ts';
import { parseStanza } from './deb822.ts';
import { parseRelations, type Relation } from './relations.ts';
import { compareVersions } from './version.ts';

export interface Package {
  readonly name: string;
  readonly version: string;
  /** Where the package lies below the root of the archive. */
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
  /** Each group holds alternatives. */
  readonly depends: readonly (readonly Relation[])[];
  /** What may not be installed, or configured, beside it. */
  readonly conflicts: readonly Relation[];
  /** Virtual packages; with a version only the ones that say `= version`. */
  readonly provides: readonly Relation[];
  readonly priority: string;
  readonly isEssential: boolean;
}

/** A stanza of a real package is some KB; without a limit a broken index would be one stanza. */
const MAX_STANZA_LENGTH = 1024 * 1024;

const NAME = /^[a-z0-9][a-z0-9+.-]*$/;

/** The newest version of every package whose name is `wanted`, by name. */
export async function readPackages(
  stream: AsyncIterable<Uint8Array>,
  wanted: (name: string) => boolean,
): Promise<ReadonlyMap<string, Package>> {
  const packages = new Map<string, Package>();
  for await (const stanza of stanzas(stream)) {
    const name = stanzaName(stanza);
    if (name === undefined || !wanted(name)) continue;
    const found = parsePackage(name, stanza);
    const known = packages.get(name);
    if (known === undefined || compareVersions(known.version, found.version) < 0) packages.set(name, found);
  }
  return packages;
}

/** The name that a stanza is about. */
export function stanzaName(stanza: string): string | undefined {
  return /^Package:[ \t]*(\S+)/m.exec(stanza)?.[1];
}

/** The texts of an index's stanzas. */
export async function* stanzas(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    rest += decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n', start)) {
      yield rest.slice(start, end);
      start = end + 2;
    }
    rest = rest.slice(start);
    if (rest.length > MAX_STANZA_LENGTH)
      throw new ImageError('bad-format', 'The index of packages is not made of stanzas.');
  }
  yield rest + decoder.decode();
}

/** What a stanza says of the package `name`. */
export function parsePackage(name: string, text: string): Package {
  // Names of files are made of it (Debian Policy, 5.6.7).
  if (!NAME.test(name))
    throw new ImageError('bad-format', `The index of packages has a package "${name.slice(0, 40)}".`);
  const stanza = parseStanza(text);
  const version = stanza.get('Version') ?? '';
  const path = stanza.get('Filename') ?? '';
  const size = Number(stanza.get('Size') ?? Number.NaN);
  const sha256 = (stanza.get('SHA256') ?? '').toLowerCase();
  if (version === '' || !Number.isSafeInteger(size) || !/^[0-9a-f]{64}$/.test(sha256)) {
    throw new ImageError(
      'bad-format',
      `The index of packages names ${name} without a version, a size or a SHA256 sum.`,
    );
  }
  if (!/^[\w.+~%:-]+(\/[\w.+~%:-]+)*$/.test(path) || path.split('/').includes('..')) {
    throw new ImageError('bad-format', `The index of packages gives ${name} a path outside the archive: ${path}`);
  }
  return {
    name,
    version,
    path,
    size,
    sha256,
    depends: parseRelations([stanza.get('Pre-Depends'), stanza.get('Depends')]),
    conflicts: parseRelations([stanza.get('Conflicts'), stanza.get('Breaks')]).flat(),
    provides: parseRelations([stanza.get('Provides')]).flat(),
    priority: stanza.get('Priority') ?? 'optional',
    isEssential: stanza.flag('Essential') === true,
  };
}
