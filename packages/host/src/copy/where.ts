/**
 * Where a copy ends up, by the rules of `docker cp` ("Extended description" of its manual):
 *
 *     source    destination                     what becomes of it
 *     file      is not there                    a file of that name; with a slash at its end a failure
 *     file      is a file                       is replaced
 *     file      is a folder                     a file in it, called as the source
 *     folder    is not there                    a folder of that name with what the source has in it
 *     folder    is a file                       a failure
 *     folder    is a folder                     a folder in it, called as the source; with `/.` at the source's end what the source
 *                                               has in it, beside what is there
 *
 * The folder above the destination must be there.
 */

import { HostError } from '../failure.ts';

export type Kind = 'folder' | 'other';

export interface CopySource {
  /** As the user wrote it. */
  readonly path: string;
  readonly kind: Kind;
}

export interface CopyTarget {
  readonly path: string;
  /** Its last name is the source's and none that the user wrote: a link that happens to be there is not what the user meant. */
  readonly isSourceName: boolean;
}

/** The path that the copy's root gets. `destination` is what the user wrote, `there` what it is now. */
export function copyTarget(source: CopySource, destination: string, there: Kind | undefined): CopyTarget {
  const name = baseName(source.path);
  if (source.kind === 'folder') {
    if (there === undefined) return written(withoutSlash(destination));
    if (there !== 'folder')
      throw new HostError('bad-argument', `"${destination}" is no folder, and a folder cannot be copied over a file`);
    return endsInDot(source.path) || name === undefined
      ? written(withoutSlash(destination))
      : joined(destination, name);
  }
  if (endsInSlash(source.path) || endsInDot(source.path))
    throw new HostError('bad-argument', `"${source.path}" is no folder`);
  if (there === 'folder' && name !== undefined) return joined(destination, name);
  if (endsInSlash(destination)) {
    throw new HostError(
      'bad-argument',
      there === undefined ? `there is no folder "${destination}" to copy to` : `"${destination}" is no folder`,
    );
  }
  return written(destination);
}

/** The last name of a path; undefined when it has none of its own: `/`, `.`, `..`. */
function baseName(path: string): string | undefined {
  const name = path.replace(/(?:\/\.?)+$/, '').replace(/^.*\//s, '');
  return name === '' || name === '.' || name === '..' ? undefined : name;
}

function endsInSlash(path: string): boolean {
  return path.endsWith('/');
}

function endsInDot(path: string): boolean {
  return path === '.' || path.endsWith('/.');
}

function withoutSlash(path: string): string {
  return path.replace(/(?<=.)\/+$/s, '');
}

function written(path: string): CopyTarget {
  return { path, isSourceName: false };
}

function joined(folder: string, name: string): CopyTarget {
  return { path: folder.endsWith('/') ? folder + name : `${folder}/${name}`, isSourceName: true };
}
