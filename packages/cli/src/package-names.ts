/** `--packages nginx,python3` as it is typed; whether there are such packages, the suite says. */
export function packageNames(words: string | undefined): string[] {
  return (words ?? '').split(/[\s,]+/).filter((word) => word !== '');
}
