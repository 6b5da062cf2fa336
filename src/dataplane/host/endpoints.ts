/** Opens, changes and closes the workloads' interfaces: a TAP in the workload's namespace, configured over rtnetlink. */
import { statSync } from 'node:fs';
import { type Config, type Endpoint, netnsPath } from '../config.js';
import { ApplyError, type Logger } from '../face.js';
import { need } from '../io/native.js';
import { MAX_BYTES, MAX_SEGMENTS } from '../io/offload/bundle.js';
import { HEADER_BYTES } from '../io/offload/virtio.js';
import { addAddress, removeAddress } from '../io/rtnetlink/address.js';
import { linkByName, setLink } from '../io/rtnetlink/link.js';
import { addRoute, removeRoute } from '../io/rtnetlink/route.js';
import { type TapOffloads, tapOffloadBits } from '../io/tap.js';
import * as ethernet from '../wire/ethernet.js';
import * as ipv4 from '../wire/ipv4.js';
import * as tcp from '../wire/tcp.js';
import * as vxlan from '../wire/vxlan.js';
import type { OpenEndpoint } from './carrier.js';
import { interfaceRefusal, interfaceTaken } from './refusals.js';

/** What the kernel may queue towards us before it holds the senders back; many super-packets. */
const SEND_BUFFER_BYTES = 16 << 20;

/** What an interface has from the start: GSO_LEGACY_MAX_SIZE. */
const SUPER_BYTES = 65_536;
/** What TCP takes off for headers, however long they are: MAX_TCP_HEADER. */
const TCP_HEADERS = 320;

export interface OpenTap extends OpenEndpoint {
  /** one queue an engine; empty once it is closed */
  readonly fds: number[];
  /** device and inode of the namespace that it was opened in */
  readonly place: string;
  /** index of the interface in its namespace */
  readonly link: number;
  offloads: TapOffloads;
  /** largest super-packet that the workload makes */
  superBytes: number;
}

/** Endpoints are the same when their interface is: the rest of one can be changed while it is open. */
export function endpointKey(endpoint: Endpoint): string {
  return `${netnsPath(endpoint.netns)} ${endpoint.interface}`;
}

export function wantedOffloads({ offload }: Config): TapOffloads {
  return { checksum: offload.checksum, tso: offload.tso, uso: offload.uso, coalesce: offload.coalesce };
}

export function openTap(
  endpoint: Endpoint,
  network: string,
  port: number,
  mtu: number,
  queues: number,
  wanted: TapOffloads,
  logger: Logger,
): OpenTap {
  const netns = netnsPath(endpoint.netns);
  const place = placeOf(netns);
  if (place === undefined) {
    throw new ApplyError(`${named(endpoint)}: there is no network namespace ${netns}; create it first`);
  }
  const fds: number[] = [];
  const offloads = { ...wanted };
  return explained(
    endpoint,
    () => {
      refuseTaken(endpoint);
      let link = 0;
      for (let queue = 0; queue < queues; queue++) {
        const tap = openQueue(netns, endpoint.interface, queues > 1, offloads, logger);
        fds.push(tap.fd);
        link = tap.index;
      }
      setLink(netns, link, { mac: endpoint.mac, mtu });
      for (const address of endpoint.addresses) addAddress(netns, link, address);
      setLink(netns, link, { up: true });
      for (const { to, via } of endpoint.routes) addRoute(netns, { to, via, index: link });
      return { endpoint, network, port, mtu, fds, place, link, offloads, superBytes: SUPER_BYTES };
    },
    () => {
      for (const fd of fds) need().close(fd);
    },
  );
}

/**
 * New addresses before old ones go, so that what both have is never missed. When a step fails, those before it are
 * taken back.
 */
