/** The error of the address parsers (MAC, IPv4, IPv6); the fast path never sees it. */

export class AddressError extends Error {
  override readonly name = 'AddressError';
  readonly code = 'ERR_ADDRESS';
  /** What could not be read as an address. */
  readonly text: string;

  /** @param wanted what an address of that kind looks like, e.g. `a MAC address like 02:42:0a:00:00:02` */
  constructor(text: string, wanted: string) {
    super(`${JSON.stringify(text)} is not ${wanted}`);
    this.text = text;
  }
}
