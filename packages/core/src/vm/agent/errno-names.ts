/** Names of Linux's error numbers (include/uapi/asm-generic/errno-base.h and errno.h), and what the usual ones mean. */

const NAMES =
  '- EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR ' +
  'EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ' +
  'ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - ' +
  'EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ ' +
  'EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ' +
  'ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ' +
  'ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY ' +
  'EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED ' +
  'EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON';

const BY_NUMBER = NAMES.split(' ');

/** `ENOENT` for 2; `error 4000` for a number that has no name. */
export function errnoName(errno: number): string {
  const name = BY_NUMBER[errno];
  return name === undefined || name === '-' ? `error ${errno}` : name;
}

/** In words, for errors that people meet. */
const MEANINGS: Readonly<Record<string, string>> = {
  EPERM: 'it is not permitted',
  ENOENT: 'it does not exist',
  EIO: 'reading or writing failed',
  E2BIG: 'the arguments are too long',
  ENOEXEC: 'it is no program that the guest can run',
  EAGAIN: 'there is too much under way',
  ENOMEM: 'the guest has no memory left',
  EACCES: 'permission is denied',
  EBUSY: 'it is in use',
  EEXIST: 'it is there already',
  ENOTDIR: 'something on the way is no folder',
  EISDIR: 'it is a folder',
  EINVAL: 'the guest does not take it so',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  ETXTBSY: 'it is a program that runs',
  EFBIG: 'the file would be too large',
  ENOSPC: 'no space is left',
  EROFS: 'the file system is read-only',
  ENAMETOOLONG: 'the name is too long',
  ENOSYS: "the guest's kernel has no such function",
  ELOOP: 'a symbolic link is in the way',
  EPROTO: 'the steps of the copy make no sense',
  EOPNOTSUPP: 'it is not supported there',
  EDQUOT: 'the quota is used up',
};

/** `it does not exist (ENOENT)`. */
export function errnoWords(errno: number): string {
  const name = errnoName(errno);
  const meaning = MEANINGS[name];
  return meaning === undefined ? name : `${meaning} (${name})`;
}
