/**
 * Finds the MACs of destinations that control says nothing of, as a host would: it asks by ARP (RFC 826) or neighbour
 * solicitation (RFC 4861 §7.2.2), in the name of the client whose packet waits, and hears the answers on their way to it.
 *
 * What it hears stands in the table of neighbours under a number of its own for the network, so that all engines know
 * it and nobody else is answered by it; only addresses that were asked for. As IPs move, it asks again while it uses one,
 * and doesn't use what nobody has confirmed for a minute.
 */
import { Batch } from './core/batch.js';
import { drop } from './core/drops.js';
import type { Path } from './core/path.js';
import { NO_PACKET } from './core/pool.js';
import { type Parsed, parse } from './ipvs/packet.js';
import type { Neighbours } from './overlay/neighbour.js';
import * as arp from './wire/arp.js';
import * as ethernet from './wire/ethernet.js';
import { mix } from './wire/flow.js';
import * as icmpv6 from './wire/icmpv6.js';
import * as ipv6 from './wire/ipv6.js';

/** Beside the network's index, in the key of what was heard. */
export const HEARD = 0x10000;
/** Seconds, in the upper half of the word that has the MAC's first: they wrap after nine hours. */
const SECONDS = 0x7fff;
const ASK_AGAIN_SECONDS = 15;
const FORGET_SECONDS = 60;
/** The same address is asked for no sooner. */
const ASK_MS = 250;
const ASKED = 256;
/** Packets that wait, and how long: until a TCP client would send its SYN again. */
const HELD = 64;
const HELD_MS = 1_000;

export class NeighbourSearch {
  /** what `find` found last */
  macHigh = 0;
  macLow = 0;
  /** requests that are to leave as if the clients had sent them */
  readonly asks: Batch;

  readonly #path: Path;
  readonly #neighbours: Neighbours;
  /** by hash of the address, when it may be asked for again */
  readonly #askAt = new Float64Array(ASKED);
  readonly #held = new Int32Array(HELD);
  readonly #deadlines = new Float64Array(HELD);
  #count = 0;

  constructor(path: Path, neighbours: Neighbours) {
    this.#path = path;
    this.#neighbours = neighbours;
    this.asks = new Batch(path.pool.packets);
  }

  /** Packets that wait. */
  get held(): number {
    return this.#count;
  }

  /** The MAC of the packet's destination. When it isn't known, or not for sure, it is asked for. */
  find(packet: number, network: number, parsed: Parsed, nowMs: number): boolean {
    const known = this.#look(network, parsed, nowMs);
    if (known < ASK_AGAIN_SECONDS) return true;
    this.#ask(packet, network, parsed, nowMs);
    return known < FORGET_SECONDS;
  }

  /** The packet waits until its destination's MAC is known, which `find` didn't know. */
  hold(packet: number, nowMs: number): void {
    if (this.#count === HELD) {
      this.#path.drop(packet, drop['destination-unknown']);
      return;
    }
    this.#held[this.#count] = packet;
    this.#deadlines[this.#count++] = nowMs + HELD_MS;
  }

  /** Packets that have waited and know their way now are moved to `found`; those that have waited too long are dropped. */
  release(found: Batch, parsed: Parsed, nowMs: number): void {
    const { pool } = this.#path;
    const held = this.#held;
    let left = 0;
    for (let i = 0; i < this.#count; i++) {
      const packet = held[i]!;
      const at = pool.offset[packet]!;
      const end = at + pool.length[packet]!;
      parse(pool, ethernet.payload(pool.bytes, at, end - at), end, parsed);
      if (this.#look(pool.network[packet]!, parsed, nowMs) < FORGET_SECONDS) {
        ethernet.writeMac(pool.bytes, at, this.macHigh, this.macLow);
        found.push(packet);
      } else if (this.#deadlines[i]! <= nowMs) this.#path.drop(packet, drop['destination-unknown']);
      else {
        held[left] = packet;
        this.#deadlines[left++] = this.#deadlines[i]!;
      }
    }
    this.#count = left;
  }

  /** Learns from an ARP packet or an advertisement on its way to a workload, whoever it is for. */
  hear(packet: number, network: number, ip: number, nowMs: number): void {
    const { pool } = this.#path;
    const { bytes, view } = pool;
    const end = pool.offset[packet]! + pool.length[packet]!;
    if (ethernet.payloadType(bytes, ip) === ethernet.ARP) {
      if (!arp.valid(bytes, ip, end)) return;
      const sender = arp.senderIp(bytes, ip);
      this.#learn(
        network,
        0,
        0,
        0xffff,
        sender,
        arp.senderMacHigh(bytes, ip),
        arp.senderMacLow(bytes, ip),
        nowMs,
      );
      return;
    }
    if (!icmpv6.isAdvertisement(bytes, ip, end)) return;
    const mac = icmpv6.targetLinkLayer(bytes, ip);
    if (mac < 0) return;
    const a = icmpv6.targetWord(bytes, ip, 0);
    const b = icmpv6.targetWord(bytes, ip, 1);
    const c = icmpv6.targetWord(bytes, ip, 2);
    const d = icmpv6.targetWord(bytes, ip, 3);
    this.#learn(network, a, b, c, d, ethernet.highOf(view, mac), ethernet.lowOf(view, mac), nowMs);
  }

