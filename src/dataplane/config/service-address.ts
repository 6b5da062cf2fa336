/** Where a service listens and where a destination is, as text: read, and spelled one way. */
import { canonicalAddress, type Family, familyOf } from './address.js';

export const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** An address and a port, or a packet's mark. */
export type Listen =
  | { readonly protocol: Protocol; readonly family: Family; readonly address: string; readonly port: number }
  | { readonly protocol: 'mark'; readonly family: Family; readonly mark: number };

export interface Socket {
  readonly family: Family;
  /** canonical */
  readonly address: string;
  /** null: none was written */
  readonly port: number | null;
}

export const MARK_MAX = 0xffff_ffff;

/** `10.0.0.2:8080`, `[fd00::2]:8080`; without a port `10.0.0.2`, `fd00::2` or `[fd00::2]`. Undefined when it is none of these. */
export function parseSocket(text: string): Socket | undefined {
  const found = /^\[([^\]]*)\](?::(\d+))?$/.exec(text) ?? /^([^:[\]]*)(?::(\d+))?$/.exec(text);
  const address = canonicalAddress(found === null ? text : found[1]!);
  if (address === undefined || (text.startsWith('[') && !address.includes(':'))) return undefined;
  const digits = found?.[2];
  if (digits === undefined) return { family: familyOf(address), address, port: null };
  const port = portNumber(digits);
  return port === undefined ? undefined : { family: familyOf(address), address, port };
}

export function socketText(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `tcp://10.0.0.1:80`, `udp://[fd00::1]:53`, `mark://7`, `mark6://7`. Undefined when it is none of these. */
export function parseListen(text: string): Listen | undefined {
  const found = /^([a-z0-9]+):\/\/(.*)$/.exec(text);
  if (found === null) return undefined;
  const [, scheme = '', rest = ''] = found;
  if (scheme === 'mark' || scheme === 'mark6') {
    const mark = /^(0|[1-9]\d{0,9})$/.test(rest) ? Number(rest) : 0;
    if (mark < 1 || mark > MARK_MAX) return undefined;
    return { protocol: 'mark', family: scheme === 'mark' ? 4 : 6, mark };
  }
  const protocol = PROTOCOLS.find((known) => known === scheme);
  const socket = parseSocket(rest);
  if (protocol === undefined || socket === undefined || socket.port === null) return undefined;
  return { protocol, family: socket.family, address: socket.address, port: socket.port };
}

export function listenText(listen: Listen): string {
  if (listen.protocol === 'mark') return `${listen.family === 6 ? 'mark6' : 'mark'}://${listen.mark}`;
  return `${listen.protocol}://${socketText(listen.address, listen.port)}`;
}

function portNumber(digits: string): number | undefined {
  return /^(0|[1-9]\d{0,4})$/.test(digits) && Number(digits) <= 65535 ? Number(digits) : undefined;
}