export function changeTap(open: OpenTap, endpoint: Endpoint, mtu: number): void {
  const before = open.endpoint;
  const netns = netnsPath(endpoint.netns);
  const index = open.link;
  const routes = (of: Endpoint) => new Map(of.routes.map((route) => [`${route.to} ${route.via}`, route]));
  const [routesBefore, routesNext] = [routes(before), routes(endpoint)];
  const undo: (() => void)[] = [];
  const step = (change: () => void, back: () => void) => {
    change();
    undo.push(back);
  };
  explained(
    endpoint,
    () => {
      if (endpoint.mac !== before.mac || mtu !== open.mtu) {
        const { mac } = before;
        const oldMtu = open.mtu;
        step(
          () => setLink(netns, index, { mac: endpoint.mac, mtu }),
          () => setLink(netns, index, { mac, mtu: oldMtu }),
        );
      }
      for (const address of endpoint.addresses) {
        if (before.addresses.includes(address)) continue;
        step(
          () => addAddress(netns, index, address),
          () => removeAddress(netns, index, address),
        );
      }
      for (const [key, { to, via }] of routesBefore) {
        if (routesNext.has(key)) continue;
        step(
          () => removeRoute(netns, { to, via, index }),
          () => addRoute(netns, { to, via, index }),
        );
      }
      for (const address of before.addresses) {
        if (endpoint.addresses.includes(address)) continue;
        step(
          () => removeAddress(netns, index, address),
          () => addAddress(netns, index, address),
        );
      }
      for (const [key, { to, via }] of routesNext) {
        if (routesBefore.has(key)) continue;
        step(
          () => addRoute(netns, { to, via, index }),
          () => removeRoute(netns, { to, via, index }),
        );
      }
      open.endpoint = endpoint;
      open.mtu = mtu;
    },
    () => {
      for (const back of undo.reverse()) attempt(back);
    },
  );
}

/**
 * By sockets (`kind` is 'udp') a super-packet leaves in one send only if the datagrams of its segments fit into that,
 * each with Ethernet, VXLAN and the headers that they share: 45 segments of 1,448 bytes went as 43 and 2, and cost the other
 * end twice as well. CPU of the data planes for a TCP stream 0.153 → 0.137 core-s/Gbit.
 */
export function limitSupers(open: OpenTap, kind: string): void {
  const most = Math.min(MAX_SEGMENTS, Math.floor(MAX_BYTES / (open.mtu + ethernet.HEADER + vxlan.HEADER)));
  const whole = most * (open.mtu - ipv4.HEADER - tcp.HEADER) + TCP_HEADERS;
  const bytes = kind === 'udp' ? Math.min(whole, SUPER_BYTES) : SUPER_BYTES;
  if (bytes === open.superBytes) return;
  // Before Linux 4.16 it can't be set: then they leave in two.
  attempt(() => setLink(netnsPath(open.endpoint.netns), open.link, { gsoMaxSize: bytes }));
  open.superBytes = bytes;
}

/** The error that began it is the one to report. */
function attempt(task: () => void): void {
  try {
    task();
  } catch {}
}

export function closeTap(open: OpenTap): void {
  for (const fd of open.fds.splice(0)) need().close(fd);
}

/**
 * Whether the endpoint's namespace was deleted, or is another one now. Its kernel object lives on as long as the
 * TAP is open, so the device itself never tells.
 */
export function isForsaken(open: OpenTap): boolean {
  return placeOf(netnsPath(open.endpoint.netns)) !== open.place;
}

function placeOf(netns: string): string | undefined {
  const stat = statSync(netns, { throwIfNoEntry: false });
  return stat && `${stat.dev} ${stat.ino}`;
}

/** A kernel without USO (before 6.2) refuses its bits: then the interface does without. */
function openQueue(
  netns: string,
  name: string,
  multiQueue: boolean,
  offloads: TapOffloads,
  logger: Logger,
): { fd: number; index: number } {
  const open = () =>
    need().openTap({
      name,
      netns,
      tun: false,
      multiQueue,
      headerBytes: HEADER_BYTES,
      offloads: tapOffloadBits(offloads),
      sendBuffer: SEND_BUFFER_BYTES,
    });
  try {
    return open();
  } catch (error) {
    if (!offloads.uso || (error as { code?: string }).code !== 'EINVAL') throw error;
    offloads.uso = false;
    const tap = open();
    logger.warn({ interface: name }, 'the kernel knows no UDP segmentation on TAPs; uso is off');
    return tap;
  }
}

/**
 * Our TAPs end with their process, also with one that was killed, so whatever has the name is somebody else's. The
 * kernel would attach us to a persistent TAP, or add a queue to another's, without a word.
 */
function refuseTaken(endpoint: Endpoint): void {
  const found = linkByName(netnsPath(endpoint.netns), endpoint.interface);
  if (found !== undefined) throw new Error(interfaceTaken(endpoint, found));
}

function explained<T>(endpoint: Endpoint, task: () => T, undo: () => void): T {
  try {
    return task();
  } catch (error) {
    undo();
    throw new ApplyError(`${named(endpoint)}: ${interfaceRefusal(error)}`, { cause: error });
  }
}

const named = (endpoint: Endpoint) => `endpoint ${endpoint.interface} in ${endpoint.netns}`;
