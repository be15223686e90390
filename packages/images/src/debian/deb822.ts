/**
 * Stanzas of `Field: value` lines, as Debian's control files, archive indexes and `.sources` files are written (deb822(5)). Field
 * names know no case; a line that begins with a space or a tab continues the value; `#` begins a line that is a comment.
 */

export class Stanza {
  readonly #fields: ReadonlyMap<string, string>;

  constructor(fields: ReadonlyMap<string, string>) {
    this.#fields = fields;
  }

  /** The value, its lines separated by '\n' and trimmed; undefined when the field is absent. */
  get(field: string): string | undefined {
    return this.#fields.get(field.toLowerCase());
  }

  /** The value as words. */
  words(field: string): string[] {
    return (this.get(field) ?? '').split(/\s+/).filter((word) => word !== '');
  }

  /** `yes` and `no` as apt reads them; undefined when the field is absent or says neither. */
  flag(field: string): boolean | undefined {
    return parseFlag(this.get(field));
  }
}

/** What apt takes for yes and no (apt.conf(5), StringToBool). */
export function parseFlag(text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (/^(yes|true|with|on|enable|1)$/i.test(text)) return true;
  if (/^(no|false|without|off|disable|0)$/i.test(text)) return false;
  return undefined;
}

/** One stanza; lines that are none of a field, a continuation and a comment are passed over, as apt does. */
export function parseStanza(text: string): Stanza {
  const fields = new Map<string, string>();
  let field: string | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue;
    if (/^[ \t]/.test(line)) {
      if (field !== undefined) fields.set(field, `${fields.get(field) ?? ''}\n${line.trim()}`);
      continue;
    }
    const colon = line.indexOf(':');
    field = colon > 0 ? line.slice(0, colon).toLowerCase() : undefined;
    if (field !== undefined) fields.set(field, line.slice(colon + 1).trim());
  }
  return new Stanza(fields);
}

/** All stanzas of a text; they are separated by empty lines. */
export function parseStanzas(text: string): Stanza[] {
  return text
    .replaceAll('\r\n', '\n')
    .split(/\n(?:[ \t]*\n)+/)
    .filter((part) => /^[^#\s]/m.test(part))
    .map(parseStanza);
}
