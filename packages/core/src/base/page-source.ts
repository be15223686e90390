/** Where a guest's memory comes from that is not in its domain yet: a snapshot, say. */

/** Where the bytes of pages are that have no frame yet. */
export interface PageSource {
  /** Fills `into`, a page long, with what page `index` of the page map holds. Throws when it cannot: the guest does not go on then. */
  load(index: number, into: Uint8Array): void;
  /** Is told of each page that was loaded because the guest needs it, and not because somebody else looks at it. */
  touched?(index: number): void;
  /** Plain data that another thread makes the same source of, where several execute the guest. */
  readonly shared?: unknown;
}
