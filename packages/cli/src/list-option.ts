import { Option } from 'commander';

/** An option that may be given again; its value is the list of all that were. */
export function listOption(form: string, description: string): Option {
  return new Option(form, description)
    .default([], 'none')
    .argParser((word: string, before: readonly string[]) => [...before, word]);
}
