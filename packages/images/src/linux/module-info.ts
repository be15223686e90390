/** What a kernel module says of itself: `key=value` strings, each ended by a NUL, in its section `.modinfo` (Linux, include/linux/moduleparam.h). */

import { utf8Text } from '../archive/octets.ts';
import { ImageError } from '../image-error.ts';
import { parseElf } from './elf.ts';

export interface ModuleInfo {
  /** Names of the modules that have to be loaded before this one. */
  readonly depends: readonly string[];
  readonly aliases: readonly string[];
  /** Modules or aliases that should be loaded before this one when there are any (`softdep=pre: a b post: c`). */
  readonly softDependencies: readonly string[];
}

/** The name by which the kernel knows a module; file names may have dashes. */
export function moduleName(name: string): string {
  return name.replaceAll('-', '_');
}

export function parseModuleInfo(module: Uint8Array, what: string): ModuleInfo {
  const section = parseElf(module, what).sections.find(({ name }) => name === '.modinfo');
  if (section === undefined)
    throw new ImageError('bad-format', `${what} is not a kernel module: it has no section .modinfo.`);
  const entries = utf8Text(section.content)
    .split('\0')
    .map((entry): [string, string] => {
      const equals = entry.indexOf('=');
      return [entry.slice(0, equals), entry.slice(equals + 1)];
    });
  const values = (key: string): string[] => entries.filter(([name]) => name === key).map(([, value]) => value);
  const words = (text: string, separator: RegExp): string[] => text.split(separator).filter((word) => word !== '');
  return {
    depends: values('depends')
      .flatMap((value) => words(value, /,/))
      .map(moduleName),
    aliases: values('alias'),
    softDependencies: values('softdep').flatMap((value) =>
      words(/\bpre:(.*?)(?:post:|$)/.exec(value)?.[1] ?? '', /\s+/),
    ),
  };
}
