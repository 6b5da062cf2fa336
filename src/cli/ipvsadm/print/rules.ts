/** The virtual server as rules: what `ipvsadm -S` prints and `-R` reads. */
import { type Protocol, parseListen } from '../../../dataplane/config/service-address.js';
import type { Destination, Service, VirtualServer } from '../../../dataplane/config/service-types.js';
import type { Spell } from '../names.js';
import { maskText } from '../parse/values.js';
import { socketOf } from './listing.js';

const PROTOCOL = { tcp: '-t', udp: '-u', sctp: '--sctp-service' } as const;
const FORWARD = { nat: '-m', tunnel: '-i', route: '-g' } as const;
const CHECKSUM = { none: '--tun-nocsum', checksum: '--tun-csum', remote: '--tun-remcsum' } as const;

/**
 * @param whole with all that rules can say: thresholds and networks too; else to the letter as ipvsadm prints it,
 *   which leaves these out
 */
export function serviceRules(services: readonly Service[], spell: Spell, whole: boolean): string {
  return services.map((service) => rulesOf(service, spell, whole)).join('');
}

/** Timeouts and daemons, as commands. */
export function settingRules({ tcpSeconds, tcpFinSeconds, udpSeconds, sync }: VirtualServer): string {
  const daemons = (['master', 'backup'] as const).map((role) => {
    const daemon = sync[role];
    if (daemon === null) return '';
    const { interface: name, syncId, group, port, ttl, maxLength } = daemon;
    return (
      `--start-daemon ${role} --mcast-interface ${name} --syncid ${syncId} --sync-maxlen ${maxLength}` +
      ` --mcast-group ${group} --mcast-port ${port} --mcast-ttl ${ttl}\n`
    );
  });
  return `--set ${tcpSeconds} ${tcpFinSeconds} ${udpSeconds}\n${daemons.join('')}`;
}

function rulesOf(service: Service, spell: Spell, whole: boolean): string {
  const listen = parseListen(service.listen)!;
  const protocol = listen.protocol === 'mark' ? null : listen.protocol;
  const name =
    listen.protocol === 'mark'
      ? `-f ${listen.mark}${listen.family === 6 ? ' -6' : ''}`
      : `${PROTOCOL[listen.protocol]} ${spell(socketOf(service.listen), protocol)}`;
  const network = whole && service.network !== null ? ` --network ${service.network}` : '';
  let rule = `-A ${name} -s ${service.scheduler}`;
  const { persistence } = service;
  if (persistence !== null) {
    rule += ` -p ${persistence.timeoutSeconds}`;
    const mask = maskText(persistence.mask, listen.family);
    if (mask !== undefined) rule += ` -M ${mask}`;
    if (persistence.engine !== null) rule += ` --pe ${persistence.engine}`;
  }
  if (service.onePacket) rule += ' -o';
  if (service.schedulerFlags.length > 0) rule += ` -b ${service.schedulerFlags.join(',')}`;
  const destinations = service.destinations.map(
    (each) => `-a ${name} ${destinationRule(each, protocol, spell)}${thresholds(each, whole)}${network}\n`,
  );
  return `${rule}${network}\n${destinations.join('')}`;
}

function destinationRule(destination: Destination, protocol: Protocol | null, spell: Spell): string {
  const { address, forward, weight, tunnel } = destination;
  const rule = `-r ${spell(address, protocol)} ${FORWARD[forward]} -w ${weight}`;
  if (forward !== 'tunnel') return rule;
  const port = tunnel.type === 'gue' ? ` --tun-port ${tunnel.port}` : '';
  const checksum = tunnel.type === 'ipip' ? '' : ` ${CHECKSUM[tunnel.checksum]}`;
  return `${rule} --tun-type ${tunnel.type}${port}${checksum}`;
}

function thresholds({ upperThreshold, lowerThreshold }: Destination, whole: boolean): string {
  if (!whole) return '';
  return `${upperThreshold === 0 ? '' : ` -x ${upperThreshold}`}${lowerThreshold === 0 ? '' : ` -y ${lowerThreshold}`}`;
}
