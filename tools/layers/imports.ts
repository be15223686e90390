/**
 * What a source file asks for from outside: every form of import that TypeScript and Node know, types included, and the few other
 * constructs that bring foreign names into a file.
 */

import { parseSync, Visitor } from 'oxc-parser';

export interface ImportSite {
  /** From 1. */
  readonly line: number;
  /** The module's name as written; undefined when it is computed at run time. */
  readonly specifier: string | undefined;
  /** `export ... from`: hands the names on. */
  readonly reexports: boolean;
}

export interface FileImports {
  readonly imports: readonly ImportSite[];
  /** Lines of `/// <reference ... />` directives: they add types behind the configuration's back. */
  readonly referenceDirectives: readonly number[];
}

/** Reads the imports of the file called `path` with content `text`. A file that does not parse is the compiler's business: it gives what was understood. */
export function importsOf(path: string, text: string): FileImports {
  const { program, comments } = parseSync(path, text);
  const lineAt = lineFinder(text);
  const imports: ImportSite[] = [];
  const add = (source: { type: string; value?: unknown; start: number } | null, reexports = false): void => {
    if (source === null) return;
    const specifier = source.type === 'Literal' && typeof source.value === 'string' ? source.value : undefined;
    imports.push({ line: lineAt(source.start), specifier, reexports });
  };
  new Visitor({
    ImportDeclaration: (node) => add(node.source),
    ExportNamedDeclaration: (node) => add(node.source, true),
    ExportAllDeclaration: (node) => add(node.source, true),
    ImportExpression: (node) => add(node.source),
    TSImportType: (node) => add(node.source),
    TSExternalModuleReference: (node) => add(node.expression),
  }).visit(program);
  const directives = comments.filter(({ type, value }) => type === 'Line' && /^\/\s*<reference\b/.test(value));
  return { imports, referenceDirectives: directives.map(({ start }) => lineAt(start)) };
}

function lineFinder(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => starts.findLastIndex((start) => start <= offset) + 1;
}
