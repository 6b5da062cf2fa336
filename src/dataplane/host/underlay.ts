/**
 * Opens the underlay: UDP sockets for every engine, and where the kernel can (Linux 6.17 and later) the tunnel TAP with
 * its tcx programs. Which of the two it became, and why, is said once.
 */
import { writeFileSync } from 'node:fs';
import type { Config, Offload, Underlay } from '../config.js';
import { ApplyError, type Logger } from '../face.js';
import { need } from '../io/native.js';
import type { Here } from '../io/outer.js';
import { addresses } from '../io/rtnetlink/address.js';
import { type Link, links, setLink } from '../io/rtnetlink/link.js';
import { tapOffloadBits } from '../io/tap.js';
import { type Steering, steer } from '../io/tcx/steering.js';
import { TUN_F_UDP_TUNNEL_GSO, TUN_F_UDP_TUNNEL_GSO_CSUM } from '../io/tunnel.js';
import type { UnderlaySpec } from '../orders.js';
import * as ipv4 from '../wire/ipv4.js';
import * as ipv6 from '../wire/ipv6.js';
import { portRefusal } from './refusals.js';

const SEND_BUFFER_BYTES = 16 << 20;
const TUNNEL_HEADER_BYTES = 24;
const TUNNEL_MTU = 65_521;
/** IP_PMTUDISC_PROBE: DF is set, and the kernel's own idea of the path MTU is not asked; ours is (path-mtu/). */
const MTU_PROBE = 3;
const NO_UNDERLAY_MTU = 1500;
/** RFC 6335 §6: dynamic ports. */
const SOURCE_PORTS_FROM = 49_152;
const SOURCE_PORTS = 16_384;

export interface OpenUnderlay {
  readonly kind: 'tunnel' | 'udp' | 'none';
  /** bytes of IP packet */
  readonly mtu: number;
  readonly port: number;
  /** UDP_GRO is in use */
  readonly gro: boolean;
  readonly address4: string | undefined;
  readonly address6: string | undefined;
  /** the interface that has the address: where the tunnel's frames leave */
  readonly link: Link;
  /** whether the tunnel device can be used towards this family */
  readonly tunnelFamilies: readonly (4 | 6)[];
  /** one an engine; null: it carries nothing */
  readonly specs: (UnderlaySpec | null)[];
  close(): void;
}

/** Throws ApplyError when an address isn't here or the port is taken. */
export function openUnderlay(config: Config, engines: number, logger: Logger): OpenUnderlay {
  const { underlay } = config;
  if (underlay === null) return noUnderlay(engines);
  const gro = config.offload.gro && takesGro(underlay.address[0]!);
  const offload = { ...config.offload, gro };
  if (gro !== config.offload.gro) {
    logger.info({}, 'the kernel knows no UDP_GRO, and it is off; datagrams arrive one by one');
  }
  const address4 = underlay.address.find((address) => !address.includes(':'));
  const address6 = underlay.address.find((address) => address.includes(':'));
  const interfaces = underlay.address.map((address) => interfaceOf(address));
  const link = interfaces[0]!;
  const mtu = underlay.mtu ?? Math.min(...interfaces.map((each) => each.mtu));

  const opened: number[] = [];
  let steering: Steering | undefined;
  const close = () => {
    steering?.close();
    for (const fd of opened) need().close(fd);
  };
  try {
    const specs: UnderlaySpec[] = [];
    for (let engine = 0; engine < engines; engine++) {
      specs.push({
        sockets: openSockets(underlay, offload, engine, engines, opened),
        segment: offload.segment,
        bundle: offload.bundle,
      });
    }
    const tunnelFamilies: (4 | 6)[] = [];
    if (address4 !== undefined && interfaces[0]!.index === link.index) tunnelFamilies.push(4);
    if (address6 !== undefined && interfaces.at(-1)!.index === link.index) tunnelFamilies.push(6);
    const why = whyNoTunnel(underlay, config.offload, link);
    let kind: 'tunnel' | 'udp' = 'udp';
    if (why === '') {
      try {
        steering = openTunnel(underlay, offload, specs, link, tunnelFamilies, opened);
        kind = 'tunnel';
      } catch (error) {
        if (underlay.device === 'tunnel') throw error;
        for (const spec of specs) {
          if (spec.tunnel === undefined) continue;
          need().close(opened.splice(opened.indexOf(spec.tunnel.fd), 1)[0]!);
          delete spec.tunnel;
        }
        logger.info(
          { reason: (error as Error).message },
          'the tunnel device is not to be had here; UDP sockets carry',
        );
      }
    } else if (underlay.device === 'tunnel') throw new Error(why);
    logger.info({ underlay: kind, interface: link.name, mtu, port: underlay.port }, 'underlay is open');
    const { port } = underlay;
    return { kind, mtu, port, gro, address4, address6, link, tunnelFamilies, specs, close };
  } catch (error) {
    close();
    throw new ApplyError(`underlay: ${(error as Error).message}`, { cause: error });
  }
}

/** Where there are no networks: no socket, no device. */
function noUnderlay(engines: number): OpenUnderlay {
  const off = { up: false, lowerUp: false, loopback: false, master: 0, gsoMaxSize: 0, groMaxSize: 0 };
  const link: Link = { index: 0, name: '', mac: '', kind: '', mtu: NO_UNDERLAY_MTU, ...off };
  const specs = new Array<null>(engines).fill(null);
  const families: readonly (4 | 6)[] = [];
  const facts = { kind: 'none', mtu: NO_UNDERLAY_MTU, port: 0, gro: false } as const;
  const close = () => {};
  return { ...facts, address4: undefined, address6: undefined, link, tunnelFamilies: families, specs, close };
}

