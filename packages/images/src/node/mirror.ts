/** Which mirror to fetch from: the caller's, the environment's, or the one that apt on this machine is set to. */

import { readFileSync } from 'node:fs';
import { debianArchives } from '../debian/sources.ts';
import { ImageError } from '../image-error.ts';
import type { AptSettings } from './apt.ts';

export interface Mirror {
  /** Root of the archive, without a slash at its end. */
  readonly url: string;
  /** The keyring that apt's source names for it. */
  readonly signedBy: string | undefined;
  /** Whether an index may have grown too old, as the source says. */
  readonly checkValidUntil: boolean | undefined;
}

const ADVICE = 'Give one with --mirror URL or in the variable RINGFENCE_MIRROR.';

export function chooseMirror(
  option: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  apt: AptSettings,
  aptFolder: string,
): Mirror {
  const given = option ?? env['RINGFENCE_MIRROR'];
  if (given !== undefined && given !== '')
    return { url: checkedUrl(given, 'The mirror'), signedBy: undefined, checkValidUntil: undefined };

  const archives = debianArchives(apt.sources);
  const unusable: string[] = [];
  for (const { uri, signedBy, checkValidUntil } of archives) {
    const url = usableUrl(uri);
    if (url !== undefined) return { url, signedBy, checkValidUntil };
    unusable.push(uri);
  }
  if (unusable.length > 0) {
    throw new ImageError(
      'no-mirror',
      `apt's source ${unusable[0]} is of a kind that Ringfence cannot fetch from. ${ADVICE}`,
    );
  }
  throw new ImageError('no-mirror', `No Debian mirror is known: apt's sources in ${aptFolder} name none. ${ADVICE}`);
}

function checkedUrl(text: string, what: string): string {
  if (!/^https?:/i.test(text) || !URL.canParse(text)) {
    throw new ImageError('bad-argument', `${what} ${text} is not an http:// or https:// address.`);
  }
  return text.replace(/\/+$/, '');
}

/** The address itself, or the first usable one in the list that a `mirror+file:` names; undefined for other methods of apt's. */
function usableUrl(uri: string): string | undefined {
  if (/^https?:\/\//i.test(uri) && URL.canParse(uri)) return uri.replace(/\/+$/, '');
  const listPath = /^mirror\+file:(?:\/\/)?(\/.*)$/.exec(uri)?.[1];
  if (listPath === undefined) return undefined;
  let list: string;
  try {
    list = readFileSync(listPath, 'utf8');
  } catch {
    return undefined;
  }
  const first = /^\s*(https?:\/\/\S+)/im.exec(list)?.[1];
  return first === undefined || !URL.canParse(first) ? undefined : first.replace(/\/+$/, '');
}
