/** The greatest common divisor of the weights that are not 0; 0 where all are. */
export function gcdOf(destinations: Iterable<{ readonly weight: number }>): number {
  let divisor = 0;
  for (const { weight } of destinations) {
    let rest = weight;
    while (rest !== 0) [divisor, rest] = [rest, divisor % rest];
  }
  return divisor;
}
