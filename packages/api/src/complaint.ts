/** What a schema complains of, as a sentence for people. */

import type * as z from 'zod/mini';

type Issue = z.core.$ZodError['issues'][number];

/** The first complaint, with the field that it is about. */
export function complaint({ issues }: z.core.$ZodError): string {
  const [issue] = issues;
  if (issue === undefined) return 'what was asked for makes no sense';
  const path = complainedPath(issue);
  if (issue.code === 'unrecognized_keys') return `there is no field "${path.join('.')}"`;
  return path.length === 0
    ? `what was asked for ${problemOf(issue)}`
    : `the field "${path.join('.')}" ${problemOf(issue)}`;
}

/** The field that is meant. */
export function complainedPath(issue: Issue): (string | number)[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol');
  return issue.code === 'unrecognized_keys' ? [...path, issue.keys[0] ?? ''] : path;
}

/** The end of a sentence that begins with the field. */
export function problemOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${NOUNS[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
    case 'too_small':
      return issue.origin === 'string'
        ? 'must not be empty'
        : `must be ${issue.origin === 'array' ? 'a list of ' : ''}at least ${issue.minimum}`;
    case 'too_big':
      return issue.origin === 'string'
        ? `must have at most ${issue.maximum} characters`
        : issue.origin === 'array'
          ? `must have at most ${issue.maximum} entries`
          : `must be at most ${issue.maximum}`;
    case 'invalid_format':
      return 'does not have the form it must have';
    case 'unrecognized_keys':
      return 'is not known';
    default:
      return 'makes no sense';
  }
}

const NOUNS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a group of fields',
  record: 'a group of fields',
};
