/**
 * Echo requests over raw sockets (npm package raw-socket), one socket a family, in the process's network namespace.
 * Without the package, or without the right to open such a socket, nothing is sent, and the log says so once.
 */
import { randomBytes } from 'node:crypto';
import * as checksum from '../../wire/checksum.js';
import * as icmp from '../../wire/icmp.js';
import * as icmpv6 from '../../wire/icmpv6.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import { ipText } from '../ip-text.js';
import {
  ICMPV6_FILTER,
  icmpv6Filter,
  loadRawSocket,
  type RawSocket,
  type RawSocketModule,
} from '../raw-socket.js';
import type { EchoListener, EchoTransport, Log } from './transport.js';

const IPPROTO_IP = 0;
const IPPROTO_IPV6 = 41;
const IP_MTU_DISCOVER = 10;
const IPV6_MTU_DISCOVER = 23;
const PMTUDISC_PROBE = 3; // don't fragment, and don't mind what is known of the path
const SOL_RAW = 255;
const ICMP_FILTER = 1; // u32: types that are kept out, as bits

const COOKIE = 8; // where it stands: behind the echo's header
const COOKIE_BYTES = 8;
const RECEIVE_BYTES = 2048; // an error repeats less; what a large reply has behind this is of no interest

export class IcmpEcho implements EchoTransport {
  listener: EchoListener | undefined;
  readonly #logger: Log;
  readonly #sockets: { 4?: RawSocket; 6?: RawSocket } = {};
  readonly #identifier = randomBytes(2).readUInt16BE();
  /** of this process, so that another one's replies aren't ours, and no guess is */
  readonly #cookie = randomBytes(COOKIE_BYTES);
  /** what the log says when no echo can be sent */
  readonly #without: string;
  #raw: RawSocketModule | undefined;
  #usable = true;
  #fault: string | undefined;

  constructor(logger: Log, without = "path MTU isn't probed: the interface's and the kernel's hold") {
    this.#logger = logger;
    this.#without = without;
  }

  /** Opens what is needed for the family; why that can't be, undefined when it can. */
  open(family: 4 | 6): string | undefined {
    return this.#socket(family) === undefined ? (this.#fault ?? 'it is closed') : undefined;
  }

  send(address: string, size: number, sequence: number): void {
    const family = address.includes(':') ? 6 : 4;
    const socket = this.#socket(family);
    if (socket === undefined) return;
    const length = size - (family === 4 ? ipv4.HEADER : ipv6.HEADER);
    const echo = Buffer.alloc(length);
    echo[0] = family === 4 ? icmp.ECHO_REQUEST : icmpv6.ECHO_REQUEST;
    echo.writeUInt16BE(this.#identifier, 4);
    echo.writeUInt16BE(sequence, 6);
    this.#cookie.copy(echo, COOKIE);
    if (family === 4) echo.writeUInt16BE(checksum.finish(checksum.sum(echo, 0, length)), 2); // the kernel does ICMPv6's
    socket.send(echo, 0, length, address, (error) => {
      if (!error) return;
      this.#logger.debug({ address, size, error: error.message }, 'echo request not sent');
      this.listener?.unsent?.(sequence, error.message);
    });
  }

  close(): void {
    this.#usable = false;
    this.#sockets[4]?.close();
    this.#sockets[6]?.close();
  }

  #socket(family: 4 | 6): RawSocket | undefined {
    if (!this.#usable || this.#sockets[family] !== undefined) return this.#sockets[family];
    try {
      this.#raw ??= loadRawSocket();
      this.#sockets[family] = this.#open(this.#raw, family);
    } catch (error) {
      this.#usable = false;
      // Of a module that is missing, not where it was looked for; of one for another Node, all that there is to do.
      const reason = (error as Error).message.split('\nRequire stack')[0]!.replace(/\s+/g, ' ');
      this.#fault = reason;
      this.#logger.warn({ reason }, this.#without);
    }
    return this.#sockets[family];
  }

  #open(raw: RawSocketModule, family: 4 | 6): RawSocket {
    const socket = raw.createSocket({
      protocol: family === 4 ? icmp.PROTOCOL : icmpv6.PROTOCOL,
      addressFamily: family === 4 ? raw.AddressFamily.IPv4 : raw.AddressFamily.IPv6,
      bufferSize: RECEIVE_BYTES,
    });
    socket.on('message', (message) => (family === 4 ? this.#receive4(message) : this.#receive6(message)));
    socket.on('error', (error) => this.#logger.debug({ error: error.message }, 'ICMP socket'));
    socket.on('close', () => delete this.#sockets[family]);
    if (family === 4) {
      socket.setOption(IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE);
      socket.setOption(SOL_RAW, ICMP_FILTER, ~((1 << icmp.ECHO_REPLY) | (1 << icmp.UNREACHABLE)) >>> 0);
    } else {
      socket.setOption(IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE);
      const filter = icmpv6Filter([icmpv6.ECHO_REPLY, icmpv6.PACKET_TOO_BIG]);
      socket.setOption(icmpv6.PROTOCOL, ICMPV6_FILTER, filter, filter.length);
    }
    return socket;
  }

  /** A packet with its IP header. */
  #receive4(packet: Buffer): void {
    if (packet.length < ipv4.HEADER) return;
    const at = ipv4.headerLength(packet, 0);
    if (packet.length < at + icmp.HEADER) return;
    if (icmp.type(packet, at) === icmp.ECHO_REPLY) this.#reply(packet, at);
    else this.#refused4(packet, at);
  }

  #refused4(packet: Buffer, at: number): void {
    const refused = at + icmp.HEADER; // the header of the packet that was too big
    const size = icmp.mtu(packet, at); // 0 from routers that don't know RFC 1191
    if (icmp.code(packet, at) !== icmp.FRAGMENTATION_NEEDED || size === 0) return;
    if (packet.length < refused + ipv4.HEADER) return;
    this.listener?.tooBig(ipv4.format(ipv4.destination(packet, refused)), size);
  }

  /** A message without the IP header. */
  #receive6(message: Buffer): void {
    if (message.length < icmpv6.HEADER) return;
    if (icmpv6.type(message, 0) === icmpv6.ECHO_REPLY) this.#reply(message, 0);
    else this.#refused6(message);
  }

  #refused6(message: Buffer): void {
    if (message.length < icmpv6.HEADER + ipv6.HEADER) return;
    const destination = icmpv6.HEADER + ipv6.DESTINATION;
    this.listener?.tooBig(ipText(message.subarray(destination, destination + 16)), icmpv6.mtu(message, 0));
  }

  #reply(bytes: Buffer, at: number): void {
    const cookie = bytes.subarray(at + COOKIE, at + COOKIE + COOKIE_BYTES);
    if (cookie.length < COOKIE_BYTES || bytes.readUInt16BE(at + 4) !== this.#identifier) return;
    if (this.#cookie.equals(cookie)) this.listener?.answered(bytes.readUInt16BE(at + 6));
  }
}
