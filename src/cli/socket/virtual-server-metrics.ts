/**
 * The virtual server in the Prometheus text. Labels name services and destinations as the configuration does (`network`
 * is empty for the host's own side), and protocols and states; never a client.
 */
import type { Dataplane } from '../../dataplane/face.js';
import type { DestinationRow, ServiceCounts, SyncCounts } from '../../dataplane/report.js';
import { family, type Labels } from './prometheus.js';

const COUNTS: readonly (readonly [field: keyof ServiceCounts, name: string, help: string])[] = [
  ['conns', 'connections_total', 'Connections begun'],
  ['inPackets', 'incoming_packets_total', 'Packets of clients, as links carry them,'],
  ['outPackets', 'outgoing_packets_total', 'Packets to clients, as links carry them,'],
  ['inBytes', 'incoming_bytes_total', 'Bytes of IP packets of clients'],
  ['outBytes', 'outgoing_bytes_total', 'Bytes of IP packets to clients'],
];

type Gauge = readonly [name: string, help: string, value: (row: DestinationRow) => number];

const GAUGES: readonly Gauge[] = [
  ['weight', 'Weight of a destination.', (row) => row.weight],
  ['active_connections', 'Connections of a destination that count as active.', (row) => row.active],
  ['inactive_connections', 'Connections of a destination that count as inactive.', (row) => row.inactive],
  ['persistence_templates', 'Persistence templates of a destination.', (row) => row.persistent],
];

export function virtualServerMetrics(dataplane: Dataplane): string[] {
  const whole = dataplane.virtualServer();
  const services = dataplane.services().map((row) => {
    const labels = { network: row.network ?? '', service: row.listen };
    return { labels, ...row };
  });
  const destinations = services.flatMap(({ labels, destinations }) =>
    destinations.map((row) => [{ ...labels, destination: row.address }, row] as const),
  );
  const flag = (value: boolean) => (value ? 1 : 0);
  const { size, capacity, states } = whole.connections;
  return [
    family('connection_table_entries', 'gauge', 'Connections and templates in the table.', [[{}, size]]),
    family('connection_table_capacity', 'gauge', 'Entries that the table of connections has room for.', [
      [{}, capacity],
    ]),
    family(
      'connection_entries',
      'gauge',
      'Connections by state, and persistence templates.',
      states.map(({ protocol, template, state, count }) => [
        { protocol, state, kind: template ? 'template' : 'connection' },
        count,
      ]),
    ),
    ...synchronisation(whole.sync ?? []),
    ...COUNTS.flatMap(([field, name, help]) => [
      family(`virtual_server_${name}`, 'counter', `${help} of all virtual services.`, [
        [{}, whole.stats[field]],
      ]),
      family(
        `service_${name}`,
        'counter',
        `${help} of a virtual service.`,
        services.map(({ labels, stats }) => [labels, stats[field]]),
      ),
      family(
        `destination_${name}`,
        'counter',
        `${help} of a destination.`,
        destinations.map(([labels, row]) => [labels, row.stats[field]]),
      ),
    ]),
    ...GAUGES.map(([name, help, value]) =>
      family(
        `destination_${name}`,
        'gauge',
        help,
        destinations.map(([labels, row]) => [labels, value(row)]),
      ),
    ),
    family(
      'service_quorum',
      'gauge',
      'Whether enough destinations of a virtual service are up.',
      services.flatMap(({ labels, health }) => (health ? [[labels, flag(health.quorum)] as const] : [])),
    ),
    family(
      'service_sorry',
      'gauge',
      'Whether the sorry server of a virtual service serves.',
      services.flatMap(({ labels, health }) => (health ? [[labels, flag(health.sorry)] as const] : [])),
    ),
    family(
      'destination_up',
      'gauge',
      'Whether the health checks of a destination find it well.',
      destinations.flatMap(([labels, row]): [Labels, number][] =>
        row.health ? [[labels, flag(row.health.up)]] : [],
      ),
    ),
  ];
}

/** What is told to other directors, and by them. */
function synchronisation(daemons: readonly SyncCounts[]): string[] {
  if (daemons.length === 0) return [];
  return [
    family(
      'synchronisation_messages_total',
      'counter',
      'Messages that a synchronisation daemon sent, or took.',
      daemons.map(({ role, messages }) => [{ role }, messages]),
    ),
    family(
      'synchronisation_connections_total',
      'counter',
      'Connections in them, each time they were told.',
      daemons.map(({ role, connections }) => [{ role }, connections]),
    ),
    family(
      'synchronisation_refused_total',
      'counter',
      'Messages, or connections in them, that were not sent or not taken.',
      daemons.flatMap(({ role, refused }) =>
        Object.entries(refused).map(([reason, count]): [Labels, number] => [{ role, reason }, count]),
      ),
    ),
  ];
}
