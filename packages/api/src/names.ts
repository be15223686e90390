/** What a virtual machine may be called. */

/** Characters of a label of DNS (RFC 1035 section 2.3.1). */
export const MAXIMUM_NAME_LENGTH = 63;

/**
 * A label of DNS in small letters, for guests use it as theirs (RFC 1123 section 2.1); and nothing that looks like an id (RFC 9562 section 4), for a machine
 * is found by either.
 */
export const MACHINE_NAME = /^(?![0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
