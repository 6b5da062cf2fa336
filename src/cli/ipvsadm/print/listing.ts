/** What `ipvsadm -L` prints, to the letter: services with their destinations in every form, connections, timeouts, daemons. */
import { type Protocol, parseListen } from '../../../dataplane/config/service-address.js';
import type {
  ConnectionRow,
  DestinationRow,
  ServiceCounts,
  ServiceRates,
  ServiceRow,
  VirtualServerReport,
} from '../../../dataplane/report.js';
import type { Spell } from '../names.js';
import type { Format } from '../parse/command-line.js';
import { maskText } from '../parse/values.js';

/** Columns that IPv4 addresses are cut to. */
const SERVICE_WIDTH = 33;
const DESTINATION_WIDTH = 28;

const FORWARD = { nat: 'Masq', local: 'Local', tunnel: 'Tunnel', route: 'Route' } as const;
const CHECKSUM = { none: '-c', checksum: '+c', remote: 'r+c' } as const;

export function header({ version, tableSize }: VirtualServerReport): string {
  return `IP Virtual Server version ${version} (size=${tableSize})\n`;
}

/** @param services in the order in which they are printed */
export function serviceList(services: readonly ServiceRow[], format: Format, spell: Spell): string {
  return title(format) + services.map((each) => service(each, format, spell)).join('');
}

function title(format: Format): string {
  const columns = (...words: string[]) =>
    `${'Prot LocalAddress:Port'.padEnd(SERVICE_WIDTH)} ${words.join(' ')}\n  -> RemoteAddress:Port\n`;
  const right = (...words: string[]) => columns(...words.map((word) => word.padStart(8)));
  if (format.stats) return right('Conns', 'InPkts', 'OutPkts', 'InBytes', 'OutBytes');
  if (format.rate) return right('CPS', 'InPPS', 'OutPPS', 'InBPS', 'OutBPS');
  if (format.thresholds) return columns('Uthreshold', 'Lthreshold', 'ActiveConn', 'InActConn ');
  if (format.persistentConn) return columns('Weight   ', 'PersistConn', 'ActiveConn', 'InActConn ');
  const tunnel = format.tunInfo ? 'TunnelInfo    ' : '';
  return (
    'Prot LocalAddress:Port Scheduler Flags\n' +
    `  -> RemoteAddress:Port           Forward ${tunnel}Weight ActiveConn InActConn\n`
  );
}

function service(row: ServiceRow, format: Format, spell: Spell): string {
  const listen = parseListen(row.listen)!;
  const protocol = listen.protocol === 'mark' ? null : listen.protocol;
  let name: string;
  if (listen.protocol === 'mark') name = `FWM  ${listen.mark}${listen.family === 6 ? ' IPv6' : ''}`;
  else {
    name = `${listen.protocol.toUpperCase().padEnd(4)} ${spell(socketOf(row.listen), protocol)}`;
    if (listen.family === 4) name = name.slice(0, SERVICE_WIDTH);
  }
  // The kernel's table lacks what keepalived has taken out.
  const used = row.destinations.filter(({ out }) => out !== true);
  const destinations = used.map((each) => destination(each, format, spell, protocol));
  return `${serviceLine(row, name, listen.family, format)}\n${destinations.join('')}`;
}

function serviceLine(row: ServiceRow, name: string, family: 4 | 6, format: Format): string {
  if (format.stats) return name.padEnd(SERVICE_WIDTH) + counts(row.stats, format.exact);
  if (format.rate) return name.padEnd(SERVICE_WIDTH) + rates(row.rates, format.exact);
  let line = `${name} ${row.scheduler}`;
  if (row.schedulerFlags.length > 0) line += ` (${row.schedulerFlags.join(',')})`;
  const { persistence } = row;
  if (persistence !== null) {
    line += ` persistent ${persistence.timeoutSeconds}`;
    const mask = maskText(persistence.mask, family);
    if (mask !== undefined) line += ` mask ${mask}`;
    if (persistence.engine !== null) line += ` pe ${persistence.engine}`;
  }
  if (row.onePacket) line += ' ops';
  // Ours: IPVS has a table for each network namespace.
  if (row.network !== null) line += ` network ${row.network}`;
  return line;
}

