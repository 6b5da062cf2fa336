/** What the system refused, in words for whoever runs the data plane: the value, the cause, and the next step. */
import { getSystemErrorName } from 'node:util';
import { type Endpoint, netnsPath } from '../config.js';
import { DROPS } from '../core/drops.js';
import { datagramDrop, tapDrop } from '../io/errno.js';
import type { Link } from '../io/rtnetlink/link.js';

const codeOf = (error: unknown): string | undefined => (error as { code?: string }).code;
const messageOf = (error: unknown): string => (error as Error).message;

/** Why the underlay's port can't be bound, for which the system gave an error. */
export function portRefusal(error: unknown, address: string, port: number): string {
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return (
        `UDP port ${port} of ${address} is in use; see by whom with: ss -lunp 'sport = :${port}' ` +
        '(without a process it is a kernel vxlan: ip -d link show type vxlan), and stop it, or choose ' +
        'another underlay.port, the same one on every host'
      );
    case 'EADDRNOTAVAIL':
      return `${address} can't be bound; an IPv6 address may still be tentative, compare with: ip address`;
    case 'EACCES':
      return `UDP port ${port} may not be bound by this user; run as root, or choose an underlay.port from 1024 on`;
    default:
      return messageOf(error);
  }
}

/** Why an endpoint's interface isn't made: something else has the name. */
export function interfaceTaken({ netns, interface: name }: Endpoint, { kind }: Pick<Link, 'kind'>): string {
  const what = kind === '' ? 'a device' : kind === 'tun' ? 'a TUN/TAP device' : `a ${kind} device`;
  const first = kind === 'tun' ? 'stop the program that it belongs to, or ' : '';
  return (
    `the interface is there already: ${what} that isn't this data plane's; ${first}remove it with ` +
    `'${ipIn(netns)} link delete ${name}', or give the endpoint another interface name`
  );
}

/** Why an endpoint's interface can't be had, for which the system gave an error. */
export function interfaceRefusal(error: unknown): string {
  switch (codeOf(error)) {
    case 'EPERM':
    case 'EACCES':
      return `${messageOf(error)}; this needs CAP_NET_ADMIN and CAP_SYS_ADMIN: run as root`;
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      return messageOf(error).includes('/dev/net/tun')
        ? `${messageOf(error)}; load it with 'modprobe tun', in a container: --device /dev/net/tun`
        : messageOf(error);
    default:
      return messageOf(error);
  }
}

function ipIn(netns: string): string {
  const path = netnsPath(netns);
  const named = /^\/run\/netns\/([^/]+)$/.exec(path)?.[1];
  return named === undefined ? `nsenter --net=${path} ip` : `ip -n ${named}`;
}

export interface LogLine {
  fields: object;
  message: string;
}

/** The log's line of the first packet that a workload's interface refused with this errno. */
export function tapRefusal(errno: number, endpoint: Endpoint | undefined): LogLine {
  return {
    fields: {
      endpoint: endpoint === undefined ? 'one just removed' : `${endpoint.interface} in ${endpoint.netns}`,
      error: getSystemErrorName(-errno),
      drop: DROPS[tapDrop(errno)]![0],
    },
    message: "a workload's interface refused a frame; further ones are only counted: viaduct show drops",
  };
}

/** The same of a datagram to a VTEP. */
export function vtepRefusal(errno: number, device: 'tunnel' | 'underlay', vtep: string): LogLine {
  const drop = DROPS[datagramDrop(errno)]![0];
  const next = drop === 'vtep-unreachable' ? `; compare the way there with: ip route get ${vtep}` : '';
  return {
    fields: { device, vtep, error: getSystemErrorName(-errno), drop },
    message: `a datagram to a VTEP was refused${next}; further ones are only counted: viaduct show drops`,
  };
}