  #learn(
    network: number,
    a: number,
    b: number,
    c: number,
    d: number,
    high: number,
    low: number,
    nowMs: number,
  ): void {
    const neighbours = this.#neighbours;
    if ((high & 0x0100) !== 0 || (high | low) === 0) return;
    if (!neighbours.find6(network | HEARD, a, b, c, d)) return;
    const value = high | (secondsOf(nowMs) << 16);
    if (neighbours.macHigh === value && neighbours.macLow === low) return;
    neighbours.set(network | HEARD, [a, b, c, d], value, low);
  }

  /** Seconds since the MAC was confirmed; FORGET_SECONDS and more when it isn't known. */
  #look(network: number, parsed: Parsed, nowMs: number): number {
    const neighbours = this.#neighbours;
    const { destination0, destination1, destination2, destination3 } = parsed;
    const there =
      parsed.family === 4
        ? neighbours.find4(network | HEARD, destination0)
        : neighbours.find6(network | HEARD, destination0, destination1, destination2, destination3);
    const high = neighbours.macHigh & 0xffff;
    if (!there || (high | neighbours.macLow) === 0) return FORGET_SECONDS;
    this.macHigh = high;
    this.macLow = neighbours.macLow;
    return (secondsOf(nowMs) - (neighbours.macHigh >>> 16)) & SECONDS;
  }

  #ask(packet: number, network: number, parsed: Parsed, nowMs: number): void {
    const { pool } = this.#path;
    const { bytes, view } = pool;
    const { destination0, destination1, destination2, destination3 } = parsed;
    const hash = mix(mix(mix(mix(network, destination0), destination1), destination2), destination3);
    const place = (hash ^ (hash >>> 16)) & (ASKED - 1);
    if (this.#askAt[place]! > nowMs) return;
    const ask = pool.take();
    if (ask === NO_PACKET) return;
    this.#askAt[place] = nowMs + ASK_MS;
    const from = pool.offset[packet]!;
    const at = pool.offset[ask]!;
    const link = parsed.ip - from;
    const high = ethernet.highOf(view, from + ethernet.SOURCE);
    const low = ethernet.lowOf(view, from + ethernet.SOURCE);
    // The client's MAC, and its VLAN tags.
    bytes.copyWithin(at, from, parsed.ip);
    const payload = at + link;
    if (parsed.family === 4) {
      ethernet.writeMac(bytes, at, 0xffff, -1);
      bytes[payload - 2] = ethernet.ARP >>> 8;
      bytes[payload - 1] = ethernet.ARP & 0xff;
      arp.writeRequest(bytes, payload, high, low, parsed.source0, destination0);
      pool.length[ask] = link + arp.HEADER;
    } else {
      ethernet.writeMac(bytes, at, ethernet.MULTICAST6_HIGH, ipv6.solicitedNodeWord(destination3));
      ipv6.writeAddress(
        bytes,
        payload + ipv6.SOURCE,
        parsed.source0,
        parsed.source1,
        parsed.source2,
        parsed.source3,
      );
      icmpv6.writeSolicitation(
        bytes,
        payload,
        high,
        low,
        destination0,
        destination1,
        destination2,
        destination3,
      );
      pool.length[ask] = link + icmpv6.SOLICITATION;
    }
    pool.inherit(ask, packet);
    this.asks.push(ask);
    this.#expect(network, nowMs, parsed);
  }

  /** Only an address that stands in the table is heard of. */
  #expect(
    network: number,
    nowMs: number,
    { family, destination0: a, destination1: b, destination2: c, destination3: d }: Parsed,
  ): void {
    const neighbours = this.#neighbours;
    const words: ipv6.Words = family === 4 ? ipv6.mapped(a) : [a, b, c, d];
    if (!neighbours.find6(network | HEARD, ...words))
      neighbours.set(network | HEARD, words, secondsOf(nowMs) << 16, 0);
  }
}

/** Removes what was heard and not confirmed for long; control calls it. */
export function forgetHeard(neighbours: Neighbours, nowMs: number): void {
  for (const { network, address, macHigh } of [...neighbours.entries()]) {
    if ((network & HEARD) === 0) continue;
    const age = (secondsOf(nowMs) - (macHigh >>> 16)) & SECONDS;
    if (age > FORGET_SECONDS) neighbours.remove(network, address);
  }
}

const secondsOf = (nowMs: number): number => Math.floor(nowMs / 1000) & SECONDS;
