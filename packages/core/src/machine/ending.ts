/** How a machine comes to its end by its own will: through the test device, the SBI or HTIF. */

export type Ending =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reboot' }
  /** The guest says that it failed, with a code of its own (never 0). */
  | { readonly kind: 'failure'; readonly code: number };

/** Hears of the end. May be told while a hart is in the middle of an instruction: the machine stops when that is done. */
export type EndingListener = (ending: Ending) => void;
