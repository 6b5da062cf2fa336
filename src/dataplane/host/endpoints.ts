/** Opens and closes the workloads' interfaces: a TAP in the workload's namespace, configured over rtnetlink. */
import { existsSync } from 'node:fs';
import { type Config, type Endpoint, netnsPath } from '../config.js';
import { ApplyError, type Logger } from '../face.js';
import { need } from '../io/native.js';
import { addAddress } from '../io/rtnetlink/address.js';
import { setLink } from '../io/rtnetlink/link.js';
import { addRoute } from '../io/rtnetlink/route.js';
import { type TapOffloads, tapOffloadBits } from '../io/tap.js';

/** What the kernel may queue towards us before it holds the senders back; many super-packets. */
const SEND_BUFFER_BYTES = 16 << 20;
const TAP_HEADER_BYTES = 12;
const EINVAL = 22;

export interface OpenEndpoint {
  readonly endpoint: Endpoint;
  readonly network: string;
  readonly port: number;
  /** one queue an engine */
  readonly fds: readonly number[];
  readonly link: number;
  mtu: number;
  offloads: TapOffloads;
}

/** Endpoints are the same when their interface is: the rest of one can be changed while it is open. */
export function endpointKey(endpoint: Endpoint): string {
  return `${netnsPath(endpoint.netns)} ${endpoint.interface}`;
}

/** Whether an open interface can stay as it is, or must be made anew. */
export function sameInterface(a: Endpoint, b: Endpoint): boolean {
  return (
    a.mac === b.mac &&
    a.addresses.join() === b.addresses.join() &&
    JSON.stringify(a.routes) === JSON.stringify(b.routes)
  );
}

export function wantedOffloads({ offload }: Config): TapOffloads {
  return { checksum: offload.checksum, tso: offload.tso, uso: offload.uso, coalesce: offload.coalesce };
}

/** Ready when this returns: the interface is up and has its addresses. Throws ApplyError, and leaves nothing behind. */
export function openEndpoint(
  endpoint: Endpoint,
  network: string,
  port: number,
  mtu: number,
  queues: number,
  wanted: TapOffloads,
  logger: Logger,
): OpenEndpoint {
  const netns = netnsPath(endpoint.netns);
  const where = `endpoint ${endpoint.interface} in ${endpoint.netns}`;
  if (!existsSync(netns)) {
    throw new ApplyError(`${where}: there is no network namespace ${netns}; create it first`);
  }
  const addon = need();
  const fds: number[] = [];
  const offloads = { ...wanted };
  try {
    let link = 0;
    for (let queue = 0; queue < queues; queue++) {
      const tap = openQueue(netns, endpoint.interface, queues > 1, offloads, logger);
      fds.push(tap.fd);
      link = tap.index;
    }
    setLink(netns, link, { mac: endpoint.mac, mtu: endpoint.mtu ?? mtu });
    for (const address of endpoint.addresses) addAddress(netns, link, address);
    setLink(netns, link, { up: true });
    for (const { to, via } of endpoint.routes) addRoute(netns, { to, via, index: link });
    return { endpoint, network, port, fds, link, mtu: endpoint.mtu ?? mtu, offloads };
  } catch (error) {
    for (const fd of fds) addon.close(fd);
    throw new ApplyError(`${where}: ${(error as Error).message}`, { cause: error });
  }
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
      headerBytes: TAP_HEADER_BYTES,
      offloads: tapOffloadBits(offloads),
      sendBuffer: SEND_BUFFER_BYTES,
    });
  try {
    return open();
  } catch (error) {
    if (!offloads.uso || (error as { errno?: number }).errno !== EINVAL) throw error;
    offloads.uso = false;
    const tap = open();
    logger.warn({ interface: name }, 'the kernel knows no UDP segmentation on TAPs; uso is off');
    return tap;
  }
}

export function closeEndpoint(open: OpenEndpoint): void {
  for (const fd of open.fds) need().close(fd);
}

export function setEndpointMtu(open: OpenEndpoint, mtu: number): void {
  if (open.mtu === mtu) return;
  setLink(netnsPath(open.endpoint.netns), open.link, { mtu });
  open.mtu = mtu;
}
