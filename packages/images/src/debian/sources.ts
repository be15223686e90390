/**
 * apt's list of archives (sources.list(5)): the one-line form of `.list` files and the deb822 form of `.sources` files, made one.
 */

import { parseFlag, parseStanzas } from './deb822.ts';

export interface ArchiveSource {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** Path of a keyring, a fingerprint, or a whole key; undefined when apt's own trusted keys count. */
  readonly signedBy: string | undefined;
  /** What the source itself says of `Valid-Until`; undefined when apt's configuration decides. */
  readonly checkValidUntil: boolean | undefined;
}

/** The sources of binary packages in a `.list` file. Lines that make no sense are passed over: apt is who complains of them. */
export function parseSourcesList(text: string): ArchiveSource[] {
  const found: ArchiveSource[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)((?:\s+[^#\s]+)*)/.exec(line);
    if (match === null) continue;
    const [, optionText = '', uri = '', suite = '', components = ''] = match;
    const options = new Map(
      optionText.split(/\s+/).map((option): [string, string] => {
        const [key = '', ...value] = option.split('=');
        return [key.replace(/[+-]$/, '').toLowerCase(), value.join('=')];
      }),
    );
    found.push({
      uri,
      suites: [suite],
      components: components.split(/\s+/).filter((word) => word !== ''),
      signedBy: options.get('signed-by'),
      checkValidUntil: parseFlag(options.get('check-valid-until')),
    });
  }
  return found;
}

/** The enabled sources of binary packages in a `.sources` file. */
export function parseSourcesStanzas(text: string): ArchiveSource[] {
  return parseStanzas(text)
    .filter((stanza) => stanza.words('Types').includes('deb') && stanza.flag('Enabled') !== false)
    .flatMap((stanza) =>
      stanza.words('URIs').map((uri) => ({
        uri,
        suites: stanza.words('Suites'),
        components: stanza.words('Components'),
        signedBy: embeddedKey(stanza.get('Signed-By')),
        checkValidUntil: stanza.flag('Check-Valid-Until'),
      })),
    );
}

/** deb822 writes an empty line within a value as a lone dot, which an armoured key has to lose again. */
function embeddedKey(value: string | undefined): string | undefined {
  return value?.trim().replaceAll(/^\.$/gm, '');
}

const DEBIAN_KEYRING = /(^|\/)debian-archive-[^/]*\.(gpg|pgp|asc)$/;
/** Suites of Debian's archive by their lasting names; a code name is recognised by the keyring or by its path. */
const LASTING_SUITES = ['stable', 'testing', 'unstable', 'sid', 'oldstable', 'oldoldstable', 'experimental'];
const CODE_NAMES = ['buster', 'bullseye', 'bookworm', 'trixie', 'forky', 'duke'];

/**
 * The sources that are Debian's own archive, the surest first: `main` among the components, not the security archive, and either
 * signed by Debian's keyring or, with nothing said of keys, one of Debian's suites under a path that says "debian".
 */
export function debianArchives(sources: readonly ArchiveSource[]): ArchiveSource[] {
  const candidates = sources.filter((source) => source.components.includes('main') && !isSecurity(source));
  const certain = candidates.filter((source) => source.signedBy !== undefined && DEBIAN_KEYRING.test(source.signedBy));
  const likely = candidates.filter(
    (source) => source.signedBy === undefined && source.suites.some(isDebianSuite) && /\bdebian\b/i.test(source.uri),
  );
  return [...certain, ...likely];
}

function isSecurity({ uri, suites }: ArchiveSource): boolean {
  return /security/i.test(uri) || (suites.length > 0 && suites.every((suite) => /-security$|\/updates$/.test(suite)));
}

function isDebianSuite(suite: string): boolean {
  const [base = ''] = suite.split('-');
  return LASTING_SUITES.includes(base) || CODE_NAMES.includes(base);
}
