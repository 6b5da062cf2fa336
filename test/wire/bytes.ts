/** What the wire tests share: literal bytes, memory that tells on who leaves it, the slow obvious checksum. */

/** Bytes from hex digits; blanks are for the reader. */
export const hex = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));

export type Range = readonly [from: number, to: number];

/** What every byte is that nobody wrote. */
export const FILLER = 0xa5;

/** Room before and behind the bytes that `place` puts down; odd, for nothing may depend on alignment. */
export const MARGIN = 67;

export interface Placed {
  bytes: Uint8Array;
  at: number;
  end: number;
}

/** Content in the midst of filler, from `at` to `end`, with `room` more bytes of filler behind. */
export function place(content: Uint8Array, room = MARGIN): Placed {
  const bytes = new Uint8Array(MARGIN + content.length + room).fill(FILLER);
  bytes.set(content, MARGIN);
  return { bytes, at: MARGIN, end: MARGIN + content.length };
}

/** The same memory, but a read outside of the readable or a write outside of the writable ranges throws. */
export function guard(bytes: Uint8Array, readable: Range[], writable: Range[] = []): Uint8Array {
  const check = (ranges: Range[], from: number, to: number, what: string) => {
    if (from < to && !ranges.some(([low, high]) => low <= from && to <= high)) {
      throw new RangeError(`${what} of ${from}..${to}`);
    }
  };
  return new Proxy(bytes, {
    get(target, key) {
      if (key === 'copyWithin') {
        return (to: number, from: number, end: number) => {
          check(readable, from, end, 'read');
          check(writable, to, to + end - from, 'write');
          target.copyWithin(to, from, end);
        };
      }
      if (typeof key === 'symbol' || !/^\d+$/.test(key)) throw new TypeError(`use of ${String(key)}`);
      check(readable, Number(key), Number(key) + 1, 'read');
      return target[Number(key)];
    },
    set(target, key, value: number) {
      check(writable, Number(key), Number(key) + 1, 'write');
      target[Number(key)] = value;
      return true;
    },
  });
}

/** Calls with every beginning of the content, 0 to all bytes, in memory that throws on a touch outside of it. */
export function eachLength<R>(
  content: Uint8Array,
  call: (bytes: Uint8Array, at: number, end: number) => R,
): R[] {
  const results: R[] = [];
  for (let length = 0; length <= content.length; length++) {
    const { bytes, at, end } = place(content.slice(0, length));
    results.push(call(guard(bytes, [[at, end]], [[at, end]]), at, end));
  }
  return results;
}

/** Whether all is filler outside of the ranges. */
export const untouched = (bytes: Uint8Array, ...but: Range[]): boolean =>
  bytes.every((byte, at) => byte === FILLER || but.some(([from, to]) => from <= at && at < to));

/** RFC 1071 in its plainest words: the one's-complement sum of big-endian pairs, folded. */
export function slowSum(bytes: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    total += bytes[i] * 256 + (i + 1 < bytes.length ? bytes[i + 1] : 0);
    if (total > 0xffff) total -= 0xffff;
  }
  return total;
}