function interfaceOf(address: string): Link {
  const owner = addresses('').find((each) => each.address === address);
  const link = owner && links('').find((each) => each.index === owner.index);
  if (link === undefined) {
    throw new ApplyError(`underlay.address: no interface here has ${address}; compare with: ip address`);
  }
  return link;
}

/** UDP_GRO is of Linux 5.0; only that it is unknown switches it off, all else the sockets will tell. */
function takesGro(address: string): boolean {
  const family = address.includes(':') ? 6 : 4;
  const options = { netns: '', reusePort: false, mtuDiscover: 0, receiveBuffer: 4096, sendBuffer: 4096 };
  try {
    need().close(need().openUdp({ ...options, family, address, port: 0, gro: true }).fd);
    return true;
  } catch (error) {
    return (error as { code?: string }).code !== 'ENOPROTOOPT';
  }
}

function whyNoTunnel(underlay: Underlay, offload: Offload, link: Link): string {
  if (underlay.device === 'udp') return 'underlay.device is udp';
  if (!offload.tunnel || !offload.checksum) return 'offload.tunnel or offload.checksum is off';
  if (link.loopback || link.mac === '') return `${link.name} is no Ethernet interface`;
  return '';
}

/** Receiving sockets at the port, one a family, and sending ones at source ports of their own. */
function openSockets(
  underlay: Underlay,
  offload: Offload,
  engine: number,
  engines: number,
  opened: number[],
): UnderlaySpec['sockets'] {
  const open = (address: string, port: number, sends: boolean, shared = !sends && engines > 1) => {
    const { fd } = need().openUdp({
      family: address.includes(':') ? 6 : 4,
      address,
      port,
      netns: '',
      reusePort: shared,
      gro: !sends && offload.gro,
      mtuDiscover: MTU_PROBE,
      receiveBuffer: sends ? 4096 : underlay.receiveBuffer,
      sendBuffer: underlay.sendBuffer,
    });
    opened.push(fd);
    return fd;
  };
  const sending = (address: string) =>
    Array.from({ length: underlay.sourcePorts }, (_, i) => {
      const step = Math.floor(SOURCE_PORTS / (underlay.sourcePorts * engines));
      const wanted = SOURCE_PORTS_FROM + (i * engines + engine) * step;
      try {
        return open(address, wanted, true);
      } catch (error) {
        if ((error as { code?: string }).code !== 'EADDRINUSE') throw error;
        return open(address, 0, true);
      }
    });
  const receive = underlay.address.map((address) => {
    try {
      // The engines share the port, and another data plane with several of them could share it too: first it must be free.
      if (engine === 0 && engines > 1) {
        open(address, underlay.port, false, false);
        need().close(opened.pop()!);
      }
      return open(address, underlay.port, false);
    } catch (error) {
      throw new Error(portRefusal(error, address, underlay.port), { cause: error });
    }
  });
  const of = (six: boolean) => underlay.address.filter((each) => each.includes(':') === six);
  return { receive, send4: of(false).flatMap(sending), send6: of(true).flatMap(sending) };
}

/** Adds the tunnel TAP's queues to the specs, and attaches the programs. */
function openTunnel(
  underlay: Underlay,
  offload: Offload,
  specs: UnderlaySpec[],
  link: Link,
  families: readonly (4 | 6)[],
  opened: number[],
): Steering {
  let name = 'viaduct%d';
  let index = 0;
  const address4 = families.includes(4) ? underlay.address.find((each) => !each.includes(':')) : undefined;
  const address6 = families.includes(6) ? underlay.address.find((each) => each.includes(':')) : undefined;
  const here: Here = {
    address4: address4 === undefined ? undefined : ipv4.parse(address4),
    address6: address6 === undefined ? undefined : ipv6.parse(address6),
    port: underlay.port,
  };
  const bits =
    tapOffloadBits({ checksum: true, tso: true, uso: true, coalesce: true }) |
    TUN_F_UDP_TUNNEL_GSO |
    TUN_F_UDP_TUNNEL_GSO_CSUM;
  for (const spec of specs) {
    const tap = need().openTap({
      name,
      netns: '',
      tun: false,
      multiQueue: specs.length > 1,
      headerBytes: TUNNEL_HEADER_BYTES,
      offloads: bits,
      sendBuffer: SEND_BUFFER_BYTES,
    });
    opened.push(tap.fd);
    ({ name, index } = tap);
    spec.tunnel = { fd: tap.fd, here, sourcePorts: underlay.sourcePorts };
  }
  silence(name);
  setLink('', index, { up: true, mtu: TUNNEL_MTU });
  return steer({
    netns: '',
    tap: index,
    real: link.index,
    port: underlay.port,
    ...(address4 === undefined ? {} : { address4 }),
    ...(address6 === undefined ? {} : { address6 }),
    onlySuperPackets: offload.gro,
  });
}

/** Keeps the host from speaking IPv6 (router solicitations, MLD) on the tunnel TAP. Where /proc is read-only it may. */
function silence(name: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
  } catch {
    // Such frames are dropped and counted as outer-not-ours or outer-malformed; nothing else depends on it.
  }
}
