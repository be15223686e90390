/** What a machine may be called. */

export const HOSTNAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/;
/** Of cloud-init's instances. */
export const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
