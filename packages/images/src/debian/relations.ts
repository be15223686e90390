/** Relations between packages (Debian Policy, chapter 7): `a (= 1), b | c:any (>= 2)`. */

import { compareVersions } from './version.ts';

export interface Relation {
  readonly name: string;
  readonly operator: '<<' | '<=' | '=' | '>=' | '>>' | undefined;
  readonly version: string | undefined;
}

/** The groups of all `fields` together; one alternative of each group has to hold. */
export function parseRelations(fields: readonly (string | undefined)[]): Relation[][] {
  return fields
    .flatMap((field) => (field ?? '').split(','))
    .map((group) => group.split('|').flatMap(parseRelation))
    .filter((group) => group.length > 0);
}

function parseRelation(text: string): Relation[] {
  const match = /^\s*([a-z0-9][a-z0-9.+-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?/.exec(text);
  const [, name, operator, version] = match ?? [];
  return name === undefined ? [] : [{ name, operator: operator as Relation['operator'], version }];
}

/** Whether `version` is one that `relation` accepts. */
export function accepts({ operator, version: wanted }: Relation, version: string): boolean {
  if (operator === undefined || wanted === undefined) return true;
  const order = compareVersions(version, wanted);
  switch (operator) {
    case '<<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '=':
      return order === 0;
    case '>=':
      return order >= 0;
    case '>>':
      return order > 0;
  }
}

/** As it is written in a control file. */
export function relationText({ name, operator, version }: Relation): string {
  return version === undefined ? name : `${name} (${operator} ${version})`;
}