function destination(row: DestinationRow, format: Format, spell: Spell, protocol: Protocol | null): string {
  let name = spell(row.address, protocol);
  if (!row.address.startsWith('[')) name = name.slice(0, DESTINATION_WIDTH);
  const start = `  -> ${name.padEnd(DESTINATION_WIDTH)}`;
  const { weight, active, inactive } = row;
  const cells = (...list: [value: string | number, width: number][]) =>
    `${[start, ...list.map(([value, width]) => String(value).padEnd(width))].join(' ')}\n`;
  if (format.stats) return `${start}${counts(row.stats, format.exact)}\n`;
  if (format.rate) {
    const { cps, inPps, outPps, inBps, outBps } = row.rates;
    const packets = [cps, inPps, outPps].map((value) => ` ${String(value).padStart(8)}`);
    return `${start}${packets.join('')}${[inBps, outBps].map((value) => large(value, format.exact)).join('')}\n`;
  }
  if (format.thresholds) {
    return cells([row.upperThreshold, 10], [row.lowerThreshold, 10], [active, 10], [inactive, 10]);
  }
  if (format.persistentConn) return cells([weight, 9], [row.persistent, 11], [active, 10], [inactive, 10]);
  const info: [string, number][] = format.tunInfo ? [[tunnelInfo(row), 13]] : [];
  return cells([FORWARD[row.forward], 7], ...info, [weight, 6], [active, 10], [inactive, 10]);
}

function tunnelInfo({ forward, tunnel: { type, port, checksum } }: DestinationRow): string {
  if (forward !== 'tunnel') return 'n/a';
  if (type === 'ipip') return type;
  return type === 'gue' ? `gue:${port}:${CHECKSUM[checksum]}` : `gre:${CHECKSUM[checksum]}`;
}

function counts({ conns, inPackets, outPackets, inBytes, outBytes }: ServiceCounts, exact: boolean): string {
  return [conns, inPackets, outPackets, inBytes, outBytes].map((value) => large(value, exact)).join('');
}

function rates({ cps, inPps, outPps, inBps, outBps }: ServiceRates, exact: boolean): string {
  return [cps, inPps, outPps, inBps, outBps].map((value) => large(value, exact)).join('');
}

/** From which value on a number is told in which unit. */
const UNITS: readonly [from: number, unit: number, letter: string][] = [
  [1e14, 1e12, 'T'],
  [1e11, 1e9, 'G'],
  [1e9, 1e6, 'M'],
  [1e8, 1e3, 'K'],
];

/** A column of nine; an exact number may take more, and keeps a space before it. */
export function large(value: number, exact: boolean): string {
  if (exact) return ` ${String(value).padStart(8)}`;
  const unit = UNITS.find(([from]) => value >= from);
  return unit === undefined
    ? String(value).padStart(9)
    : `${String(Math.floor(value / unit[1])).padStart(8)}${unit[2]}`;
}

export function connectionTitle(format: Format): string {
  const engines = format.persistentConn;
  const columns = ['state'.padEnd(11), 'source'.padEnd(18), 'virtual'.padEnd(18)];
  columns.push(...(engines ? ['destination'.padEnd(18), 'pe name'.padEnd(16), 'pe_data'] : ['destination']));
  return `IPVS connection entries\npro expire ${columns.join(' ')}\n`;
}

/** What follows the title, or a part of it. */
export function connectionLines(rows: readonly ConnectionRow[], format: Format, spell: Spell): string {
  const engines = format.persistentConn;
  const lines = rows.map((row) => {
    const protocol = row.protocol === 'ip' ? null : row.protocol;
    const minutes = String(Math.floor(row.expiresSeconds / 60)).padStart(2, '0');
    const expires = `${minutes}:${String(row.expiresSeconds % 60).padStart(2, '0')}`;
    const cells = [row.protocol.toUpperCase().padEnd(3), expires.padEnd(6), row.state.padEnd(11)];
    cells.push(...[row.source, row.virtual].map((each) => spell(each, protocol).padEnd(18)));
    const target = spell(row.destination, protocol);
    if (engines && row.engine !== null) {
      cells.push(target.padEnd(16), row.engine.name.padEnd(18), row.engine.data);
    } else cells.push(target);
    return `${cells.join(' ')}\n`;
  });
  return lines.join('');
}

export function timeoutText({ timeouts }: VirtualServerReport): string {
  const { tcpSeconds, tcpFinSeconds, udpSeconds } = timeouts;
  return `Timeout (tcp tcpfin udp): ${tcpSeconds} ${tcpFinSeconds} ${udpSeconds}\n`;
}

export function daemonText({ daemons }: VirtualServerReport): string {
  return daemons
    .map(
      ({ role, interface: name, syncId, maxLength, group, port, ttl }) =>
        `${role} sync daemon (mcast=${name}, syncid=${syncId}, maxlen=${maxLength}, ` +
        `group=${group}, port=${port}, ttl=${ttl})\n`,
    )
    .join('');
}

/** Every socket that a list spells. */
export function socketsOf(
  services: readonly {
    readonly listen: string;
    readonly destinations: readonly { readonly address: string }[];
  }[],
): string[] {
  return services.flatMap(({ listen, destinations }) => [
    ...(/^mark/.test(listen) ? [] : [socketOf(listen)]),
    ...destinations.map(({ address }) => address),
  ]);
}

/** `tcp://10.0.0.1:80` → `10.0.0.1:80` */
export function socketOf(listen: string): string {
  return listen.slice(listen.indexOf('://') + 3);
}
