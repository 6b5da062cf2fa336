import { constants } from 'node:os';

/** errno → name; of two names for one number the one that netlink's documentation uses. */
const NAMES = new Map<number, string>(
  Object.entries(constants.errno).map(([name, number]) => [number, name] as const),
);
NAMES.set(constants.errno.EAGAIN, 'EAGAIN');
NAMES.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP');

/** What the kernel said no to: "add address 10.0.0.1/24 to interface 3: File exists (EEXIST)". */
export class NetlinkError extends Error {
  override name = 'NetlinkError';
  /** 'EEXIST', 'ENODEV', 'EPERM', … */
  readonly code: string;
  readonly errno: number;
  /** the operation and its object in words */
  readonly operation: string;

  /** `explanation`: the kernel's own words (extended ack), '' when it gave none. */
  constructor(operation: string, errno: number, explanation: string) {
    const code = NAMES.get(errno) ?? `E${errno}`;
    super(`${operation}: ${explanation === '' ? code : `${explanation} (${code})`}`);
    this.code = code;
    this.errno = errno;
    this.operation = operation;
  }
}
