/** The text of a vm.yaml (YAML 1.2), and what it says. A complaint names the line and the field. */

import { complainedPath, problemOf } from '@ringfence/api';
import { type Document, isMap, isNode, isPair, isScalar, LineCounter, parseDocument, stringify, visit } from 'yaml';
import * as z from 'zod/mini';
import { HostError } from '../failure.ts';
import { CONFIG, impossible, type MachineConfig } from './config.ts';

export const FILE_NAME = 'vm.yaml';
/** A file that is longer is none of ours. */
export const MAXIMUM_BYTES = 256 * 1024;
const HEAD = ' A virtual machine of Ringfence; docs/daemon.md says what may be written here.\n';

type Path = readonly (string | number)[];

/** What the text says; throws `not-a-machine`. `file` is what complaints call it. */
export function parseVmYaml(source: string, file: string): MachineConfig {
  return parsed(source, file).config;
}

/** The text for a new machine. */
export function vmYamlOf(config: MachineConfig): string {
  return `#${HEAD}${stringify(config, { lineWidth: 120 })}`;
}

/** The same text with some fields changed, or without them where their value is undefined; whatever else is in it, comments too, stays. */
export function changedVmYaml(source: string, file: string, changes: readonly (readonly [Path, unknown])[]): string {
  const { document } = parsed(source, file);
  for (const [path, value] of changes)
    if (value === undefined) document.deleteIn(path);
    else document.setIn(path, value);
  const text = document.toString({ lineWidth: 120 });
  parseVmYaml(text, file);
  return text;
}

function parsed(source: string, file: string): { readonly config: MachineConfig; readonly document: Document.Parsed } {
  const lines = new LineCounter();
  if (source.length > MAXIMUM_BYTES) throw refused(file, 1, `it is longer than ${MAXIMUM_BYTES} bytes`);
  // `uniqueKeys` takes the square of their number.
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const [error] = document.errors;
  if (error !== undefined) throw refused(file, lines.linePos(error.pos[0]).line, error.message.replace(/\.$/, ''));
  visit(document, {
    Map(_key, { items }) {
      // As they are called in what is made of it.
      const keys = new Set<string>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        const name = String((key.value as string | number | boolean | null) ?? '');
        if (keys.has(name)) throw refused(file, lines.linePos(key.range?.[0] ?? 0).line, 'Map keys must be unique');
        keys.add(name);
      }
    },
  });
  if (!isMap(document.contents)) throw refused(file, 1, 'it is no list of fields');
  let value: unknown;
  try {
    // Aliases are no part of what is written here.
    value = document.toJS({ maxAliasCount: 0 });
  } catch (reason) {
    throw refused(file, 1, 'it has aliases, which are not understood here', reason);
  }
  const at = (path: Path): number => lines.linePos(offsetOf(document, path)).line;
  const checked = z.safeParse(CONFIG, value);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    const path = issue === undefined ? [] : complainedPath(issue);
    const isMissing = path.length > 0 && !document.hasIn(path);
    throw refused(file, at(path), `${named(path)} ${isMissing || !issue ? 'is missing' : problemOf(issue)}`);
  }
  const problem = impossible(checked.data);
  if (problem !== undefined) throw refused(file, at(problem.path), `${named(problem.path)} ${problem.problem}`);
  return { config: checked.data, document };
}

function named(path: Path): string {
  return `the field "${path.join('.')}"`;
}

/** Where the field is, or whatever of its path is there. */
function offsetOf(document: Document.Parsed, path: Path): number {
  for (let depth = path.length; depth > 0; depth--) {
    const parent = document.getIn(path.slice(0, depth - 1), true);
    const key = path[depth - 1];
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isPair(item) && isNode(item.key) && String(item.key) === String(key));
      if (pair !== undefined && isNode(pair.key)) return pair.key.range?.[0] ?? 0;
    }
    const node = document.getIn(path.slice(0, depth), true);
    if (isNode(node)) return node.range?.[0] ?? 0;
  }
  return document.contents?.range?.[0] ?? 0;
}

function refused(file: string, line: number, problem: string, cause?: unknown): HostError {
  return new HostError('not-a-machine', `${file}, line ${line}: ${problem}`, cause);
}
