/** SipHash-1-3 from its definition (Aumasson, Bernstein 2012, §2), with whole 64-bit numbers and any length. */
type State = [bigint, bigint, bigint, bigint];

const wrap = (n: bigint): bigint => BigInt.asUintN(64, n);
const turn = (n: bigint, by: bigint): bigint => wrap((n << by) | (n >> (64n - by)));

function round([a, b, c, d]: State): State {
  const ab = wrap(a + b);
  const cd = wrap(c + d);
  const b1 = turn(b, 13n) ^ ab;
  const d1 = turn(d, 16n) ^ cd;
  const a2 = wrap(turn(ab, 32n) + d1);
  const c2 = wrap(cd + b1);
  return [a2, turn(b1, 17n) ^ c2, turn(c2, 32n), turn(d1, 21n) ^ a2];
}

export function sipHash13([key0, key1]: readonly [bigint, bigint], bytes: Uint8Array): bigint {
  let state: State = [
    key0 ^ 0x736f6d6570736575n,
    key1 ^ 0x646f72616e646f6dn,
    key0 ^ 0x6c7967656e657261n,
    key1 ^ 0x7465646279746573n,
  ];
  const padded = new Uint8Array((bytes.length & ~7) + 8);
  padded.set(bytes);
  padded[padded.length - 1] = bytes.length;
  for (const word of new BigUint64Array(padded.buffer)) {
    const [a, b, c, d] = round([state[0], state[1], state[2], state[3] ^ word]);
    state = [a ^ word, b, c, d];
  }
  state = round(round(round([state[0], state[1], state[2] ^ 0xffn, state[3]])));
  return state[0] ^ state[1] ^ state[2] ^ state[3];
}
